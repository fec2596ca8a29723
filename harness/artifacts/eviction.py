"""Keeping a store within its limit: what was not used for longest goes first."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, final

from harness.artifacts.record import ENTRY_BYTES

PACKED = "packed"  # the folder of packs
INDEX, DATA = ".index", ".data"  # removed in this order: no index may point at nothing
_OLD = re.compile(r"[0-9a-f]{64}\.npy")  # nothing else in a folder that a user named is ours to delete


@final
class _Kept(NamedTuple):
    """What is kept or removed together.

    Attributes:
        used: seconds since the epoch; a reader moves it forward.
        size: bytes.
        arrays: how many.
        paths: its files.
    """

    used: float
    size: int
    arrays: int
    paths: tuple[Path, ...]


def evict(root: Path, room: int) -> int:
    """Remove the least recently used until what is left fits; how many arrays went.

    Processes that hold one of them mapped go on reading it: a file lives until it is let go of. What may
    not be removed (another user's) stays, as does what others removed meanwhile not matter.

    Args:
        root: of the store.
        room: bytes that may stay.
    """
    total = gone = 0
    for kept in sorted((*_packs(root / PACKED), *_old_files(root)), reverse=True):
        total += kept.size
        if total > room:
            gone += kept.arrays if _removed(kept.paths) else 0
    return gone


def _packs(folder: Path) -> Iterator[_Kept]:
    found: dict[str, dict[str, os.stat_result]] = defaultdict(dict)
    for op in _entries(folder):
        for file in _entries(op.path):
            stem, dot, suffix = file.path.rpartition(".")
            if dot + suffix in (INDEX, DATA):
                with suppress(OSError):
                    found[stem][dot + suffix] = file.stat()
    for stem, stats in found.items():
        yield _Kept(
            used=max(s.st_mtime for s in stats.values()),
            size=sum(s.st_size for s in stats.values()),
            arrays=stats[INDEX].st_size // ENTRY_BYTES if INDEX in stats else 0,
            paths=tuple(Path(stem + suffix) for suffix in (INDEX, DATA)),
        )


def _old_files(root: Path) -> Iterator[_Kept]:
    """Arrays of versions that kept one file each."""
    for op in _entries(root):
        for folder in _entries(op.path) if op.name != PACKED else ():
            for file in _entries(folder.path) if len(folder.name) == 2 else ():
                if _OLD.fullmatch(file.name):
                    with suppress(OSError):
                        stat = file.stat()
                        yield _Kept(stat.st_mtime, stat.st_size, 1, (Path(file.path),))


def _entries(folder: str | Path) -> Iterable["os.DirEntry[str]"]:
    """What is in a folder; nothing where it is none, may not be listed or has gone."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return ()


def _removed(paths: Iterable[Path]) -> bool:
    try:
        for path in paths:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
