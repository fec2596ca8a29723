"""A content-addressed store of arrays: one computation per key across all processes of a node.

Layout: `<root>/<op>/<first two hex>/<sha256>.npy`, written under a temporary name and renamed. Who wants
to compute a key holds an operating-system lock on it (`<root>/locks`), which dies with its holder, so a
killed process blocks nobody. Reading is memory-mapping; a read refreshes the file's modification time,
by which the least recently used files are evicted once the store outgrows its limit.
"""

import errno
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

Array = NDArray[Any]
GIB = 1 << 30
SCAN_FRACTION = 0.02  # of the limit may be written before the size of the store is taken again


@final
@dataclass(frozen=True)
class Op:
    """An operation and exactly what its result depends on besides its inputs.

    Attributes:
        name: a folder name ("resized", "features").
        params: JSON-able parameters that the operation reads, and only those.
        version: raised when the code of the operation changes its result.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    def key(self, *inputs: str) -> str:
        """sha256 of the operation, its parameters and the content hashes of its inputs."""
        text = json.dumps([self.name, self.version, self.params, inputs], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


@final
class ArtifactStore:
    """Arrays by key, each computed once.

    Args:
        root: folder of the store; None keeps nothing and computes every time.
        limit_gib: size above which the least recently used arrays are removed.

    Attributes:
        counters: "<op>.hits", "<op>.computes" and "evictions" since the store was opened.
    """

    def __init__(self, root: Path | None, limit_gib: float = 50.0):
        self.root = root
        self.limit_bytes = int(limit_gib * GIB)
        self.counters: Counter[str] = Counter()
        self._written = 0

    def __reduce__(self):
        return type(self), (self.root, self.limit_bytes / GIB)

    def get(self, op: Op, inputs: Sequence[str], compute: Callable[[], Array]) -> Array:
        """The array of one key, computed by `compute()` if nobody has."""
        return self.get_many(op, [tuple(inputs)], lambda missing: [compute()])[0]

    def get_many(
        self,
        op: Op,
        inputs: Sequence[str | tuple[str, ...]],
        compute: Callable[[list[int]], Sequence[Array]],
        batch: int = 16,
    ) -> list[Array]:
        """The arrays of many keys, in order, computing only those that nobody has.

        Args:
            op: the operation.
            inputs: content hashes of the inputs of each key.
            compute: indices into `inputs` -> their arrays; called with at most `batch` indices.
            batch: how many keys are locked and computed together.

        Returns:
            Read-only arrays, memory-mapped where the store keeps them. A key that several processes
            want at once is computed by one of them; the others meanwhile take what is still free.
        """
        keys = [op.key(*([i] if isinstance(i, str) else i)) for i in inputs]
        found = _Lookup(self, op, keys)
        order = sorted({key: n for n, key in reversed(list(enumerate(keys)))}.items())
        wanted = [(key, n) for key, n in order if found.missing(key)]
        waiting = []
        for start in range(0, len(wanted), batch):
            waiting += self._compute(found, wanted[start : start + batch], compute, wait=False)
        for item in waiting:
            self._compute(found, [item], compute, wait=True)
        self.counters[f"{op.name}.hits"] += len(keys) - found.computed
        return [found.arrays[key] for key in keys]

    def _compute(self, found: "_Lookup", items, compute, wait: bool) -> list[tuple[str, int]]:
        """Compute the items whose lock can be had; return those that another process is computing."""
        with self._locks([key for key, _ in items], wait) as held:
            mine = [(key, n) for key, n in items if key in held and found.missing(key)]
            if mine:
                results = compute([n for _, n in mine])
                for (key, _), array in zip(mine, results, strict=True):
                    found.put(key, self._write(found.op, key, np.asarray(array)))
        return [item for item in items if item[0] not in held]

    @contextmanager
    def _locks(self, keys: Sequence[str], wait: bool) -> Iterator[set[str]]:
        if self.root is None:
            yield set(keys)
            return
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        locks = {key: FileLock(folder / key, blocking=wait) for key in keys}
        held = {key for key, lock in locks.items() if _acquire(lock)}
        try:
            yield held
        finally:
            for key in held:
                (folder / key).unlink(missing_ok=True)
                locks[key].release()

    def path(self, op: Op, key: str) -> Path | None:
        """Where the array of a key lies or would lie; None if nothing is kept."""
        return self.root / op.name / key[:2] / f"{key}.npy" if self.root else None

    def read(self, op: Op, key: str) -> Array | None:
        """A stored array, memory-mapped and read-only, or None."""
        path = self.path(op, key)
        if path is None:
            return None
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):  # absent, evicted meanwhile, or cut short
            return None
        with suppress(OSError):  # a read-only store is still a store
            os.utime(path)
        return array

    def _write(self, op: Op, key: str, array: Array) -> Array:
        """Store an array; where the disk is full or read-only the result is used without being kept."""
        path = self.path(op, key)
        if path is not None:
            try:
                self._make_room(array.nbytes)
                _replace(path, array)
                self._written += array.nbytes
                return np.load(path, mmap_mode="r", allow_pickle=False)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT):
                    raise
                self.counters["unkept"] += 1
        array.flags.writeable = False
        return array

    def _make_room(self, coming: int) -> None:
        if self._written + coming < SCAN_FRACTION * self.limit_bytes and self._written:
            return
        self._written = 0
        files = sorted(_files(self.root), reverse=True) if self.root else []
        total = coming
        for _, size, path in files:
            total += size
            if total > self.limit_bytes:
                path.unlink(missing_ok=True)
                self.counters["evictions"] += 1


class _Lookup:
    """The arrays that one call has found or computed so far."""

    def __init__(self, store: ArtifactStore, op: Op, keys: Sequence[str]):
        self.store, self.op = store, op
        self.arrays: dict[str, Array] = {}
        self.computed = 0

    def missing(self, key: str) -> bool:
        if key not in self.arrays:
            array = self.store.read(self.op, key)
            if array is not None:
                self.arrays[key] = array
        return key not in self.arrays

    def put(self, key: str, array: Array) -> None:
        self.arrays[key] = array
        self.computed += 1
        self.store.counters[f"{self.op.name}.computes"] += 1


def _acquire(lock: FileLock) -> bool:
    try:
        lock.acquire()
    except Timeout:
        return False
    return True


def _replace(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, array, allow_pickle=False)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _files(root: Path) -> Iterator[tuple[float, int, Path]]:
    for path in root.glob("*/??/*.npy"):
        try:
            stat = path.stat()
        except OSError:  # removed by another process meanwhile
            continue
        yield stat.st_mtime, stat.st_size, path


def no_store() -> ArtifactStore:
    """A store that keeps nothing: every array is computed when asked for."""
    return ArtifactStore(None)
