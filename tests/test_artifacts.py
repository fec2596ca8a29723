"""The store of arrays: each computed once, whoever asks, whoever is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import LIMIT, wait_for

from harness.artifacts import GIB, ArtifactStore, Op

OP = Op("square", {"power": 2})


def squares(asked: list[int], calls: list[list[int]]):
    def compute(missing: list[int]) -> list[np.ndarray]:
        calls.append(missing)
        return [np.array([asked[i] ** 2]) for i in missing]

    return compute


def test_every_key_is_computed_once_and_comes_back_in_order(tmp_path: Path):
    store, calls = ArtifactStore(tmp_path), []
    asked = [3, 1, 2, 3]
    for _ in range(2):
        arrays = store.get_many(OP, [str(n) for n in asked], squares(asked, calls))
        assert [int(a[0]) for a in arrays] == [9, 1, 4, 9]
    assert sorted(i for call in calls for i in call) == [0, 1, 2]
    assert store.counters == {"square.computes": 3, "square.hits": 5}


def test_arrays_are_read_only(tmp_path: Path):
    for store in (ArtifactStore(tmp_path), ArtifactStore(None)):
        array = store.get(OP, ["x"], lambda: np.zeros(3))
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_key_carries_name_parameters_version_and_inputs():
    keys = {
        OP.key("a"),
        OP.key("b"),
        OP.key("a", "b"),
        Op("square", {"power": 3}).key("a"),
        Op("square", {"power": 2}, version=2).key("a"),
        Op("cube", {"power": 2}).key("a"),
    }
    assert len(keys) == 6
    assert Op("x", {"a": 1, "b": 2}).key("i") == Op("x", {"b": 2, "a": 1}).key("i")


def test_at_most_a_batch_is_computed_together(tmp_path: Path):
    calls: list[list[int]] = []
    asked = list(range(10))
    ArtifactStore(tmp_path).get_many(OP, [str(n) for n in asked], squares(asked, calls), batch=4)
    assert sorted(map(len, calls)) == [2, 4, 4]


def test_a_damaged_file_is_computed_again(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    store.get(OP, ["x"], lambda: np.arange(1000))
    path = store.path(OP, OP.key("x"))
    assert path
    path.write_bytes(path.read_bytes()[:50])
    assert ArtifactStore(tmp_path).get(OP, ["x"], lambda: np.arange(1000)).sum() == 499500


def test_the_least_recently_used_go_first(tmp_path: Path):
    store = ArtifactStore(tmp_path, limit_gib=4 * 8192 / GIB)
    for name in "abcd":
        store.get(OP, [name], lambda: np.zeros(1000))
        os.utime(store.path(OP, OP.key(name)), (ord(name), ord(name)))
    store.get(OP, ["a"], lambda: np.zeros(1000))  # used again, hence young
    for name in "ef":
        store.get(OP, [name], lambda: np.zeros(1000))
    kept = {n for n in "abcdef" if store.read(OP, OP.key(n)) is not None}
    assert kept >= {"a", "e", "f"}
    assert "b" not in kept
    assert store.counters["evictions"] >= 2


def test_a_failing_computation_leaves_nothing_behind(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.get(OP, ["x"], lambda: np.array(1 // 0))
    assert int(store.get(OP, ["x"], lambda: np.array(7))) == 7


def test_a_full_disk_costs_the_store_and_not_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path, array: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.artifacts._replace", full)
    store = ArtifactStore(tmp_path)
    assert int(store.get(OP, ["x"], lambda: np.array(7))) == 7
    assert store.counters["unkept"] == 1


WORKER = """
import os, sys, time
import numpy as np
from pathlib import Path
from harness.artifacts import ArtifactStore, Op
root, log, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
def compute(missing):
    for i in missing:
        with open(log, "a") as file: file.write(f"{i}\\n")
        time.sleep(seconds)
    return [np.array([i]) for i in missing]
arrays = ArtifactStore(root).get_many(Op("shared"), [str(i) for i in range(24)], compute, batch=4)
assert [int(a[0]) for a in arrays] == list(range(24))
"""


def worker(root: Path, log: Path, seconds: float) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", WORKER, str(root), str(log), str(seconds)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)})


def test_processes_share_the_work_and_compute_nothing_twice(tmp_path: Path):
    log = tmp_path / "log"
    processes = [worker(tmp_path / "store", log, 0.02) for _ in range(3)]
    assert [p.wait(LIMIT) for p in processes] == [0, 0, 0]
    assert sorted(map(int, log.read_text().split())) == list(range(24))


def test_a_killed_holder_of_a_lock_blocks_nobody(tmp_path: Path):
    log = tmp_path / "log"
    first = worker(tmp_path / "store", log, 60)
    wait_for(log.exists)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert worker(tmp_path / "store", log, 0).wait(LIMIT) == 0
