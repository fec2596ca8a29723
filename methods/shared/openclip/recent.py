"""Arrays that are needed again in a moment and are not worth a file, by key, in memory."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op

Array = NDArray[np.floating[Any]]
HELD_BYTES = 1 << 30  # two runs of images through ViT-L/14 at 448, and some support images beside them
_OF: "WeakKeyDictionary[ArtifactStore, Recent]" = WeakKeyDictionary()


@final
class Recent:
    """The most recently used arrays; asked as an `ArtifactStore` is.

    Args:
        limit: bytes that are held; the newest array is held whatever its size.
    """

    def __init__(self, limit: int = HELD_BYTES):
        self.limit, self._bytes = limit, 0
        self._held: OrderedDict[str, Array] = OrderedDict()

    def read(self, op: Op, key: str) -> Array | None:
        """An array, read-only, or None."""
        del op  # its parameters are part of the key
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def get_many(
        self, op: Op, inputs: Sequence[str], compute: Callable[[list[int]], Sequence[Array]], batch: int = 16
    ) -> list[Array]:
        """The arrays of many keys, in order, computing those that are not held."""
        keys = [op.key(each) for each in inputs]
        found = [self.read(op, key) for key in keys]
        missing = [n for n, array in enumerate(found) if array is None]
        for start in range(0, len(missing), batch):
            part = missing[start : start + batch]
            for n, array in zip(part, compute(part), strict=True):
                found[n] = self.hold(keys[n], array)
        return [array for array in found if array is not None]

    def hold(self, key: str, array: Array) -> Array:
        """Keep an array for a while, read-only from now on; gives it back."""
        array.flags.writeable = False
        if key not in self._held:
            self._held[key] = array
            self._bytes += array.nbytes
        while self._bytes > self.limit and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
        return array


def recent(store: ArtifactStore) -> Recent:
    """What is held beside a store, and goes with it."""
    return _OF.setdefault(store, Recent())
