"""What a published number is worth: protocol, paper and version, selection on test, and where it was read.

Said once per table (`tables.csv`), per source (`sources.csv`) and per method in a source (`methods.csv`, "*"
for the others in it); joined here, so that no number is without an answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TypeVar, final

from harness.errors import DataError
from reports.papers.ledger import ABSENT, Key, printed_tables, rows

W = TypeVar("W", bound=StrEnum)
OTHERS = "*"  # in methods.csv: every method of the source that has no line of its own


class Selection(StrEnum):
    """Whether something was chosen by results on test images: an epoch, a threshold, a setting."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Seen(StrEnum):
    """In what a number was read."""

    PAPER = "paper"
    REPOSITORY = "repository"  # of the authors, or of whoever measured it
    SECOND_HAND = "second-hand"


@final
@dataclass(frozen=True)
class Origin:
    """Where a published number comes from.

    Attributes:
        dataset: by its name here.
        protocol: under which it was made, a key of `protocols`.
        paper, version, venue, year: of the source in which it stands.
        selection: whether something was chosen on test.
        evidence: by what that was seen, file and line, or why it is not known.
        seen: in what it was read.
        where: that place.
    """

    dataset: str
    protocol: str
    paper: str
    version: str
    venue: str
    year: int
    selection: Selection
    evidence: str
    seen: Seen
    where: str

    @property
    def marks(self) -> tuple[str, ...]:
        """What has to be said of the number wherever it stands."""
        chosen = {
            Selection.YES: "selected on test results",
            Selection.UNKNOWN: "selection on test results: unknown",
        }
        second = ("seen second-hand",) if self.seen is Seen.SECOND_HAND else ()
        return (*((chosen[self.selection],) if self.selection in chosen else ()), *second)


@final
@dataclass(frozen=True)
class _Said:
    protocol: str
    selection: Selection
    evidence: str


def origin(key: Key) -> Origin:
    """Where a number of the ledger comes from.

    Raises:
        DataError: its table, source or method has no line, or one with a word that means nothing.
    """
    table = printed_tables()[key.source, key.table]
    paper, version, venue, year = _sources()[key.source]
    said = _method(key)
    protocol = table.protocol if said.protocol == ABSENT else said.protocol
    if protocol not in protocols():
        raise DataError(f"published: {key.source} {key.table}: protocol {protocol!r} is not in protocols.csv")
    worth = (said.selection, said.evidence, _word(Seen, table.seen), table.where)
    return Origin(table.dataset, protocol, paper, version, venue, int(year), *worth)


@cache
def protocols() -> Mapping[str, str]:
    """Protocol -> what it is, in a sentence or two."""
    return {name: summary for name, _, summary in rows("protocols.csv")}


@cache
def protocol_titles() -> Mapping[str, str]:
    """Protocol -> what people call it: the paper that it is of."""
    return {name: title for name, title, _ in rows("protocols.csv")}


def _method(key: Key) -> _Said:
    said = _methods()
    found = said.get((key.source, key.method)) or said.get((key.source, OTHERS))
    if found is None:
        raise DataError(f"published: methods.csv says nothing of {key.method} in {key.source}")
    return found


@cache
def _sources() -> Mapping[str, tuple[str, ...]]:
    return {source: tuple(rest) for source, *rest in rows("sources.csv")}


@cache
def _methods() -> Mapping[tuple[str, str], _Said]:
    return {(s, m): _Said(p, _word(Selection, w), e) for s, m, p, w, e in rows("methods.csv")}


def _word(kind: type[W], word: str) -> W:
    try:
        return kind(word)
    except ValueError:
        raise DataError(f"published: {word!r} is none of {', '.join(kind)}") from None
