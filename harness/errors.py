"""What can go wrong, as a tree with one root to catch.

HarnessError
├── ConfigError    the sweep file or the command line is wrong (all problems at once); exit 2
├── DataError      a data set, image, mask or results folder is wrong; exit 2, or a failed row inside a trial
│   ├── DamagedFile   a file of a run cannot be read, or is not what was written; exit 2, the rest is shown
│   └── NotAsPlanned  the images here are not those of the plan; on a cluster another node runs the trial
├── WeightsError   weights are missing, unreadable or of another architecture; exit 2 or a failed row
├── NeedNotMet     a method cannot run on this task; the trial becomes a `skipped` row with this reason
├── ResultsError   results cannot be written any more (a full disk); exit 1, what was finished is kept
├── HeadLost       the head of the cluster is gone; exit 1, what was finished is kept
└── RunLocked      another driver is working on the same run directory; exit 2
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class HarnessError(Exception):
    """Anything that Ladder refuses, in words meant for the person at the terminal."""


class ConfigError(HarnessError):
    """Everything wrong with a configuration, one line per problem."""

    def __init__(self, problems: str | Sequence[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self):
        return type(self), (self.problems,)


class DataError(HarnessError):
    """A data set, an image, a mask or a stored result is not what it should be.

    Attributes:
        problems: one sentence each, where the text lists several and perhaps not all.
    """

    def __init__(self, text: str = "", problems: Sequence[str] = ()):
        super().__init__(text)
        self.problems = list(problems) or [text]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.problems)


class DamagedFile(DataError):
    """A file of a run that cannot be read, or is not what was written.

    Attributes:
        path: the file.
        why: in words.
        lost: whether its content is gone; if not, it only cannot be read now (permissions, a dangling link).
    """

    def __init__(self, path: Path, why: str, lost: bool):
        self.path, self.why, self.lost = path, why, lost
        super().__init__(f"{path}: {why}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.why, self.lost)


def outermost(damage: Iterable[DamagedFile]) -> tuple[DamagedFile, ...]:
    """Each damage once, and none in a folder that cannot be read itself."""
    found = {str(error): error for error in damage}
    paths = {error.path for error in found.values()}
    return tuple(error for error in found.values() if error.path.parent not in paths)


class NotAsPlanned(DataError):
    """The data set here cannot be read, or is another one than the trial was planned with."""


class WeightsError(HarnessError):
    """Weights are missing, unreadable, or do not fit the architecture."""


class NeedNotMet(HarnessError):
    """The task lacks something that the method declares it needs."""


class ResultsError(HarnessError):
    """Results cannot be written any more; everything that was accepted before is kept."""


class HeadLost(HarnessError):
    """The cluster's head does not answer any more; everything that was accepted before is kept."""


class RunLocked(HarnessError):
    """Another driver holds the run directory."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A clause naming the closest allowed word, or nothing.

    >>> nearest("patchcor", ["patchcore", "psad"])
    " (did you mean 'patchcore'?)"
    """
    matches = get_close_matches(
        word[:100], list(allowed), n=1, cutoff=0.5
    )  # it takes a text's length squared
    return f" (did you mean {matches[0]!r}?)" if matches else ""
