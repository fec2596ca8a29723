"""What an array costs in the artifact store, beside a file and a lock per array, as it was done before.

    python -m benchmarks.store [--arrays 10000] [--bytes 4096] [--processes 8]
    python -m benchmarks.store --sweep 372         # every method under `ulimit -n 256`, about half an hour

CPU seconds are those of the operating system's accounting, user and system, per array asked for; wall time
depends on the machine. Several processes ask for the same arrays at once: each should be computed by one.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from harness.artifacts import Array, ArtifactStore, Op

OP = Op("benchmark", {"of": "store"})
BATCH = 16
Item = tuple[str, int]
DESCRIPTORS = 256


class FilePerArray:
    """The peer: an array is a file, written under a temporary name; a key is locked while it is computed."""

    def __init__(self, root: Path):
        self.root = root
        self.computed = 0

    def get_many(self, op: Op, inputs: Sequence[str], compute: Callable[[list[int]], Sequence[Array]]):
        keys = [op.key(each) for each in inputs]
        found = {key: self.read(op, key) for key in keys}
        missing = sorted((key, n) for n, key in enumerate(keys) if found[key] is None)
        waiting: list[Item] = []
        for start in range(0, len(missing), BATCH):
            waiting += self._compute(op, missing[start : start + BATCH], compute, found, blocking=False)
        for item in waiting:
            self._compute(op, [item], compute, found, blocking=True)
        return [found[key] for key in keys]

    def read(self, op: Op, key: str) -> Array | None:
        path = self.root / op.name / key[:2] / f"{key}.npy"
        try:
            array = np.load(path, mmap_mode="r")
        except OSError:
            return None
        os.utime(path)
        return array

    def _compute(self, op: Op, items: Sequence[Item], compute, found: dict[str, Any], blocking: bool):
        (self.root / "locks").mkdir(parents=True, exist_ok=True)
        locks = {key: FileLock(self.root / "locks" / key, blocking=blocking) for key, _ in items}
        held = {key for key, lock in locks.items() if acquired(lock)}
        for key in held:
            found[key] = self.read(op, key)
        mine = [(key, n) for key, n in items if key in held and found[key] is None]
        self.computed += len(mine)
        for (key, _), array in zip(mine, compute([n for _, n in mine]), strict=True):
            found[key] = self._write(op, key, array)
        for key in held:
            (self.root / "locks" / key).unlink(missing_ok=True)
            locks[key].release()
        return [item for item in items if item[0] not in held]

    def _write(self, op: Op, key: str, array: Array) -> Array | None:
        path = self.root / op.name / key[:2] / f"{key}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            np.save(file, array)
        os.replace(name, path)
        return self.read(op, key)


def acquired(lock: FileLock) -> bool:
    with suppress(Timeout):
        lock.acquire()
        return True
    return False


class Packed:
    """Ours."""

    def __init__(self, root: Path):
        self.store = ArtifactStore(root)
        self.get_many = self.store.get_many

    @property
    def computed(self) -> int:
        return self.store.counters[f"{OP.name}.computes"]


KINDS = {"file per array": FilePerArray, "packs": Packed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--arrays", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--sweep", type=int, metavar="N", help="instead: all methods on N training images")
    options = parser.parse_args()
    if options.sweep:
        sys.exit(sweep(options.sweep))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the peer holds a descriptor per array
    arrays = list(np.random.default_rng(0).integers(0, 256, (options.arrays, options.bytes)).astype(np.uint8))
    print(f"{options.arrays} arrays of {options.bytes} bytes; CPU µs per array")
    together = f"new, by {options.processes}"
    print(f"{'':>16} {'new':>8} {'hit':>8} {'files':>7} {together:>12} {'computed':>9}")
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            new, hit, files, shared, computed = measure(Path(folder), kind, arrays, options.processes)
        print(f"{name:>16} {new:8.1f} {hit:8.1f} {files:7d} {shared:12.1f} {computed:9.3f}", flush=True)


def measure(
    folder: Path, kind: type[Any], arrays: Sequence[Array], processes: int
) -> tuple[float, float, int, float, float]:
    """CPU µs per new array and per hit, files left, CPU µs of all processes, computations per array."""
    alone = [cpu([child(lambda: use(kind, folder / "alone", arrays))]) for _ in range(2)]
    files = sum(len(names) for _, _, names in os.walk(folder / "alone"))
    log = folder / "log"
    pids = [child(lambda: note(log, use(kind, folder / "shared", arrays))) for _ in range(processes)]
    new, hit, shared = (1e6 * seconds / len(arrays) for seconds in (*alone, cpu(pids)))
    return new, hit, files, shared, sum(map(int, log.read_text().split())) / len(arrays)


def use(kind: type[Any], root: Path, arrays: Sequence[Array]) -> int:
    """Ask for every array; how many were computed."""
    store = kind(root)
    names = [f"{n:064x}" for n in range(len(arrays))]
    found = store.get_many(OP, names, lambda missing: [arrays[i] for i in missing])
    if not all(np.array_equal(a, b) for a, b in zip(found, arrays, strict=True)):
        raise SystemExit("wrong arrays")
    return store.computed


def note(log: Path, number: int) -> None:
    with open(log, "a") as file:
        file.write(f"{number}\n")


def child(action: Callable[[], object]) -> int:
    """A forked process, so that nothing is imported anew."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return pid


def cpu(pids: Sequence[int]) -> float:
    """Wait for children; the CPU seconds of all of them."""
    total = 0.0
    for pid in pids:
        _, status, usage = os.wait4(pid, 0)
        if status:
            raise SystemExit(f"a child ended with {os.waitstatus_to_exitcode(status)}")
        total += usage.ru_utime + usage.ru_stime
    return total


def sweep(images: int) -> int:
    """Every method of configs/demo.yaml on so many training images with few descriptors; its exit code."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    with tempfile.TemporaryDirectory() as folder:
        draw = f"{folder}/data --categories juice_bottle --size 96 --train {images} --validation 4 --good 4"
        run(["harness.data", "demo", *draw.split(), "--logical", "4", "--structural", "4"])
        where = [f"dataset.root={folder}/data", f"out={folder}/run", f"cache.folder={folder}/store"]
        once = ["shots=full", "seeds=1", "--backend", "serial"]
        return run(["harness.sweep", "configs/demo.yaml", *where, *once])


def run(words: Sequence[str]) -> int:
    return subprocess.run([sys.executable, "-m", *words]).returncode


if __name__ == "__main__":
    main()
