"""Best in bold, second underlined: per column and group of rows, among numbers that may be compared."""

from collections.abc import Sequence
from dataclasses import replace

from reports.tables.table import Cell, Kind, Row, Table

MIXED = "Where only some numbers of a column carry a footnote, those do not compete for best and second."


def with_ranks(table: Table) -> Table:
    """The table with the best and second number of each column marked, group by group.

    Only complete numbers compete, as printed: equal ones are both best, and then there is no second. Numbers
    with marks compete if all carry the same, else only those without. Nobody wins alone, and nobody in a
    column of which it is not known whether higher or lower is better.
    """
    ranked = replace(table, groups=tuple(replace(g, rows=_ranked(table, g.rows)) for g in table.groups))
    mixed = any(_mixed(_column(group.rows, i)) for group in table.groups for i in _statistics(table))
    return replace(ranked, notes=(*table.notes, MIXED)) if mixed else ranked


def _ranked(table: Table, rows: Sequence[Row]) -> tuple[Row, ...]:
    columns = [_column(rows, i) for i in range(len(table.columns))]
    for i in _statistics(table):
        ranks = _ranks(columns[i], table.columns[i].higher_is_better)
        columns[i] = [replace(cell, rank=rank) for cell, rank in zip(columns[i], ranks, strict=True)]
    return tuple(replace(row, cells=tuple(column[r] for column in columns)) for r, row in enumerate(rows))


def _statistics(table: Table) -> list[int]:
    return [i for i, column in enumerate(table.columns) if column.kind is Kind.STATISTIC]


def _column(rows: Sequence[Row], i: int) -> list[Cell]:
    return [row.cells[i] for row in rows]


def _mixed(cells: Sequence[Cell]) -> bool:
    return len({frozenset(c.marks) for c in cells if c.complete}) > 1


def _ranks(cells: Sequence[Cell], higher_is_better: bool | None) -> list[int]:
    mixed = _mixed(cells)
    competes = [c.complete and not (mixed and c.marks) for c in cells]
    printed = [float(c.text) for c, does in zip(cells, competes, strict=True) if does]
    if len(printed) < 2 or higher_is_better is None:
        return [0] * len(cells)
    first, second, *_ = sorted(printed, reverse=higher_is_better)
    places = {first: 1} if first == second else {second: 2, first: 1}
    return [places.get(float(c.text), 0) if does else 0 for c, does in zip(cells, competes, strict=True)]
