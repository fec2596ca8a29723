"""CSV: one file per table, full precision, fractions; a statistic is four columns."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from reports.report import Report
from reports.table import Cell, Column, Kind, Row, Table


def files(report: Report) -> dict[str, str]:
    """Path -> text of every table."""
    return {f"csv/{table.key}.csv": render(table) for table in report.tables}


def render(table: Table) -> str:
    """One table: `group`, the row's name, then per statistic its mean, `_std`, `_n`, `_planned`, `_marks`."""
    grouped = any(group.label for group in table.groups)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = [name for column in table.columns for name in _names(column)]
    writer.writerow([*(["group"] if grouped else []), table.stub.lower(), *head])
    for group in table.groups:
        for row in group.rows:
            writer.writerow([*([group.label] if grouped else []), row.label, *_values(table, row)])
    return out.getvalue()


def _names(column: Column) -> Iterator[str]:
    yield column.key
    if column.kind is Kind.STATISTIC:
        yield from (f"{column.key}_{part}" for part in ("std", "n", "planned", "marks"))


def _values(table: Table, row: Row) -> Iterator[Any]:
    for column, cell in zip(table.columns, row.cells, strict=True):
        yield "" if cell.value is None else cell.value
        if column.kind is Kind.STATISTIC:
            yield from _statistic(cell)


def _statistic(cell: Cell) -> tuple[Any, ...]:
    return tuple("" if v is None else v for v in (cell.std, cell.n, cell.planned, "; ".join(cell.marks)))
