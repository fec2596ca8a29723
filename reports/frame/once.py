"""What is derived from a frame is derived once, however many tables ask for it."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from reports.frame.load import Frame

Made = TypeVar("Made")


def once(function: Callable[[Frame], Made]) -> Callable[[Frame], Made]:
    """A function of a frame that keeps what it gave while the frame lives; callers must not change it."""
    known: WeakKeyDictionary[Frame, Made] = WeakKeyDictionary()

    @wraps(function)
    def kept(frame: Frame) -> Made:
        if frame not in known:
            known[frame] = function(frame)
        return known[frame]

    return kept
