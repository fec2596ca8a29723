"""Runs damaged in seventy ways, under every command: never a traceback, always the file, and a way on."""

import ctypes
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import write_tree

from harness import maps, rescore, show, status, verify
from harness.console import code_of
from harness.results import read_run
from harness.results.journal import Journal
from harness.results.tables import Part
from harness.sweep import main as sweep
from harness.trial import TrialResult
from reports.command import main as reports

Damage = Callable[[Path], object]
TABLES = ("trials", "metrics", "scores")
PART = "part-00000.parquet"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two trials with maps, and the file it was made from."""
    folder = tmp_path_factory.mktemp("damage")
    content = {
        "name": "t",
        "dataset": {"name": "mvtec_ad", "root": str(write_tree(folder / "data", ("bolt", "nut"), test=3))},
        "shots": [1],
        "methods": [{"name": "mean_image", "params": {"image_size": 16}}],
        "metrics": ["auroc"],
        "keep_maps": True,
        "out": str(folder / "run"),
        "cache": {"enabled": False},
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    assert sweep([str(folder / "sweep.yaml"), "--backend", "serial"]) == 0
    return folder


# --- ways to damage a file ----------------------------------------------------------------------------------


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def gone(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def closed(path: Path) -> None:
    path.chmod(0)


WAYS = (flipped, cut, zeroed, gone, a_folder, dangling, closed)


# --- where ------------------------------------------------------------------------------------------------


def parts(run: Path) -> Iterator[Path]:
    yield from (run / table / PART for table in TABLES)


def everywhere() -> Iterator[tuple[str, Damage]]:
    """(name, damage) of each file in each way."""
    names = [f"{t}/{PART}" for t in TABLES] + ["plan.parquet", "sweep.json", "driver.json", ".lock"]
    for name in names:
        for way in WAYS:
            if name != ".lock" or way in (a_folder, closed):
                yield f"{name}-{way.__name__}", lambda run, n=name, w=way: w(run / n)


def json_of(name: str, text: str) -> Damage:
    return lambda run: (run / name).write_text(text)


def folder_is(name: str, way: str) -> Damage:
    def damage(run: Path) -> None:
        folder = run / name
        if way == "closed":
            folder.chmod(0)
            return
        shutil.rmtree(folder)
        if way == "a_file":
            folder.write_text("no folder")
        if way == "dangling":
            folder.symlink_to("/nowhere/at/all")

    return damage


def foreign_parquet(name: str) -> Damage:
    return lambda run: shutil.copy(run / "plan.parquet", run / name)


def without_digest(table: str) -> Damage:
    """A part of an earlier version, of which a column nobody needs for a survey is damaged."""

    def damage(run: Path) -> None:
        path = run / table / PART
        pq.write_table(Part(run, 0).table(table), path, compression="zstd")
        last = pq.read_metadata(path).row_group(0).column({"metrics": 4, "scores": 5}[table])
        data = bytearray(path.read_bytes())
        start = last.dictionary_page_offset or last.data_page_offset
        data[start : start + last.total_compressed_size] = bytes(last.total_compressed_size)
        path.write_bytes(data)

    return damage


OTHERS: dict[str, Damage] = {
    "metrics-without-digest": without_digest("metrics"),
    "scores-without-digest": without_digest("scores"),
    "sweep.json-list": json_of("sweep.json", "[1]"),
    "sweep.json-no-config": json_of("sweep.json", '{"schema_version": 1}'),
    "sweep.json-config-text": json_of("sweep.json", '{"config": "x"}'),
    "sweep.json-bare": json_of("sweep.json", '{"config": {}}'),
    "sweep.json-deep": json_of("sweep.json", "[" * 5000),
    "driver.json-list": json_of("driver.json", "[1]"),
    "driver.json-types": json_of("driver.json", '{"host": 3, "pid": "x"}'),
    "driver.json-pid": json_of("driver.json", f'{{"host": "{os.uname().nodename}", "pid": {10**30}}}'),
    "driver.json-time": json_of("driver.json", '{"host": "h", "pid": 4, "started_at": "yesterday"}'),
    "metrics-is-the-plan": foreign_parquet(f"metrics/{PART}"),
    "trials-is-the-plan": foreign_parquet(f"trials/{PART}"),
    "scores-is-the-plan": foreign_parquet(f"scores/{PART}"),
    "trials-odd-names": lambda run: (run / "trials" / "part-abc.parquet").mkdir(),
    "all-parts-gone": lambda run: [gone(path) for path in parts(run)],
    **{
        f"{name}-{way}": folder_is(name, way)
        for name in TABLES
        for way in ("gone", "a_file", "dangling", "closed")
    },
    "journal-a-folder": lambda run: (run / "journal" / "x.jsonl").mkdir(),
    "journal-closed": lambda run: (run / "journal" / "x.jsonl").touch(0),
    "journal-a_file": folder_is("journal", "a_file"),
    "journal-dangling": lambda run: (run / "journal" / "x.jsonl").symlink_to("/nowhere/at/all"),
    "maps-flipped": lambda run: [flipped(path) for path in (run / "maps").iterdir()],
    "maps-a-folder": lambda run: [a_folder(path) for path in (run / "maps").iterdir()],
    "maps-dangling": lambda run: [dangling(path) for path in (run / "maps").iterdir()],
    "maps-closed": lambda run: [closed(path) for path in (run / "maps").iterdir()],
}
CASES = dict(everywhere()) | OTHERS
REPORTED = ("flipped", "gone", "closed", "plan", "bare")  # reports take their time and read as the others do


@contextmanager
def no_privileges() -> Iterator[None]:
    """Root reads what it has forbidden itself; here it does not."""
    libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    before = sets[0]
    try:
        sets[0] = before & ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.capset(header, sets)
        yield
    finally:
        sets[0] = before
        libc.capset(header, sets)


def commands(run: Path, made: Path, trial: str, out: Path) -> dict[str, Callable[[], int]]:
    """Everything that only reads, and `rescore`."""
    return {
        "status": lambda: status.main([str(run), "--failed"]),
        "show": lambda: show.main([str(run), trial]),
        "maps": lambda: maps.main([str(run), trial, "--out", str(out / "maps")]),
        "verify": lambda: verify.main([str(run)]),
        "sweep --dry-run": lambda: sweep([*_again(run, made), "--dry-run"]),
        "rescore": lambda: rescore.main([str(run)]),
    }


def reporting(run: Path, made: Path, out: Path) -> dict[str, Callable[[], int]]:
    """What reads runs through one frame."""
    few = ["--format", "md,csv", "--no-figures", "--no-pictures", "--tables", "none"]
    return {
        "reports": lambda: reports([str(run), "--out", str(out / "report"), *few]),
        "diff": lambda: reports(["diff", str(made / "run"), str(run)]),
        "merge": lambda: reports(["merge", str(made / "run"), str(run), "--out", str(out / "merged")]),
    }


def _again(run: Path, made: Path) -> list[str]:
    return [str(made / "sweep.yaml"), "--backend", "serial", f"out={run}"]


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities")
@pytest.mark.parametrize("case", CASES)
def test_a_damaged_run_is_named_and_goes_on(
    made: Path, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    trial = read_run(run).trials["trial_id"].iloc[0]
    CASES[case](run)
    with no_privileges():
        every = commands(run, made, trial, tmp_path)
        if case.endswith(REPORTED):
            every = reporting(run, made, tmp_path) | every
        before = look(run, every, capsys)
        if case.startswith(TABLES) and "odd" not in case:
            assert (before["status"] > 0, before["verify"]) == (True, 1)
        ended = code_of(lambda: sweep(_again(run, made)))
        said = capsys.readouterr()
    assert ended in (0, 2), said
    if ended == 2:
        assert case.endswith(("dangling", "closed", ".lock-a_folder", "driver.json-a_folder")), said
        assert len(said.err.splitlines()) == 1, said
        assert f"{run}/" in said.err
        return
    assert code_of(lambda: status.main([str(run)])) == 0, capsys.readouterr()
    capsys.readouterr()
    if before["verify"] and not case.startswith("maps"):
        assert code_of(lambda: verify.main([str(run)])) == 0, capsys.readouterr()


def look(
    run: Path, every: dict[str, Callable[[], int]], capsys: pytest.CaptureFixture[str]
) -> dict[str, int]:
    """The code of each command, none of which may raise; where it is 2, a line names a file of the run."""
    codes = {}
    for name, command in every.items():
        codes[name] = code_of(command)
        said = capsys.readouterr()
        assert codes[name] in (0, 1, 2), (name, said)
        if codes[name] == 2:
            assert len(said.err.splitlines()) == (not name.startswith("status") or not said.out), (name, said)
            assert str(run) in said.out + said.err, (name, said)
    return codes


# --- journals -----------------------------------------------------------------------------------------------


def results_of(run: Path) -> list[TrialResult]:
    """What a run holds, as its journal would have it."""
    tables = Part(run, 0).read()
    found = []
    for row in tables["trials"].to_pylist():
        row |= {name: row[name].isoformat() for name in ("started_at", "finished_at")}
        mine = [tables[n].filter(pc.field("trial_id") == row["trial_id"]) for n in ("metrics", "scores")]
        found.append(TrialResult(row, *(tuple(t.drop_columns("trial_id").to_pylist()) for t in mine)))
    return found


def old(line: bytes) -> bytes:
    """A line as it was before there were checksums."""
    return line.rpartition(b" #")[0] + b"\n"


def without(line: bytes, key: str) -> bytes:
    event = json.loads(old(line))
    del event["trial"][key]
    return json.dumps(event).encode() + b"\n"


LINES: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda line: b"what is this\n",
    "bytes": lambda line: bytes(range(128, 256)) + b"\n",
    "nulls": lambda line: bytes(300) + line,
    "half": lambda line: line[: len(line) // 2] + b"\n",
    "two-in-one": lambda line: line[:-1] + line,
    "empty": lambda line: b"\n",
    "list": lambda line: b"[1]\n",
    "number": lambda line: b"3\n",
    "null": lambda line: b"null\n",
    "deep": lambda line: b"[" * 100_000 + b"\n",
    "long-number": lambda line: b"1" * 5000 + b"\n",
    "no-event": lambda line: b'{"trial": {}}\n',
    "odd-event": lambda line: b'{"event": "stopped"}\n',
    "no-trial": lambda line: b'{"event": "finished"}\n',
    "started-nothing": lambda line: b'{"event": "started"}\n',
    "trial-a-list": lambda line: b'{"event": "finished", "trial": [], "metrics": [], "scores": []}\n',
    "no-id": lambda line: without(line, "trial_id"),
    "no-time": lambda line: without(line, "finished_at"),
    "time": lambda line: re.sub(rb'"finished_at":"[^"]*"', b'"finished_at":"soon"', old(line)),
    "types": lambda line: old(line).replace(b'"n_test":6', b'"n_test":"six"'),
    "score": lambda line: re.sub(rb'"score":', b'"score":"x","x":', old(line)),
    "flipped": lambda line: line.replace(b'"label":"good"', b'"label":"goof"', 1),
    "checksum": lambda line: line[:-3] + b"zz\n",
}


@pytest.mark.parametrize("kind", LINES)
def test_a_damaged_journal_line_is_set_aside_and_the_others_hold(
    made: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    journal = Journal(run)
    for result in results_of(run):
        journal.finished(result)
    journal.close()
    for table in TABLES:
        shutil.rmtree(run / table)
    first, second = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(LINES[kind](first) + second)
    code = code_of(lambda: status.main([str(run)]))
    said = capsys.readouterr()
    assert (code, f"{journal.path}: line 1 cannot be read" in said.out) == (2, True), said
    assert "1 ok, 1 missing" in said.out
    assert code_of(lambda: sweep(_again(run, made))) == 0
    assert f"{journal.path}: line 1 cannot be read" in capsys.readouterr().out
    assert (run / "damaged" / "journal.jsonl").read_bytes() == LINES[kind](first)
    assert code_of(lambda: verify.main([str(run)])) == 0
    assert read_run(run).trials["status"].tolist() == ["ok", "ok"]
