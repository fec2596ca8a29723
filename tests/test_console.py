"""Whoever stops reading: broken pipes, full disks, closed and narrow streams."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PLUGIN, environment

from harness.console import Outlet, leave
from harness.results import read_run

Write = Callable[..., Path]
SWEEP = f"{sys.executable} -m harness.sweep"


def shell(line: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """A line of bash, with the exit codes of its first pipe behind its output."""
    command = ["bash", "-c", f'{line}; echo "codes ${{PIPESTATUS[*]}}" >&2']
    return subprocess.run(
        command, capture_output=True, text=True, env=environment() | more, cwd=PLUGIN, check=False
    )


def test_nobody_has_to_read_what_a_sweep_prints(sweep_file: Write, tmp_path: Path):
    path = sweep_file(shots=[1, "full"])
    narrow = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    piped = shell(f"{SWEEP} {path} --backend serial | head -1", **narrow)
    assert piped.stderr == "codes 0 0\n"
    assert "6 to run -> " in piped.stdout
    assert list(read_run(tmp_path / "run").trials["status"]) == ["ok"] * 6
    full = shell(f"{SWEEP} {path} --backend serial --retry ok --limit 1 >/dev/full")
    assert full.stderr == ("error: standard output cannot be written (No space left on device)\ncodes 0\n")
    closed = shell(f"{SWEEP} {path} --backend serial --retry ok --limit 1 >&- 2>&-; echo $?")
    assert closed.stdout == "0\n"
    assert list(read_run(tmp_path / "run").trials["status"]) == ["ok"] * 6


def test_a_list_that_nobody_reads_is_no_failure_and_one_that_is_lost_is():
    lister = f"{sys.executable} -m harness.list metrics"
    assert shell(f"{lister} --json | head -1").stderr == "codes 0 0\n"
    full = shell(f"{lister} >/dev/full")
    assert full.stderr == "error: standard output cannot be written (No space left on device)\ncodes 1\n"


def _stream(encoding: str = "utf-8") -> tuple[io.TextIOWrapper, int]:
    """A text stream into a pipe, and the end to read from."""
    there, here = os.pipe()
    return io.TextIOWrapper(io.FileIO(here, "w"), encoding=encoding, write_through=True), there


def test_an_outlet_passes_on_until_it_cannot():
    stream, there = _stream()
    outlet = Outlet(stream)
    assert outlet.write("seen") == 4
    assert os.read(there, 10) == b"seen"
    os.close(there)
    for _ in range(3):
        assert outlet.write("unseen") == 6
        outlet.flush()
    assert isinstance(outlet.error, BrokenPipeError)
    assert outlet.encoding == "utf-8"
    stream.close()  # and not a word about what is still in its buffer


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("ascii", b"3 -> a x ... \\u00e9 \\xff"), ("utf-8", "3 → a × … é \\xff".encode())],
)
def test_characters_that_a_stream_lacks_are_spelled(
    monkeypatch: pytest.MonkeyPatch, encoding: str, printed: bytes
):
    stream, there = _stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)

    def main() -> int:
        print("3 → a × … é \udcff", end="")
        return 0

    with pytest.raises(SystemExit) as left:
        leave(main)
    sys.stderr.close()
    assert left.value.code == 0
    assert os.read(there, 100) == printed
    os.close(there)
    stream.close()
