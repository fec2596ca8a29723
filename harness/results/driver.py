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
MODULE, SCRIPT = "harness.sweep", "ladder"  # what starts a sweep


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

    @property
    def again(self) -> str:
        """The sweep command of this process, quoted anew; "" where the note holds no such command.

        The note is a file like any other: nothing of it is handed to a shell as it stands.
        """
        try:
            words = shlex.split(self.command)
        except ValueError:
            return ""
        for number, word in enumerate(words):
            if word == MODULE or Path(word).name == SCRIPT:
                rest = words[number + 1 :]
                return shlex.join(["python", "-m", MODULE, *rest]) if self.command.isprintable() else ""
        return ""

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
        return _of(json.loads((run / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _of(content: Any) -> Driver:
    """A note as a driver.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    if not isinstance(content, dict):
        raise TypeError("a note is an object")
    texts = [content.get(name, "") for name in ("command", "folder", "started_at")]
    host, pid = content["host"], content["pid"]
    if not all(isinstance(text, str) for text in (host, *texts)) or type(pid) is not int or pid < 1:
        raise TypeError("a note has a host, a process and texts")
    if texts[2] and datetime.fromisoformat(texts[2]).tzinfo is None:
        raise ValueError("times are UTC")
    return Driver(host, pid, *texts)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
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
