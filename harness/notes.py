"""Notes: what happened on the way that a trial's row should tell, and that is no failure."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Note(UserWarning):
    """A sentence for the column `notes`; outside a trial, a warning like any other."""


def note(text: str) -> None:
    """Leave a note."""
    warnings.warn(text, Note, stacklevel=2)


@contextmanager
def noted() -> Iterator[list[str]]:
    """The notes that are left inside the block, in order; other warnings go where they would have gone."""
    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", Note)  # by default the same sentence is shown once per process
        usual = warnings.showwarning

        def take(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, Note):
                found.append(str(message))
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = take
        yield found
