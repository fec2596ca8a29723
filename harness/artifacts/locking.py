"""The operating system's locks on open files; they die with their holder: a killed process blocks nobody."""

import errno
from contextlib import suppress
from typing import IO

try:
    import fcntl
except ImportError:  # a system without these locks
    fcntl = None


def try_file(file: IO[bytes]) -> bool | None:
    """Lock a file unless somebody else has; None where nobody can tell (no such system or file system)."""
    try:
        hold_file(file, wait=False)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def hold_file(file: IO[bytes], *, wait: bool = True, shared: bool = False) -> None:
    """Lock a file.

    Args:
        file: open; for writing, unless `shared` (network file systems insist).
        wait: until nobody else has it locked.
        shared: together with others who do the same.

    Raises:
        BlockingIOError: somebody else has, and `wait` is false.
        OSError: there are no such locks here.
    """
    if fcntl is None:
        raise OSError(errno.ENOLCK, "no locks on this system")
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(file, mode if wait else mode | fcntl.LOCK_NB)


def release_file(file: IO[bytes]) -> None:
    """Unlock a file: closing would not, where a forked child has inherited the descriptor."""
    if fcntl is not None:
        with suppress(OSError):  # it was none: there are no such locks here
            fcntl.flock(file, fcntl.LOCK_UN)
