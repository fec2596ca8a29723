"""Best in bold, second underlined: per column and group of rows, among numbers that may be compared."""

from collections.abc import Sequence
from dataclasses import replace

from reports.table import Cell, Kind, Row, Table

MIXED = "Nothing is marked as best in a column whose numbers carry different footnotes."


def with_ranks(table: Table) -> Table:
    """The table with the best and second number of each column marked, group by group.

    Only complete numbers compete, as printed: equal ones are both best, and then there is no second. A
    column with a single competitor, or with competitors of differing marks, has no best.
    """
    ranked = replace(table, groups=tuple(replace(g, rows=_ranked(table, g.rows)) for g in table.groups))
    mixed = any(_mixed(_column(group.rows, i)) for group in table.groups for i in _statistics(table))
    return replace(ranked, notes=(*table.notes, MIXED)) if mixed else ranked


def _ranked(table: Table, rows: Sequence[Row]) -> tuple[Row, ...]:
    columns = {i: _ranks(_column(rows, i)) for i in _statistics(table)}
    return tuple(
        replace(
            row,
            cells=tuple(
                replace(cell, rank=columns[i][r]) if i in columns else cell for i, cell in enumerate(row.cells)
            ),
        )
        for r, row in enumerate(rows)
    )


def _statistics(table: Table) -> list[int]:
    return [i for i, column in enumerate(table.columns) if column.kind is Kind.STATISTIC]


def _column(rows: Sequence[Row], i: int) -> list[Cell]:
    return [row.cells[i] for row in rows]


def _mixed(cells: Sequence[Cell]) -> bool:
    return len({frozenset(c.marks) for c in cells if c.complete}) > 1


def _ranks(cells: Sequence[Cell]) -> list[int]:
    competing = [float(c.text) for c in cells if c.complete]
    if len(competing) < 2 or _mixed(cells):
        return [0] * len(cells)
    first, second, *_ = sorted(competing, reverse=True)
    places = {first: 1} if first == second else {second: 2, first: 1}
    return [places.get(float(c.text), 0) if c.complete else 0 for c in cells]
