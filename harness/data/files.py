"""Files that people have put somewhere: read only where they are regular ones, known again by their stamp."""

import errno
import stat
from pathlib import Path

Stamp = tuple[int, int, int, int]  # size, modification time, inode, change time (both in ns)

# What else can carry the name of a file. Opening a pipe waits for ever, reading /dev/zero never ends.
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def stamp_of(path: Path) -> Stamp:
    """What tells one state of a file from another.

    The inode changes where a file is replaced by another, the change time also where size and modification
    time were put back (`cp -p`, `rsync --times`); nothing but the system clock can put that one back.

    Raises:
        OSError: the file is missing, may not be looked at, or is no regular file; nothing was opened.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise OSError(errno.EINVAL, f"{kind}, not a file", str(path))
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns


def content(path: Path, most: int) -> bytes:
    """All bytes of a file.

    Args:
        path: the file.
        most: a larger one is refused: a sparse file can say any size.

    Raises:
        OSError: see `stamp_of`; or it is larger than `most` bytes.
    """
    size = stamp_of(path)[0]
    if size > most:
        raise OSError(errno.EFBIG, f"{size:,} bytes, more than any image of the allowed size", str(path))
    return path.read_bytes()


def reason(error: BaseException) -> str:
    """What went wrong with a file, without its name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
