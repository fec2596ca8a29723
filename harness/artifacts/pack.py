"""A pack: arrays one after another in a file that only grows, and an index beside it."""

import os
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple, final
from uuid import uuid4
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import locking
from harness.artifacts.files import Handles, mapped, write_all
from harness.artifacts.record import (
    ALIGNMENT,
    ENTRY_BYTES,
    SMALL,
    Array,
    Damaged,
    Encoded,
    Entry,
    Raw,
    decoded,
)

JOINED = 4 << 20  # bytes that are put together for one write, rather than written piece by piece
TOUCH_SECONDS = 60.0  # a pack that is read is marked as used this often, not once per array


def _machine() -> str:
    """A name for this machine since it was started; only processes of one kernel append to a pack.

    Only there are locks and file sizes the same for all of them: on a network file system one could
    overwrite what another has just appended.
    """
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:  # not told: then no other process appends to ours
        text = uuid4().hex
    return sha256(text.encode()).hexdigest()[:8]


MACHINE = _machine()


class Writing(NamedTuple):
    """A pack that is locked for appending: its open files, and where its data ends."""

    data_file: IO[bytes]
    index_file: IO[bytes]
    end: int


@final
class Pack:
    """One pack.

    Args:
        folder: of its operation.
        name: of both files, without suffix.

    Attributes:
        full: it takes no more, or not from us.
        entries: the index, as far as it is known here.
    """

    def __init__(self, folder: Path, name: str):
        self.data, self.index = folder / f"{name}.data", folder / f"{name}.index"
        self.full = not name.startswith(MACHINE)
        self.entries = bytearray()
        self._trusted: set[Entry] = set()  # mapped arrays whose checksum has held in this process
        self._whole: ref[NDArray[np.uint8]] | None = None
        self._touched = -TOUCH_SECONDS
        self._fresh = False  # created by us, and not written to yet

    @staticmethod
    def create(folder: Path) -> "Pack":
        """A new, empty pack.

        Raises:
            OSError: the folder may not be written to, or there is no room.
        """
        folder.mkdir(parents=True, exist_ok=True)
        pack = Pack(folder, f"{MACHINE}-{uuid4().hex[:12]}")
        open(pack.data, "xb").close()
        try:
            open(pack.index, "xb").close()
        except OSError:  # the last inode
            pack.data.unlink()
            raise
        pack._fresh = True
        return pack

    def catch_up(self, index: IO[bytes]) -> list[tuple[bytes, int]]:
        """Read what others have appended to the index; keys and their numbers."""
        known = len(self.entries)
        index.seek(known)
        new = index.read()
        new = new[: len(new) // ENTRY_BYTES * ENTRY_BYTES]  # a killed writer leaves part of an entry
        self.entries[known : known + len(new)] = new  # the same again, if another thread was faster
        return [(new[i : i + 32], (known + i) // ENTRY_BYTES) for i in range(0, len(new), ENTRY_BYTES)]

    def read(self, key: bytes, number: int, handles: Handles) -> Array:
        """An array, whole as it was put here.

        Small ones are copied: what was checked is what is used. Larger ones are views of a map of the
        whole pack, so that neither memory nor descriptors nor maps (65,530 per process) grow with them.

        Raises:
            Damaged: it is not.
            OSError: the pack has gone, or may not be read.
        """
        at = number * ENTRY_BYTES
        entry = Entry.of(bytes(self.entries[at : at + ENTRY_BYTES]), key)
        if entry.length <= SMALL:
            array = _checked(handles.read(self.data, entry.offset, entry.length), entry)
        else:
            array = self._large(entry, handles)
        self._touch()
        return array

    def _large(self, entry: Entry, handles: Handles) -> Array:
        end = entry.offset + entry.length
        try:
            raw: Raw = self._map(end).data[entry.offset : end]
        except OSError:  # no maps left, or none on this file system; a pack that has gone fails again here
            raw = handles.read(self.data, entry.offset, entry.length)
        if entry in self._trusted and len(raw) == entry.length:
            return decoded(raw, entry.head)
        array = _checked(raw, entry)
        self._trusted.add(entry)
        return array

    def _map(self, length: int) -> NDArray[np.uint8]:
        """At least so much of the data file, mapped; less where it is shorter."""
        whole = self._whole() if self._whole else None
        if whole is None or len(whole) < length:
            whole = mapped(self.data)
            self._whole = ref(whole)  # as long as arrays of it are in use
        return whole

    def strike_out(self, number: int) -> None:
        """Remove the entry of a damaged array, for everybody where that is allowed."""
        at = number * ENTRY_BYTES
        self.entries[at : at + ENTRY_BYTES] = bytes(ENTRY_BYTES)
        with suppress(OSError), open(self.index, "r+b", buffering=0) as index:
            index.seek(at)
            index.write(bytes(ENTRY_BYTES))

    @contextmanager
    def writing(self, room: int) -> Iterator[Writing | None]:
        """Lock the pack for appending; None if somebody else does, or it has `room` bytes already.

        A pack that was just created is nobody else's; where files cannot be locked no other is ours.
        """
        with ExitStack() as opened:
            try:
                data = opened.enter_context(open(self.data, "r+b", buffering=0))
                index = opened.enter_context(open(self.index, "r+b", buffering=0))
            except OSError:  # evicted, or another user's
                self.full = True
                yield None
                return
            opened.callback(locking.release_file, data)
            yield self._locked(data, index, room)

    def _locked(self, data: IO[bytes], index: IO[bytes], room: int) -> Writing | None:
        held = locking.try_file(data)
        if held is False:
            return None
        end = data.seek(0, os.SEEK_END)
        foreign = held is None and not self._fresh
        self._fresh = False
        evicted = not os.fstat(index.fileno()).st_nlink
        self.full = end >= room or foreign or evicted or self._cut(index.seek(0, os.SEEK_END), end)
        return None if self.full else Writing(data, index, end)

    def _cut(self, index_end: int, data_end: int) -> bool:
        """Whether the files are shorter than they were: then nothing may lie where something else has been.

        Whoever has the old bytes mapped and checked would see the new ones.
        """
        known = len(self.entries)
        with suppress(Damaged):
            last = Entry.of(bytes(self.entries[-ENTRY_BYTES:]))
            return index_end < known or data_end < last.offset + last.length
        return index_end < known

    def append(self, writing: Writing, items: Sequence[tuple[bytes, Encoded]]) -> range:
        """Append arrays: first their bytes, then the entries that point at them; their numbers.

        A process that is killed in between leaves bytes that nobody points at, or part of an entry, over
        which the next one writes. So does a disk that is full; entries that are whole are good.

        Raises:
            OSError: no room, for instance.
        """
        data, index, end = writing
        try:
            entries = _written(data, end, items)
        except OSError:
            with suppress(OSError):  # nobody points there yet: the room can be given back
                data.truncate(end)
            raise
        first = index.seek(0, os.SEEK_END) // ENTRY_BYTES
        index.seek(first * ENTRY_BYTES)
        write_all(index, b"".join(entry.packed() for entry in entries))
        self._trusted.update(entry for entry in entries if entry.length > SMALL)
        return range(first, first + len(items))

    def _touch(self) -> None:
        now = time.monotonic()
        if now - self._touched >= TOUCH_SECONDS:
            self._touched = now
            with suppress(OSError):  # a read-only store is still a store
                os.utime(self.index)


def _checked(raw: Raw, entry: Entry) -> Array:
    if len(raw) != entry.length or zlib.crc32(raw) != entry.checksum:
        raise Damaged
    return decoded(raw, entry.head)


def _written(data: IO[bytes], end: int, items: Iterable[tuple[bytes, Encoded]]) -> list[Entry]:
    """Write arrays behind `end`, each aligned; their entries."""
    at, pieces, entries = end, [], []
    for key, each in items:
        gap = -at % ALIGNMENT
        at += gap
        pieces += [bytes(gap), *each.pieces]
        entries.append(Entry(key, at, each.length, each.head, each.checksum))
        at += each.length
    data.seek(end)
    for piece in [b"".join(pieces)] if at - end <= JOINED else pieces:
        write_all(data, piece)
    return entries
