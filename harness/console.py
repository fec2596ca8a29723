"""How commands print and end: for people on a terminal, for grep elsewhere, and to whoever stops reading."""

import codecs
import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Never, final

from rich.console import Console, RenderableType
from rich.text import Text

from harness.errors import HarnessError

WIDTH = 160  # columns of a table where the output is no terminal; lines are not wrapped there
ASCII = {"→": "->", "×": "x", "–": "-", "…": "..."}  # what Ladder prints beyond it


def console() -> Console:
    """The console of standard output."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def show(parts: Iterable[RenderableType]) -> None:
    """Print tables and lines one below the other."""
    out = console()
    for part in parts:
        # a line that is cut in two is two for grep
        out.print(part, soft_wrap=isinstance(part, Text) and not out.is_terminal)


def leave(main: Callable[[], int], *, works: bool = False) -> Never:
    """Run a command line and exit with its code: 2 with one message for wrong input, 130 if interrupted.

    Standard output that nobody reads to its end (`| head`) or that is closed is no failure. A full disk
    below it is one of a command that only prints: code 1.

    Args:
        main: returns the exit code.
        works: the command does more than print; its code stays its own whatever becomes of what it prints.
    """
    out = open_streams()
    code = code_of(main)
    out.flush()
    if out.error and not isinstance(out.error, BrokenPipeError):
        print(f"error: standard output cannot be written ({out.error.strerror})", file=sys.stderr)
        code = code if works else code or 1
    sys.exit(code)


def code_of(main: Callable[[], int]) -> int:
    """The exit code of a command line; a refusal is one message, and 2."""
    try:
        return main()
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:  # a disk that is full, a folder that is closed: the file says enough
        what = f"{error.filename}: " if error.filename else ""
        print(f"error: {what}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 2


@final
class Outlet:
    """A stream that takes what it is given whether or not it can pass it on.

    Attributes:
        error: what came of the first write that failed; everything later goes nowhere.
    """

    def __init__(self, stream: Any):
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write text, or forget it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._forget(error)
            return len(text)

    def flush(self) -> None:
        """Pass on what was written so far."""
        try:
            self._stream.flush()
        except OSError as error:
            self._forget(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _forget(self, error: OSError) -> None:
        self.error = self.error or error
        # what is still in buffers would fail again, and loudly, at the exit
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def open_streams() -> Outlet:
    """Make standard output and error fit for everything that is printed; the former is returned."""
    _occupy()
    sys.stdout, sys.stderr = _outlet(sys.stdout), _outlet(sys.stderr)
    return sys.stdout  # pyright: ignore[reportReturnType]


def _occupy() -> None:
    """Nothing else may get the numbers of closed standard streams: child processes would write into it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _outlet(stream: Any) -> Any:
    stream = stream if stream is not None else open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if hasattr(stream, "reconfigure"):
        codecs.register_error("ladder", _spelled)
        stream.reconfigure(errors="ladder")
    return Outlet(stream)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that the encoding of a stream lacks, or that are none (in file names)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(ASCII.get(c) or _code(c) for c in text), error.end


def _code(character: str) -> str:
    r"""A byte of a file name as `\xff`, anything else as JSON escapes it: what is printed may be JSON."""
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return json.dumps(character)[1:-1]
