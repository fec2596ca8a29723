"""The files of a run: durable at once, readable at any moment, whole after any crash."""

import errno
import json
import os
import random
import shutil
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from stores import child, ended

import harness.results.writer as writer_module
from harness.errors import DataError, ResultsError, RunLocked
from harness.results import RunWriter, locked, read_run, statuses, write_plan, write_sweep
from harness.results.journal import Journal
from harness.trial import TrialResult
from sweeps.ledger import Ledger

# Writers that were never closed are the point of this file.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def result(number: int, status: str = "ok", images: int = 3) -> TrialResult:
    row = {
        "trial_id": f"{number:016x}",
        "method": "m",
        "status": status,
        "weights": [{"name": "w", "sha256": "0"}],
    }
    row |= {"finished_at": datetime.now(UTC).isoformat(), "support": ["train/good/000.png"]}
    metrics = ({"subset": "all", "metric": "auroc", "value": 0.5},)
    scores = tuple(
        {"image": f"{i}.png", "score": number + i / 10, "parts": {"a": 1.0}} for i in range(images)
    )
    return TrialResult(row, metrics, scores)


def start(run: Path) -> RunWriter:
    run.mkdir(exist_ok=True)
    write_sweep(run, {"name": "t"})
    write_plan(run, [{"trial_id": f"{i:016x}", "method": "m"} for i in range(100)])
    return RunWriter(run)


def numbers(run: Path) -> list[int]:
    """Trials that a plain reader of the folders sees."""
    return sorted(int(i, 16) for i in pd.read_parquet(run / "trials")["trial_id"])


def check_whole(run: Path, expected: int) -> None:
    """Every trial once, with all of its rows in the other tables."""
    assert numbers(run) == list(range(expected))
    for table, each in (("metrics", 1), ("scores", 3)):
        assert (pd.read_parquet(run / table)["trial_id"].value_counts() == each).all()


def test_tables_can_be_read_before_anything_is_in_them(tmp_path: Path):
    start(tmp_path)
    for table in ("trials", "metrics", "scores"):
        assert len(pd.read_parquet(tmp_path / table)) == 0


def test_a_result_is_durable_before_it_is_in_a_table(tmp_path: Path):
    writer = start(tmp_path)
    for number in range(20):
        writer.finished(result(number))
    assert len(read_run(tmp_path).trials) == 20  # without flush or close
    assert len(statuses(tmp_path)) == 20


def test_what_a_dead_writer_left_is_folded_in(tmp_path: Path):
    first = start(tmp_path)
    for number in range(5):
        first.finished(result(number))
    del first  # never closed, as after kill -9
    torn = next((tmp_path / "journal").glob("*.jsonl"))
    with open(torn, "ab") as file:
        file.write(b'{"event":"finished","trial":{"trial_id":"00')
    second = RunWriter(tmp_path)
    second.finished(result(5))
    second.close()
    check_whole(tmp_path, 6)
    assert list((tmp_path / "journal").iterdir()) == []


def test_full_parts_are_sealed_and_files_stay_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer_module, "SEAL_TRIALS", 10)
    writer = start(tmp_path)
    for number in range(35):
        writer.finished(result(number))
        writer.flush()
    writer.close()
    check_whole(tmp_path, 35)
    assert len(list((tmp_path / "trials").iterdir())) == 4


def test_a_reader_never_stumbles_over_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer_module, "SEAL_TRIALS", 7)
    writer, seen, stop = start(tmp_path), [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            found = pd.read_parquet(tmp_path / "trials")["trial_id"]
            assert found.is_unique
            seen.append(len(found))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        writer.finished(result(number))
        writer.flush()
    stop.set()
    reader.join()
    writer.close()
    assert seen == sorted(seen)
    assert seen


def test_a_retried_trial_replaces_its_row_even_in_a_sealed_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer_module, "SEAL_TRIALS", 4)
    writer = start(tmp_path)
    for number in range(6):
        writer.finished(result(number, "failed"))
    writer.flush()
    writer.finished(result(1))
    writer.finished(result(5))
    writer.close()
    check_whole(tmp_path, 6)
    assert {k for k, s in statuses(tmp_path).items() if s == "ok"} == {f"{1:016x}", f"{5:016x}"}


def test_forgotten_rows_are_gone_from_all_tables(tmp_path: Path):
    writer = start(tmp_path)
    for number in range(4):
        writer.finished(result(number))
    writer.flush()
    writer.forget([f"{3:016x}"])
    check_whole(tmp_path, 3)
    writer.close()
    check_whole(tmp_path, 3)


