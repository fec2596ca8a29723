"""CSV: one file per table, full precision, fractions; a statistic is five columns.

Text that a spreadsheet would take for a formula has an apostrophe before it; numbers are numbers.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any

from reports.report import Report
from reports.tables.table import Column, Kind, Row, Table

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that is evaluated

_PARTS = {
    Kind.STATISTIC: ("std", "n", "planned", "marks"),
    Kind.PUBLISHED: ("std", "marks"),
    Kind.VERDICT: ("verdict", "reasons"),
}


def files(report: Report) -> dict[str, str]:
    """Path -> text of every table."""
    return {f"csv/{table.key}.csv": render(table) for table in report.tables}


def render(table: Table) -> str:
    """One table: `group`, the row's name, then the columns.

    A statistic is its mean, `_std`, `_n`, `_planned` and `_marks`; a published number has `_std` and
    `_marks` behind it, a difference `_verdict` and `_reasons`.
    """
    grouped = any(group.label for group in table.groups)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = [name for column in table.columns for name in _names(column)]
    writer.writerow(map(_inert, [*(["group"] if grouped else []), table.stub.lower(), *head]))
    for group in table.groups:
        for row in group.rows:
            cells = [*([group.label] if grouped else []), row.label, *_values(table, row)]
            writer.writerow(map(_inert, cells))
    return out.getvalue()


def _inert(value: Any) -> Any:
    """A cell that no spreadsheet evaluates: names in a run are whatever its author has called things."""
    if not isinstance(value, str) or _is_number(value):
        return value
    line = value.replace("\r", " ")  # which the csv module does not quote, and some take for a new row
    return f"'{line}" if value.startswith(FORMULA) or line.lstrip().startswith(FORMULA) else line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _names(column: Column) -> Iterator[str]:
    yield column.key
    yield from (f"{column.key}_{part}" for part in _PARTS.get(column.kind, ()))


def _values(table: Table, row: Row) -> Iterator[Any]:
    for column, cell in zip(table.columns, row.cells, strict=True):
        found = {**vars(cell), "marks": "; ".join(cell.marks), "reasons": "; ".join(cell.marks)}
        for part in ("value", *_PARTS.get(column.kind, ())):
            yield "" if found[part] is None else found[part]
