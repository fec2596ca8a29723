"""Who drives a run: a note beside its lock, and whether that process is still there."""

import json
import os
import shlex
import socket
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

FILE = "driver.json"
LOCK = ".lock"


@final
@dataclass(frozen=True)
class Driver:
    """The process that wrote to a run last.

    Attributes:
        host, pid: where it runs or ran.
        command: the command line that started it, to be typed again.
        folder: the working directory of that command.
        started_at: ISO 8601, UTC.
    """

    host: str
    pid: int
    command: str = ""
    folder: str = ""
    started_at: str = ""

    def alive(self, run: Path) -> bool | None:
        """Whether it still holds the run; None if that cannot be known from here.

        The lock is only tried where the process may well be alive, hence never in the way of another
        driver that is about to start.
        """
        if self.host == socket.gethostname() and not _exists(self.pid):
            return False
        return _held(run / LOCK)


def this_process() -> dict[str, Any]:
    """The note of this process."""
    command = shlex.join(["python", *sys.orig_argv[1:]])
    now = datetime.now(UTC).isoformat()
    return asdict(Driver(socket.gethostname(), os.getpid(), command, str(Path.cwd()), now))


def read_driver(run: Path) -> Driver | None:
    """The note in a run directory; None if there is none, or none that can be read."""
    try:
        content = json.loads((run / FILE).read_text(encoding="utf-8"))
        known = {name: content[name] for name in Driver.__dataclass_fields__ if name in content}
        return Driver(**known)
    except (OSError, ValueError, TypeError):
        return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists and belongs to somebody else
        return True
    return True


def _held(lock: Path) -> bool | None:
    try:
        import fcntl
    except ImportError:  # a system without these locks
        return None
    try:
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return False
