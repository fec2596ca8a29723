"""The store of arrays: each computed once, whoever asks, whoever is killed."""

import hashlib
import json
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LIMIT, wait_for
from stores import LARGE, OP, ask, child, ended, packs, value

from harness.artifacts import GIB, ArtifactStore, Op, locking, pack


def test_every_key_is_computed_once_and_comes_back_in_order(tmp_path: Path):
    store, calls = ArtifactStore(tmp_path), list[int]()

    def squares(missing: list[int]) -> list[np.ndarray]:
        calls.extend(missing)
        return [np.array([asked[i] ** 2]) for i in missing]

    asked = [3, 1, 2, 3]
    for _ in range(2):
        arrays = store.get_many(OP, [str(n) for n in asked], squares)
        assert [int(a[0]) for a in arrays] == [9, 1, 4, 9]
    assert sorted(calls) == [0, 1, 2]
    assert store.counters == {"square.computes": 3, "square.hits": 5}


@pytest.mark.parametrize("name", ["x", "L"])
def test_arrays_are_read_only_when_new_when_found_and_without_a_store(tmp_path: Path, name: str):
    for store in (ArtifactStore(tmp_path), ArtifactStore(tmp_path), ArtifactStore(None)):
        array = store.get(OP, [name], lambda: value(name))
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


def test_the_key_is_the_hash_of_the_whole_description():
    params = {"b": [1, 2.5, None], "a": {"z": "ä", "y": Path("/x")}}
    for inputs in ((), ("a",), ("a" * 64, 'quoted "ä"')):
        text = json.dumps(["n", 3, params, inputs], sort_keys=True, default=str)
        op = Op("n", params, 3)
        assert op.key(*inputs) == hashlib.sha256(text.encode()).hexdigest()
        assert travelled(op).key(*inputs) == op.key(*inputs)


def travelled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own bytes


def test_at_most_a_batch_is_computed_together(tmp_path: Path):
    calls: list[int] = []

    def compute(missing: list[int]) -> list[np.ndarray]:
        calls.append(len(missing))
        return [np.array(i) for i in missing]

    ArtifactStore(tmp_path).get_many(OP, [str(n) for n in range(10)], compute, batch=4)
    assert sorted(calls) == [2, 4, 4]


def kinds() -> list[np.ndarray]:
    record = np.zeros(3, np.dtype([("a", "<i4"), ("b", ">f8", (2,))]))
    record["b"] = np.pi
    return [
        np.array(7),
        np.empty((0, 3), np.float32),
        np.array([True, False]),
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(40, dtype=np.float16)[::3],
        np.array([np.nan, np.inf, -0.0]),
        np.array([1 + 2j], np.complex64),
        np.array(["ä", "bcd"]),
        np.array([b"x", b"yz"]),
        np.array(["2024-02-29", "NaT"], "datetime64[D]"),
        record,
        np.arange(LARGE, dtype=np.int64).reshape(1, -1, 1, 2),
        np.broadcast_to(np.float32(1.5), (300, 300)),
    ]


@pytest.mark.parametrize("array", kinds(), ids=lambda a: f"{a.dtype}-{a.shape}")
def test_whatever_is_put_in_comes_out(tmp_path: Path, array: np.ndarray):
    for store in (ArtifactStore(tmp_path), ArtifactStore(tmp_path)):
        found = store.get(OP, ["x"], lambda: array)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()
    assert (store.counters["square.hits"], store.counters["unkept"]) == (1, 0)


