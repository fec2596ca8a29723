"""Files that appear whole or not at all: the one way in which Ladder puts a file in its place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

PARTIALS = ".*.partial"  # what a killed process may leave behind, as a glob pattern


@contextmanager
def whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """A hidden name beside `path`; what is written there takes its place when the block ends well.

    Args:
        path: the file to be; its folder is made.
        durable: whether it must survive a power loss. Without, a file of the right name and size can hold
            zeros afterwards, because a rename may reach the disk before the bytes do.

    Raises:
        OSError: it cannot be written; nothing is left behind, and an older file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{uuid4().hex[:12]}.partial")  # not the file's name: that may be of full length
    try:
        yield hidden
        if durable:
            _sync(hidden)
        os.replace(hidden, path)
    except BaseException:
        with suppress(OSError):
            hidden.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
