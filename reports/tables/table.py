"""What a table is, before it has a format: groups of rows of cells that know their number and its marks."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, final

UNDEFINED = "–"


class Kind(StrEnum):
    """What the cells of a column hold."""

    STATISTIC = "statistic"  # mean over seeds with its spread and number
    NUMBER = "number"
    PUBLISHED = "published"  # a number of a paper, as printed: never to be taken for one of ours
    VERDICT = "verdict"  # the difference of the two before it, with a word on what it is worth
    TEXT = "text"  # may be long: wrapped where the format allows


@final
@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        key: its name in CSV files.
        label: its heading.
        kind: what its cells hold.
        group: heading that it shares with its neighbours; "" for none.
    """

    key: str
    label: str
    kind: Kind = Kind.NUMBER
    group: str = ""

    @property
    def heading(self) -> str:
        """The heading where a format has one line for it."""
        return f"{self.group} / {self.label}" if self.group else self.label


@final
@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: what is printed: a rounded number, a word, `UNDEFINED`, or nothing.
        value: the number in full precision, or the whole text.
        spread: printed standard deviation, "" if there is none.
        std: standard deviation in full precision.
        n, planned: seeds in the number, and seeds that should be.
        rank: 1 best, 2 second, 0 neither.
        marks: what has to be said of the number ("demo weights").
        verdict: a word on what a difference is worth, for machines.
    """

    text: str = ""
    value: Any = None
    spread: str = ""
    std: float | None = None
    n: int | None = None
    planned: int | None = None
    rank: int = 0
    marks: tuple[str, ...] = ()
    verdict: str = ""

    @property
    def share(self) -> str:
        """`4/5` where seeds are missing and no word says why, else nothing."""
        explained = self.text and self.value is None
        return "" if explained or self.n == self.planned else f"{self.n}/{self.planned}"

    @property
    def complete(self) -> bool:
        """It has a number, and all seeds are in it."""
        return isinstance(self.value, float) and not self.share


@final
@dataclass(frozen=True)
class Row:
    """A row: its name, its cells, and a long text that may be unfolded."""

    label: str
    cells: tuple[Cell, ...]
    detail: str = ""


@final
@dataclass(frozen=True)
class Group:
    """Rows under a common heading; "" for none."""

    label: str
    rows: tuple[Row, ...]


@final
@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        key: short and unique, for file names and anchors.
        title: one line.
        caption: what is in it and how it was computed.
        stub: heading of the column of row names.
        columns: the other columns.
        groups: the rows.
        notes: sentences below it.
    """

    key: str
    title: str
    caption: str
    stub: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def footnotes(self) -> dict[str, str]:
        """Mark -> the letter that stands at every number that carries it, in order of appearance."""
        rows = (row for group in self.groups for row in group.rows)
        marks = dict.fromkeys(m for row in rows for cell in row.cells for m in cell.marks)
        return {mark: _letter(i) for i, mark in enumerate(marks)}

    def letters(self, cell: Cell) -> str:
        """The footnote letters of a cell: "", "a", "a,c"."""
        return ",".join(sorted(self.footnotes[mark] for mark in cell.marks))

    @property
    def spans(self) -> list[tuple[str, int]]:
        """Column groups and their widths, from left to right; empty if no column has a group."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and column.group and spans[-1][0] == column.group:
                spans[-1] = column.group, spans[-1][1] + 1
            else:
                spans.append((column.group, 1))
        return spans if any(name for name, _ in spans) else []

    @property
    def ranked(self) -> bool:
        """Some number is marked as best."""
        return any(c.rank for group in self.groups for row in group.rows for c in row.cells)


def _letter(i: int) -> str:
    return chr(ord("a") + i % 26) * (1 + i // 26)


def statistic(mean: float | None, std: float | None, n: int, planned: int, marks: Iterable[str] = ()) -> Cell:
    """A fraction in percent with one decimal, its standard deviation, and its seeds.

    Args:
        mean: fraction, None where undefined.
        std: fraction, None for a single seed.
        n: seeds in it.
        planned: seeds planned.
        marks: what has to be said of it.
    """
    if mean is None:
        return Cell(UNDEFINED, n=n, planned=n)
    spread = "" if std is None else f"{100 * std:.1f}"
    return Cell(f"{100 * mean:.1f}", float(mean), spread, std, n, planned, marks=tuple(marks))


def number(value: float | int | None, digits: int = 3) -> Cell:
    """A plain number: counts as they are, measurements with significant digits."""
    if value is None or value != value:
        return Cell(UNDEFINED)
    if isinstance(value, int):
        return Cell(f"{value:,}", value)
    return Cell(significant(value, digits), float(value))


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits and never an exponent.

    >>> significant(0.01234), significant(12.34), significant(12345.6)
    ('0.0123', '12.3', '12,346')
    """
    if value == 0:
        return "0"
    magnitude = len(f"{abs(value):.0f}") if abs(value) >= 1 else -_leading_zeros(abs(value))
    return f"{value:,.{max(0, digits - magnitude)}f}"


def _leading_zeros(value: float) -> int:
    """Zeros after the point of a number below 1; beyond 6 it prints as 0 anyway."""
    zeros = 0
    while value < 0.1 and zeros < 6:
        value, zeros = value * 10, zeros + 1
    return zeros


def text(value: str | None) -> Cell:
    """Words."""
    return Cell(value, value) if value else Cell(UNDEFINED)