def test_arrays_of_objects_are_used_and_not_kept(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    assert store.get(OP, ["x"], lambda: np.array([{}, None], object))[0] == {}
    assert store.counters["unkept.ValueError"] == 1


def test_a_store_travels_as_its_place_and_limit(tmp_path: Path):
    store = travelled(ArtifactStore(tmp_path, 3.5))
    assert (store.root, store.limit_bytes) == (tmp_path, int(3.5 * GIB))
    assert travelled(ArtifactStore(None)).root is None


def test_a_single_array_can_be_read_without_computing(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    assert store.read(OP, OP.key("a")) is None
    ask(store, ["a", "L"])
    for name in ("a", "L"):
        found = ArtifactStore(tmp_path).read(OP, OP.key(name))
        np.testing.assert_array_equal(found, value(name))


def test_a_failing_computation_leaves_nothing_behind(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    for error in (ZeroDivisionError, OSError, KeyboardInterrupt):
        with pytest.raises(error):
            store.get(OP, ["x"], lambda error=error: (_ for _ in ()).throw(error()))
    assert int(store.get(OP, ["x"], lambda: np.array(7))) == 7
    assert store.counters["unkept"] == 0


def test_nested_operations_and_threads_compute_once(tmp_path: Path):
    store, calls, names = ArtifactStore(tmp_path), list[str](), [str(n) for n in range(40)]

    def compute(missing: list[int]) -> list[np.ndarray]:
        calls.extend(names[i] for i in missing)
        inner = store.get_many(Op("inner"), [names[i] for i in missing], lambda m: [np.array(i) for i in m])
        time.sleep(0.005)
        return [value(names[i]) + 0 * int(a) for i, a in zip(missing, inner, strict=True)]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: store.get_many(OP, names, compute, batch=3), range(6)))
    assert sorted(calls) == sorted(names)
    for arrays in found:
        assert all(np.array_equal(a, value(name)) for a, name in zip(arrays, names, strict=True))


def test_the_least_recently_used_go_first(tmp_path: Path):
    limit = 4 * 9000 / GIB
    ages = {}
    for age, name in enumerate("abcd"):
        ArtifactStore(tmp_path, limit).get(OP, [name], lambda: np.zeros(1000))
        (path,) = set(packs(tmp_path)) - set(ages)
        ages[path] = age
    for path, age in ages.items():
        for file in (path, path.with_suffix(".data")):
            os.utime(file, (age, age))
    store = ArtifactStore(tmp_path, limit)
    store.get(OP, ["a"], lambda: np.zeros(1000))  # used again, hence young
    for name in "ef":
        store.get(OP, [name], lambda: np.zeros(1000))
    kept = {n for n in "abcdef" if ArtifactStore(tmp_path).read(OP, OP.key(n)) is not None}
    assert kept == {"a", "d", "e", "f"}
    assert store.counters["evictions"] == 2


def test_files_of_older_versions_are_not_believed_and_go_first(tmp_path: Path):
    old = tmp_path / "square" / OP.key("a")[:2] / f"{OP.key('a')}.npy"
    old.parent.mkdir(parents=True)
    np.save(old, np.zeros(1000))
    os.utime(old, (1, 1))
    foreign = old.with_name("mine.npy")
    foreign.write_bytes(bytes(100_000))
    store = ArtifactStore(tmp_path, 20_000 / GIB)
    ask(store, ["a", "b", "c"])
    assert old.exists()
    store.get(OP, ["big"], lambda: np.ones(2000))
    assert (old.exists(), foreign.exists()) == (False, True)
    assert int(store.read(OP, OP.key("big")).sum()) == 2000


def test_what_is_larger_than_the_limit_is_not_kept_and_evicts_nothing(tmp_path: Path):
    store = ArtifactStore(tmp_path, 20_000 / GIB)
    ask(store, ["a", "L"])
    assert store.counters["unkept.EFBIG"] == 1
    assert store.read(OP, OP.key("a")) is not None


def test_a_pack_is_filled_before_the_next_is_begun(tmp_path: Path):
    for n in range(5):
        ask(ArtifactStore(tmp_path), [str(n), f"L{n}"])
    assert len(packs(tmp_path)) == 1
    ask(ArtifactStore(tmp_path, 20 * LARGE / GIB), [f"L{n}" for n in range(10, 20)])
    assert len(packs(tmp_path)) == 11


def test_other_machines_append_to_packs_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ask(ArtifactStore(tmp_path), ["a"])
    monkeypatch.setattr(pack, "MACHINE", "elsewhere")
    ask(ArtifactStore(tmp_path), ["a", "b"])
    assert len(packs(tmp_path)) == 2
    monkeypatch.undo()
    store = ArtifactStore(tmp_path)
    ask(store, ["a", "b"])
    assert store.counters["square.hits"] == 2


def test_where_files_cannot_be_locked_every_batch_is_a_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locking, "fcntl", None)
    names = [str(n) for n in range(12)]
    ask(ArtifactStore(tmp_path), names)
    store = ArtifactStore(tmp_path)
    ask(store, names)
    assert (store.counters["square.hits"], len(packs(tmp_path))) == (12, 3)


def test_where_files_cannot_be_mapped_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(path: Path) -> Any:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(pack, "mapped", refused)
    for store in (ArtifactStore(tmp_path), ArtifactStore(tmp_path)):
        ask(store, ["La", "Lb", "c"])
    assert store.counters == {"square.hits": 3}


