"""What a page of a site shows, before it is HTML: headings, cells, addresses."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from reports.site.digest import Digest
from reports.site.gathering import Gathered

SUBSET = {"all": "pooled"}


@final
@dataclass(frozen=True)
class Head:
    """A column: its heading, whether it holds words, and whether lower numbers are better."""

    name: str
    text: bool = False
    lower: bool = False


@final
@dataclass(frozen=True)
class Shown:
    """A cell.

    Attributes:
        text: what it says.
        to: address below the site that it leads to; "" for none.
        more: said less loudly.
        badges: words behind it.
        long: may be broken inside names.
    """

    text: str
    to: str = ""
    more: str = ""
    badges: tuple[str, ...] = ()
    long: bool = False


@final
@dataclass
class Site:
    """Everything that the pages are made from.

    Attributes:
        runs: that could be read, in the order in which they were given.
        gathered: leaderboards by protocol and data set.
        broken: path of a run that cannot be read -> why.
        changes: builds with changes, newest first.
        trials: different planned trials.
        reports: run -> address of its report below the site, and whether that is older than its results.
        watched: seconds after which pages look for newer ones; 0 for never.
    """

    runs: Sequence[Digest]
    gathered: Sequence[Gathered]
    broken: Mapping[str, str]
    changes: Sequence[Any]
    trials: int
    reports: Mapping[str, tuple[str, bool]]
    watched: int = 0

    @property
    def missing(self) -> int:
        """Planned trials that have not ended, of all runs."""
        return sum(run.planned - run.ended for run in self.runs)


def address(folder: str, *names: str) -> str:
    """A page for something of any name: readable, and different for different names."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:6]
    words = re.sub(r"[^a-z0-9]+", "-", " ".join(names).lower()).strip("-")[:60].strip("-")
    return f"{folder}/{words}-{digest}.html".replace("/-", "/")


def board_page(gathered: Gathered, measure: str) -> str:
    """The leaderboards of one measure."""
    return address("boards", gathered.protocol, gathered.dataset, measure)


def method_page(method: str) -> str:
    """One method."""
    return address("methods", method)


def run_page(run: Digest) -> str:
    """One run; two of the same name have pages of their own."""
    return address("runs", run.name, run.path)


def subset_title(subset: str) -> str:
    """A subset as switches name it."""
    return SUBSET.get(subset, subset)


def number(value: float | None, digits: int = 3) -> str:
    """A measurement; nothing where there is none."""
    return "" if value is None else f"{value:.{digits}g}"


def counted(n: int, word: str) -> str:
    """A number of things.

    >>> counted(1, "run"), counted(2000, "run")
    ('1 run', '2,000 runs')
    """
    return f"{n:,} {word}" + ("" if n == 1 else "s")
