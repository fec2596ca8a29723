"""What a table is, before it has a format: groups of rows of cells that know their number and its marks."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, final

from harness.errors import DataError
from harness.metrics.scale import Scale

UNDEFINED = "–"
MORE = "More"  # section of tables that name none


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
        higher_is_better: direction of statistics; None where it is not known, and none is marked as best.
    """

    key: str
    label: str
    kind: Kind = Kind.NUMBER
    group: str = ""
    higher_is_better: bool | None = True

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
        section: of the report: the key of one that there is (`reports.report.SECTIONS`), or the title of a
            new one, which tables that name the same share.

    Raises:
        DataError: its key cannot be part of a file name, or a row has not one cell per column.
    """

    key: str
    title: str
    caption: str
    stub: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = field(default=())
    section: str = MORE

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+", self.key):
            raise DataError(f"table {self.key!r}: a key is made of letters, digits, _ and -")
        for row in (row for group in self.groups for row in group.rows):
            if len(row.cells) != len(self.columns):
                has = f"{len(row.cells)} cells for {len(self.columns)} columns"
                raise DataError(f"table {self.key!r}: row {row.label!r} has {has}")

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

    @cached_property  # a renderer asks for every row
    def ranked(self) -> bool:
        """Some number is marked as best."""
        return any(c.rank for group in self.groups for row in group.rows for c in row.cells)


def _letter(i: int) -> str:
    return chr(ord("a") + i % 26) * (1 + i // 26)


PERCENTAGE = Scale("")


def statistic(
    mean: float | None,
    std: float | None,
    n: int,
    planned: int,
    marks: Iterable[str] = (),
    scale: Scale = PERCENTAGE,
) -> Cell:
    """A mean over seeds, its standard deviation, and its seeds.

    Args:
        mean: as metrics give it (mostly a fraction), None where undefined.
        std: of the same, None for a single seed.
        n: seeds in it.
        planned: seeds planned.
        marks: what has to be said of it.
        scale: how it is printed; by default a fraction in percent with one decimal.
    """
    if mean is None:
        return Cell(UNDEFINED, n=n, planned=n)
    spread = "" if std is None else scale.text(std)
    return Cell(scale.text(mean), float(mean), spread, std, n, planned, marks=tuple(marks))


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


def slug(*names: str) -> str:
    """Names as one word that can be the key of a table or column, and its file: "auroc_loco_4_shot"."""
    joined = "_".join(names).replace(".", "")
    return re.sub(r"[^A-Za-z0-9]+", "_", joined).strip("_").lower()


def text(value: str | None) -> Cell:
    """Words."""
    return Cell(value, value) if value else Cell(UNDEFINED)
