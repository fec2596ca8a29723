"""The store as methods see it: `get`, `get_many`, `read`."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from harness.artifacts.eviction import PACKED, evict
from harness.artifacts.files import Handles
from harness.artifacts.op import Op
from harness.artifacts.record import Array, encoded
from harness.artifacts.shelf import Shelf

GIB = 1 << 30
SCAN_FRACTION = 0.02  # of the limit may be written before the size of the store is taken again
LARGEST_PACK = 64 << 20  # bytes: few enough files and maps, and small enough to be evicted as one
PACKS = 32  # at least so many fill the limit, so that eviction goes in small steps


@final
class ArtifactStore:
    """Arrays by key, each computed once.

    Whatever becomes of its folder (full, read-only, another user's, damaged, deleted while in use), arrays
    are right; what cannot be kept or found is computed.

    Args:
        root: folder of the store; None keeps nothing and computes every time.
        limit_gib: size above which the least recently used arrays are removed.

    Attributes:
        counters: since the store was opened: "<op>.hits" and "<op>.computes"; "evictions"; "damaged", arrays
            whose checksum did not hold; "unkept", arrays that could not be stored, and "unkept.<ERRNO>", why.
    """

    def __init__(self, root: Path | None, limit_gib: float = 50.0):
        self.root = root
        self.limit_bytes = int(limit_gib * GIB)
        self.counters: Counter[str] = Counter()
        self._shelves: dict[str, Shelf] = {}
        self._unseen = self.limit_bytes  # bytes since the size of the store was taken: never yet

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
            batch: how many keys are claimed and computed together.

        Returns:
            Read-only arrays; large ones memory-mapped where the store keeps them. A key that several
            processes want at once is computed by one of them; the others meanwhile take what is still free.
        """
        keys = op.digests((each,) if isinstance(each, str) else each for each in inputs)
        found = _Lookup(self._shelf(op), keys)
        wanted = found.missing()
        while wanted:
            waiting: list[bytes] = []
            for start in range(0, len(wanted), batch):
                waiting += self._compute(op, found, wanted[start : start + batch], compute)
            if waiting and found.shelf is not None:
                found.shelf.claims.wait(waiting[0])
            wanted = waiting
        self._count(f"{op.name}.hits", len(keys) - found.computed)
        return [found.arrays[key] for key in keys]

    def read(self, op: Op, key: str) -> Array | None:
        """A stored array, read-only, or None."""
        digest = bytes.fromhex(key)
        return _Lookup(self._shelf(op), [digest]).arrays.get(digest)

    def read_many(self, op: Op, inputs: Sequence[str | tuple[str, ...]]) -> list[Array | None]:
        """The stored arrays of many keys, in order and read-only; None where there is none."""
        keys = op.digests((each,) if isinstance(each, str) else each for each in inputs)
        found = _Lookup(self._shelf(op), keys).arrays
        self._count(f"{op.name}.hits", sum(key in found for key in keys))
        return [found.get(key) for key in keys]

    def _compute(
        self, op: Op, found: "_Lookup", keys: Sequence[bytes], compute: Callable[[list[int]], Sequence[Array]]
    ) -> list[bytes]:
        """Compute the keys that can be claimed; return those that another process is computing."""
        shelf = found.shelf
        with shelf.claims.on(keys) if shelf is not None else nullcontext(set(keys)) as held:
            found.look(held)
            mine = [key for key in keys if key in held and key not in found.arrays]
            if mine:
                results = compute([found.places[key] for key in mine])
                arrays = [np.asarray(each) for each in results]
                found.arrays |= zip(mine, self._kept(shelf, mine, arrays), strict=True)
                found.computed += len(mine)
                self._count(f"{op.name}.computes", len(mine))
        return [key for key in keys if key not in held]

    def _kept(self, shelf: Shelf | None, keys: Sequence[bytes], arrays: list[Array]) -> list[Array]:
        """Store arrays and give them back; as they are where that cannot be done."""
        kept: list[Array] = []
        try:
            for array in self._stored(shelf, keys, arrays) if shelf is not None else ():
                kept.append(array)
        except (OSError, ValueError) as error:
            self._unkept(error, len(arrays) - len(kept))
        for array in arrays[len(kept) :]:
            array.flags.writeable = False
        return kept + arrays[len(kept) :]

    def _stored(self, shelf: Shelf, keys: Sequence[bytes], arrays: Sequence[Array]) -> Iterator[Array]:
        """Store arrays and give them back as later readers will see them.

        Raises:
            OSError: the folder is full, read-only, another user's; what was given back is stored.
            ValueError: arrays of a type that cannot be stored.
        """
        items = [(key, encoded(array)) for key, array in zip(keys, arrays, strict=True)]
        for part in shelf.parts(items):
            self._make_room(sum(each.length for _, each in part))
            yield from shelf.add(part)

    def _shelf(self, op: Op) -> Shelf | None:
        if self.root is None:
            return None
        if op.name not in self._shelves:
            pack_bytes = min(LARGEST_PACK, max(1, self.limit_bytes // PACKS))
            on_damage = partial(self._count, "damaged")
            self._shelves[op.name] = Shelf(self.root / PACKED / op.name, pack_bytes, on_damage)
        return self._shelves[op.name]

    def _count(self, name: str, by: int = 1) -> None:
        if by:
            self.counters[name] += by

    def _make_room(self, coming: int) -> None:
        """Evict, but look at the folder only now and then.

        Raises:
            OSError: one array is larger than the whole store may be.
        """
        if coming > self.limit_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        self._unseen += coming
        if self.root and self._unseen >= SCAN_FRACTION * self.limit_bytes:
            self._unseen = 0
            self._count("evictions", evict(self.root, self.limit_bytes - coming))

    def _unkept(self, error: OSError | ValueError, number: int) -> None:
        why = errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
        self._count("unkept", number)
        self._count(f"unkept.{why}", number)


class _Lookup:
    """The arrays that one call has found or computed so far.

    Attributes:
        shelf: where to look; None finds nothing.
        arrays: by key.
        places: where in the call a key is asked for (first).
        computed: how many were computed.
    """

    def __init__(self, shelf: Shelf | None, keys: Sequence[bytes]):
        self.shelf = shelf
        self.arrays: dict[bytes, Array] = {}
        self.places = {key: n for n, key in reversed(list(enumerate(keys)))}
        self.computed = 0
        self._find(self.places)
        self.look(self.places)

    def missing(self) -> list[bytes]:
        """Keys without an array, in one order for all processes."""
        return sorted(key for key in self.places if key not in self.arrays)

    def look(self, keys: Iterable[bytes]) -> None:
        """Find what other processes have stored by now."""
        missing = [key for key in keys if key not in self.arrays]
        if missing and self.shelf is not None:
            self.shelf.refresh()
            self._find(missing)

    def _find(self, keys: Iterable[bytes]) -> None:
        if self.shelf is None:
            return
        with Handles() as handles:
            for key in keys:
                array = self.shelf.find(key, handles)
                if array is not None:
                    self.arrays[key] = array


def no_store() -> ArtifactStore:
    """A store that keeps nothing: every array is computed when asked for."""
    return ArtifactStore(None)