def test_descriptors_and_maps_do_not_grow_with_arrays(tmp_path: Path):
    """2,000 large arrays held at once, in a process that may open 40 files more."""
    names = [f"L{n}" for n in range(2000)]
    large = [value("L"), value("M" * 9)]
    large[1] = np.resize(large[1], LARGE)

    def hold() -> None:
        inherited = len(list(Path("/proc/self/fd").iterdir()))  # of whatever ran before in this process
        resource.setrlimit(resource.RLIMIT_NOFILE, (inherited + 40, inherited + 40))
        for store in (ArtifactStore(tmp_path), ArtifactStore(tmp_path)):
            held = store.get_many(OP, names, lambda missing: [large[i % 2] for i in missing])
            assert all(np.array_equal(a, large[i % 2]) for i, a in enumerate(held))
            maps = Path("/proc/self/maps").read_text().count(str(tmp_path))
            assert maps <= 200, maps  # of the whole pack, each time it had grown by a batch
            assert len(list(Path("/proc/self/fd").iterdir())) < inherited + 10
        assert (store.counters["square.hits"], maps) == (2000, len(packs(tmp_path)))

    assert ended(child(hold)) == 0


WORKER = """
import sys, time
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
    assert list((tmp_path / "store").glob("packed/*/claims/*.keys")) == []


def test_a_killed_holder_of_a_claim_blocks_nobody(tmp_path: Path):
    log = tmp_path / "log"
    first = worker(tmp_path / "store", log, 60)
    wait_for(log.exists)
    second = worker(tmp_path / "store", log, 0)  # soon waits for what the first has claimed
    wait_for(lambda: len(log.read_text().split()) >= 21)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert second.wait(LIMIT) == 0
    assert list((tmp_path / "store").glob("packed/*/claims/*.keys")) == []


def test_a_child_that_outlives_a_computation_holds_no_claim(tmp_path: Path):
    store, children = ArtifactStore(tmp_path), list[int]()

    def compute() -> np.ndarray:
        children.append(child(lambda: time.sleep(60)))
        return value("a")

    store.get(OP, ["a"], compute)
    packs(tmp_path)[0].unlink()
    try:
        assert ended(child(lambda: ask(ArtifactStore(tmp_path), ["a"]))) == 0
    finally:
        os.kill(children[0], signal.SIGKILL)
        ended(children[0])


def test_a_forked_child_goes_on_with_what_its_parent_knew(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    held = ask(store, ["a", "La"])
    children = [child(lambda n=n: ask(store, ["a", "La", f"b{n}", f"Lb{n}", "c", "Lc"])) for n in range(3)]
    ask(store, ["c", "Lc", "d"])
    assert [ended(pid) for pid in children] == [0, 0, 0]
    after = ArtifactStore(tmp_path)
    ask(after, ["a", "La", "c", "Lc", "d", *(f"{k}{n}" for k in ("b", "Lb") for n in range(3))])
    assert (after.counters["square.hits"], after.counters["damaged"]) == (11, 0)
    np.testing.assert_array_equal(held[1], value("La"))


def killed(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)
    return ended(pid)


@pytest.mark.parametrize("limit", [50.0, 300_000 / GIB], ids=["roomy", "evicting"])
def test_a_storm_of_kills_leaves_right_arrays(tmp_path: Path, limit: float):
    """Four processes, killed at any moment, each looking at every array that it gets."""
    names = [f"{'L' if n % 8 == 0 else 's'}{n}" for n in range(60)]

    def loop() -> None:
        chance = random.Random(os.getpid())
        while True:
            ask(ArtifactStore(tmp_path, limit), chance.choices(names, k=12), batch=chance.choice((1, 3, 12)))

    running, chance, ends = [child(loop) for _ in range(4)], random.Random(1), list[int]()
    try:
        wait_for(lambda: packs(tmp_path))
        for _ in range(12):
            time.sleep(chance.uniform(0, 0.08))
            ends.append(killed(running.pop(chance.randrange(4))))
            running.append(child(loop))
    finally:
        ends += map(killed, running)
    assert set(ends) == {-signal.SIGKILL}
    store = ArtifactStore(tmp_path, limit)
    ask(store, names)
    assert store.counters["damaged"] == 0
    assert limit == 50.0 or sum(p.stat().st_size for p in packs(tmp_path, "data")) < 400_000