def write_on(run: Path, first: int, reported: int) -> None:
    """Goes on writing rows, and tells a pipe the number of every row that is safe."""
    writer = RunWriter(run)
    for number in range(first, 40):
        writer.finished(result(number))
        os.write(reported, f"{number}\n".encode())
        if number % 3 == 0:
            writer.flush()


def test_kill_at_random_moments_loses_nothing_that_was_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer_module, "SEAL_TRIALS", 5)
    start(tmp_path).close()
    done, dice = 0, random.Random(3)
    for _ in range(6):
        heard, reported = os.pipe()
        process = child(lambda first=done, to=reported: write_on(tmp_path, first, to))
        os.close(reported)
        with os.fdopen(heard) as lines:
            for _ in range(dice.randint(1, 9)):
                if line := lines.readline():
                    done = int(line) + 1
            os.kill(process, signal.SIGKILL)
            done = max([done] + [int(line) + 1 for line in lines])
        ended(process)
        assert len(read_run(tmp_path).trials) >= done
        done = len(read_run(tmp_path).trials)  # one more may have become durable without being reported
    RunWriter(tmp_path).close()
    check_whole(tmp_path, done)


def test_only_one_driver_at_a_time(tmp_path: Path):
    with locked(tmp_path), pytest.raises(RunLocked, match=f"process {os.getpid()}"), locked(tmp_path):
        pass
    with locked(tmp_path):
        assert json.loads((tmp_path / "driver.json").read_text())["pid"] == os.getpid()


def test_older_files_gain_the_columns_that_they_lack(tmp_path: Path):
    writer = start(tmp_path)
    writer.finished(result(0))
    writer.close()
    part = tmp_path / "trials" / "part-00000.parquet"
    pd.read_parquet(part).drop(columns=["marks", "unit"]).to_parquet(part)
    trials = read_run(tmp_path).trials
    assert trials["marks"].isna().all()
    assert trials["status"].tolist() == ["ok"]


def test_not_a_run_names_the_nearest_one(tmp_path: Path):
    start(tmp_path / "fewshot")
    with pytest.raises(DataError, match="did you mean 'fewshot'"):
        read_run(tmp_path / "fewshto")


def test_a_full_disk_keeps_the_journal_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    journal = Journal(tmp_path)
    journal.finished(result(0))
    whole = journal.path.read_bytes()

    class Full:
        """A file whose disk takes ten bytes more."""

        def __init__(self, file):
            self.file = file

        def write(self, data: bytes) -> int:
            return self.file.write(data[:10])

        def __getattr__(self, name: str):
            return getattr(self.file, name)

    monkeypatch.setattr(journal, "_file", Full(journal._file))
    with pytest.raises(ResultsError, match="No space left"):
        journal.finished(result(1))
    journal.close()
    assert journal.path.read_bytes() == whole


def test_a_row_in_a_journal_that_was_removed_is_not_done(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.finished(result(0))
    shutil.rmtree(tmp_path / "journal")
    with pytest.raises(ResultsError, match=r"journal/\w+\.jsonl: .*somebody has removed it"):
        ledger.finished(result(1))
    assert len(ledger.ended_ids) == 1
    ledger.close()
    assert len(statuses(tmp_path)) == 1  # what was called done is in the tables


@pytest.mark.parametrize("stale", [False, True])
def test_a_start_that_cannot_be_written_ends_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale: bool
):
    def refuse(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    ledger = Ledger(tmp_path)
    shutil.rmtree(tmp_path / "journal")
    if stale:
        monkeypatch.setattr("harness.results.journal.os.ftruncate", refuse)
    with pytest.raises(ResultsError):  # a callback's, which Tune may swallow
        ledger.started("a")
    assert ledger.fatal is not None and "somebody has removed it" in ledger.fatal
    ledger.close()


def test_rows_that_cannot_be_forgotten_are_a_matter_of_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(self: object, tables: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "part.parquet")

    with_rows = RunWriter(tmp_path)
    with_rows.adopt(writer_module.rows_to_tables([result(0)]))
    monkeypatch.setattr(writer_module.Part, "shrink", full)
    with pytest.raises(ResultsError, match=r"part\.parquet: cannot be written \(No space left"):
        with_rows.forget([result(0).trial["trial_id"]])
    with_rows.close()
