"""Ends in order: what a scheduler sends is heard as Ctrl-C is, and nobody's handlers are changed for good."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Never

TERMINATED = 143  # exit code of a command that was asked to end, as of a process that SIGTERM has killed
# SIGUSR1 is what Slurm sends ahead of its time limit (`--signal=B:USR1@120`); Windows has none.
ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]


@contextmanager
def ending() -> Iterator[None]:
    """Inside the block SIGTERM and SIGUSR1 raise SystemExit(143), so that whatever is open is closed."""
    with handlers_kept():
        if _possible():
            for number in ENDS:
                signal.signal(number, _end)
        yield


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Handlers are afterwards what they were, whatever the block installs (`ray.init` takes SIGTERM)."""
    before: dict[int, Any] = {n: signal.getsignal(n) for n in (*ENDS, signal.SIGINT)} if _possible() else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # one that was not installed from Python cannot be put back
                signal.signal(number, handler)


def code_kept(main: Callable[[], int]) -> int:
    """Run the main function of a process; what ends it later is not heard: its exit code is decided."""
    try:
        return main()
    finally:
        _deaf()


def _possible() -> bool:
    """Python lets the main thread alone install handlers."""
    return threading.current_thread() is threading.main_thread()


def _end(number: int, frame: FrameType | None) -> Never:
    del number, frame
    # the next one would break off the closing; Slurm's warning is followed by SIGTERM
    _deaf()
    raise SystemExit(TERMINATED)


def _deaf() -> None:
    for each in ENDS:
        signal.signal(each, _heard)


def _heard(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN: that one would be inherited by what is started yet."""
    del number, frame
