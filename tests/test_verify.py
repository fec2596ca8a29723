"""Files that say whether they are whole, and the command that asks all of them."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from reports_synthetic import Entry, write_run

from harness import verify
from harness.confined import spelt
from harness.console import code_of
from harness.errors import DamagedFile
from harness.inspection.wholeness import wholeness
from harness.results import RunWriter, mend, read_run, standing, statuses, write_plan
from harness.results.kept import write_kept
from harness.results.maps import pack, read_maps
from harness.results.parquet import is_whole, read_parquet, write_parquet
from harness.results.schema import PLAN, SCHEMAS
from harness.results.tables import Part, rows_to_tables
from harness.trial import TrialResult

PART = "part-00000.parquet"
TABLES = tuple(SCHEMAS)
FLIPS = 100
CARRIED = ROOT / "tests" / "golden" / "carried" / "run"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", [Entry("m", 0.8, {"k": 3})])


def report(run: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    code = verify.main([str(run), "--json"])
    return code, json.loads(capsys.readouterr().out)


# --- single files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [*TABLES, "plan"])
def test_no_single_bit_can_change_unnoticed(run: Path, table: str):
    path = run / "plan.parquet" if table == "plan" else run / table / PART
    schema, data, dice = SCHEMAS.get(table, PLAN), path.read_bytes(), random.Random(table)
    places = [dice.randrange(8 * len(data)) for _ in range(FLIPS)]
    places += range(8 * data.rfind(b"ladder_digest") - 32, 8 * data.rfind(b"ladder_digest") + 8 * 24)
    for place in places:
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile, match=str(path)):
            read_parquet(path, schema)


@pytest.mark.parametrize("table", TABLES)
def test_without_the_digest_the_pages_still_have_their_checksums(run: Path, table: str):
    """What a program sees that only knows Parquet."""
    data = bytearray((run / table / PART).read_bytes())
    column = pq.read_metadata(run / table / PART).row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start + column.total_compressed_size - 1] ^= 1
    with pytest.raises(OSError, match="could not verify page integrity, CRC checksum"):
        pq.ParquetFile(pa.BufferReader(bytes(data)), page_checksum_verification=True).read()


def test_a_sealed_file_is_plain_parquet(tmp_path: Path):
    frame = pd.DataFrame({"a": [1.5, None], "b": ["x", "sha256:" + "0" * 64]})
    write_parquet(tmp_path / "a.parquet", pa.Table.from_pandas(frame, preserve_index=False))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), frame)
    data = (tmp_path / "a.parquet").read_bytes()
    assert is_whole(data)
    assert is_whole(data + b"\0") is False


def test_files_of_others_have_no_digest_and_are_read(run: Path):
    path = run / "metrics" / PART
    before = pd.read_parquet(path)
    before.to_parquet(path)
    assert is_whole(path.read_bytes()) is None
    pd.testing.assert_frame_equal(read_run(run).metrics, before, check_dtype=False)


def test_a_file_is_digested_once_while_it_stays_as_it_is(run: Path, monkeypatch: pytest.MonkeyPatch):
    statuses(run)
    monkeypatch.setattr("harness.results.parquet.is_whole", lambda data: pytest.fail("digested again"))
    statuses(run)
    monkeypatch.undo()
    path = run / "trials" / PART
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert [error.path for error in standing(run).damage] == [path]


@pytest.mark.parametrize("way", ["flip", "cut", "empty"])
def test_kept_maps_notice_damage_themselves(tmp_path: Path, way: str):
    maps = np.random.default_rng(0).random((3, 5, 7))
    write_kept(tmp_path, "maps", "t", pack(["a", "b", "c"], maps))
    path, dice = tmp_path / "maps" / "t.npz", random.Random(1)
    data = path.read_bytes()
    good = read_maps(tmp_path, "t")
    assert good is not None
    for _ in range(FLIPS if way == "flip" else 1):
        damaged = bytearray(data)
        damaged[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes({"flip": bytes(damaged), "cut": data[:-30], "empty": b""}[way])
        try:
            found = read_maps(tmp_path, "t")
        except Exception as error:  # noqa: BLE001 - the kind is what is tested
            assert str(path) in str(error)
        else:  # a bit that means nothing, in the date of an entry
            assert found is not None
            np.testing.assert_array_equal(found.maps, good.maps)
            assert found.ids == good.ids


# --- tables against each other ------------------------------------------------------------------------------


def only_rows(run: Path, table: str, keep: Callable[[pd.DataFrame], pd.Series]) -> None:
    """Rewrite a table, with a right digest, without some of its rows."""
    frame = pd.read_parquet(run / table / PART)
    kept = pa.Table.from_pandas(frame[keep(frame)], schema=SCHEMAS[table], preserve_index=False)
    write_parquet(run / table / PART, kept)


@pytest.mark.parametrize(
    ("table", "lacks"), [("metrics", "metrics"), ("scores", "scores"), ("both", "metrics and scores")]
)
def test_an_ok_trial_without_its_numbers_is_missing(run: Path, table: str, lacks: str):
    lost = read_run(run).trials["trial_id"].iloc[3]
    for name in ("metrics", "scores") if table == "both" else (table,):
        only_rows(run, name, lambda frame: frame["trial_id"] != lost)
    found = read_run(run)
    assert found.lacking == standing(run).lacking == {lost: lacks}
    assert found.remaining["trial_id"].tolist() == [lost]
    assert lost not in statuses(run)
    assert lost not in set(found.metrics["trial_id"])
    assert f"1 ok trial ({lost}) without {lacks}: counted as missing" in found.notes[0]


def test_a_trial_has_one_score_per_test_image(tmp_path: Path):
    row = {"trial_id": "t", "method": "m", "status": "ok", "n_test": 3, "finished_at": "2026-01-01T00:00:00Z"}
    scores = tuple({"image": f"{i}.png", "score": 1.0} for i in range(2))
    Part(tmp_path, 0).write(rows_to_tables([TrialResult(row, ({"metric": "auroc"},), scores)]))
    assert standing(tmp_path).lacking == {"t": "scores (2 of 3 are there)"}


def test_rows_without_their_trial_and_older_rows_go_when_a_sweep_starts(run: Path):
    shutil.copytree(run / "trials", run / "copy")
    for table in TABLES:  # the same trials once more, as a killed driver may leave them
        shutil.copy(run / table / PART, run / table / "part-00001.parquet")
    only_rows(run, "trials", lambda frame: frame.index < 10)  # and some that never reached trials/
    assert mend(run) == []
    for table in TABLES:
        twice = pd.read_parquet(run / table)["trial_id"]
        assert set(twice) == set(pd.read_parquet(run / "copy")["trial_id"])
        assert len(pd.read_parquet(run / table / PART)) == 0


def test_what_may_be_whole_is_left_alone(run: Path):
    path = run / "metrics" / PART
    away = path.rename(run / "elsewhere.parquet")
    path.symlink_to(run / "unmounted.parquet")
    (run / "scores" / PART).write_bytes(b"damaged too")
    with pytest.raises(DamagedFile, match=r"a link to what is not there.*nothing was started"):
        mend(run)
    assert (run / "scores" / PART).read_bytes() == b"damaged too"
    away.rename(run / "unmounted.parquet")
    assert len(mend(run)) == 2  # the damaged scores, and the trials without


# --- what cannot be stored ----------------------------------------------------------------------------------


def test_names_that_are_not_utf8_are_spelt_in_tables(tmp_path: Path):
    name = b"bad/\xff\xfe.png".decode("utf-8", "surrogateescape")
    row = {
        "trial_id": "t",
        "method": "m",
        "status": "failed",
        "reason": f"{name}: no image",
        "support": [name],
    }
    writer = RunWriter(tmp_path)
    writer.finished(TrialResult(row | {"finished_at": "2026-01-01T00:00:00Z"}))
    writer.close()
    write_plan(tmp_path, [{"trial_id": "t", "method": "m", "category": name}])
    found = pd.read_parquet(tmp_path / "trials").iloc[0]
    assert found["reason"] == "bad/\\xff\\xfe.png: no image"
    assert list(found["support"]) == [spelt(name)] == ["bad/\\xff\\xfe.png"]
    assert spelt("half \ud800") == "half \\ud800"


def test_rows_that_cannot_be_stored_are_a_failed_trial(run: Path):
    writer = RunWriter(run)
    row = {"trial_id": "t", "method": "m", "status": "ok", "n_test": "six", "total_seconds": 2**70}
    writer.finished(TrialResult(row | {"finished_at": "2026-01-01T00:00:00+00:00"}))
    writer.close()
    found = read_run(run).trials.set_index("trial_id").loc["t"]
    assert found["status"] == "failed"
    assert found["reason"].startswith("its rows cannot be stored (")


# --- the command --------------------------------------------------------------------------------------------


def test_a_whole_run_is_whole(run: Path, capsys: pytest.CaptureFixture[str]):
    code, found = report(run, capsys)
    assert (code, found["whole"], found["mend"], found["ended"]) == (0, True, [], 18)
    assert {f["state"] for f in found["files"]} == {"whole"}
    assert {Path(f["path"]).parent.name for f in found["files"]} >= {*TABLES, "run"}


def test_a_run_from_before_digests_is_read_and_said_to_have_none(capsys: pytest.CaptureFixture[str]):
    assert verify.main([str(CARRIED)]) == 0
    said = capsys.readouterr().out
    assert "whole; files: 5 no digest; trials with their numbers: 16" in said
    assert "files without a digest can be read" in said


def test_no_run_names_the_nearest(run: Path):
    assert code_of(lambda: verify.main([str(run.with_name("rum"))])) == 2


def test_each_kind_of_loss_has_its_remedy(run: Path, capsys: pytest.CaptureFixture[str]):
    trials = read_run(run).trials["trial_id"]
    only_rows(run, "metrics", lambda frame: frame["trial_id"] != trials.iloc[0])
    code, found = report(run, capsys)
    assert (code, found["lacking"]) == (1, {trials.iloc[0]: "metrics"})
    assert found["mend"][0].startswith(f"python -m harness.rescore {run}")
    (run / "scores" / PART).unlink()
    code, found = report(run, capsys)
    assert [f["path"] for f in found["files"] if f["state"] == "missing"] == [str(run / "scores" / PART)]
    assert [step.split("   ")[0] for step in found["mend"]] == ["python -m harness.sweep CONFIG"]


def test_kept_files_are_held_against_what_their_trials_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = write_run(tmp_path / "run", [])
    writer = RunWriter(run)
    for name in "ab":
        row = {
            "trial_id": name,
            "method": "m",
            "status": "failed",
            "finished_at": "2026-01-01T00:00:00+00:00",
        }
        writer.finished(TrialResult(row, kept={"maps": pack(["x"], np.ones((1, 2, 2)))}))
    writer.close()
    assert report(run, capsys)[0] == 0
    data = bytearray((run / "maps" / "a.npz").read_bytes())
    data[10] ^= 1
    (run / "maps" / "a.npz").write_bytes(data)
    (run / "maps" / "b.npz").unlink()
    code, found = report(run, capsys)
    assert code == 1
    assert {
        Path(f["path"]).name: f["state"] for f in found["files"] if f["why"] or f["state"] == "missing"
    } == {
        "a.npz": "damaged",
        "b.npz": "missing",
    }
    assert "--retry ok --only 'id=a|b'" in found["mend"][0]


def test_an_edited_configuration_shows(run: Path):
    file = run / "sweep.json"
    file.write_text(file.read_text().replace('"seeds": 3', '"seeds": 4'))
    assert read_run(run).notes == (f"{file}: changed since the sweep wrote it",)
    assert wholeness(run).problems == [f"{file}: changed since the sweep wrote it"]


def test_notes_are_no_fault(run: Path):
    (run / "trials" / "notes.parquet").write_bytes(b"")
    (run / "damaged").mkdir()
    (run / "damaged" / "x").write_text("")
    found = wholeness(run)
    assert found.whole
    assert len(found.notes) == 2
