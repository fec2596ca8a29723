"""All packs of one operation, and what is known here of where its arrays lie."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import final

from harness.artifacts.claims import Claims
from harness.artifacts.eviction import INDEX
from harness.artifacts.files import Handles
from harness.artifacts.pack import Pack, Writing
from harness.artifacts.record import ENTRY_BYTES, SMALL, STRUCK_OUT, Array, Damaged, Encoded, decoded

ATTEMPTS = 3  # at a new pack, which another process may take for its own before we lock it
Place = tuple[Pack, int]
Item = tuple[bytes, Encoded]


@final
class Shelf:
    """The arrays of one operation.

    Args:
        folder: where its packs lie; need not be there.
        pack_bytes: a pack that has reached this size takes no more.
        on_damage: called for each array that was found damaged.

    Attributes:
        claims: who computes what of it.
    """

    def __init__(self, folder: Path, pack_bytes: int, on_damage: Callable[[], None]):
        self._folder, self._pack_bytes, self._on_damage = folder, pack_bytes, on_damage
        self.claims = Claims(folder / "claims")
        self._packs: dict[str, Pack] = {}
        self._places: dict[bytes, Place] = {}
        self._older: dict[bytes, list[Place]] = {}  # of keys that were stored twice

    def find(self, key: bytes, handles: Handles) -> Array | None:
        """An array, as far as is known since the last `refresh`."""
        while place := self._places.get(key):
            pack, number = place
            try:
                return pack.read(key, number, handles)
            except Damaged:
                pack.strike_out(number)
                self._on_damage()
            except OSError:  # evicted meanwhile, or not ours to read
                pass
            self._forget(key)
        return None

    def refresh(self) -> None:
        """Take note of what other processes have stored and removed."""
        sizes = self._sizes()
        packs = list(self._packs.items())
        gone = {self._packs.pop(name) for name, pack in packs if sizes.get(name, -1) < len(pack.entries)}
        if gone:  # or cut: then what is left is read anew
            kept = list(self._places.items())
            self._places = {key: place for key, place in kept if place[0] not in gone}
        for name, size in sizes.items():
            pack = self._packs.get(name) or self._packs.setdefault(name, Pack(self._folder, name))
            if size - len(pack.entries) >= ENTRY_BYTES:
                with suppress(OSError), open(pack.index, "rb", buffering=0) as index:
                    self._take(pack, pack.catch_up(index))

    def parts(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        """`items` in runs of what goes into one pack."""
        start = total = 0
        for n, (_, each) in enumerate(items):
            total += each.length
            if total >= self._pack_bytes or n == len(items) - 1:
                yield items[start : n + 1]
                start, total = n + 1, 0

    def add(self, items: Sequence[Item]) -> list[Array]:
        """Store arrays in one pack, and give them back as later readers will see them.

        Raises:
            OSError: they cannot be stored.
        """
        new = (Pack.create(self._folder) for _ in range(ATTEMPTS))  # each only when it is its turn
        for pack in chain(self._unfilled(), new):
            with pack.writing(self._pack_bytes) as writing:
                if writing is not None:
                    numbers = self._appended(pack, writing, items)
                    break
        else:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        with Handles() as handles:
            return [self._back(pack, n, item, handles) for n, item in zip(numbers, items, strict=True)]

    def _appended(self, pack: Pack, writing: Writing, items: Sequence[Item]) -> range:
        numbers = pack.append(writing, items)
        self._packs[pack.index.stem] = pack
        self._take(pack, pack.catch_up(writing.index_file))
        return numbers

    def _back(self, pack: Pack, number: int, item: Item, handles: Handles) -> Array:
        """Large ones as a map, so that they need no memory of ours any more."""
        key, each = item
        if each.length > SMALL:
            with suppress(OSError, Damaged):
                return pack.read(key, number, handles)
        return decoded(each.joined(), each.head)

    def _unfilled(self) -> list[Pack]:
        """Packs to try; busy and full ones say so themselves. The last is the likeliest to have room."""
        return [pack for pack in reversed(list(self._packs.values())) if not pack.full]

    def _take(self, pack: Pack, found: Sequence[tuple[bytes, int]]) -> None:
        for key, number in found:
            place = (pack, number)
            known = self._places.get(key)
            if key != STRUCK_OUT and known != place:
                if known:
                    self._older.setdefault(key, []).append(known)
                self._places[key] = place

    def _forget(self, key: bytes) -> None:
        self._places.pop(key, None)
        if older := self._older.pop(key, None):
            self._places[key] = older.pop()
            self._older[key] = older

    def _sizes(self) -> dict[str, int]:
        """Name of a pack -> size of its index."""
        found: dict[str, int] = {}
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(INDEX):
                    with suppress(OSError):
                        found[entry.name.removesuffix(INDEX)] = entry.stat().st_size
        return found
