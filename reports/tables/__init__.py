"""The tables of a report: names, and the functions frame -> tables behind them.

Each function is pure and returns any number of tables (`reports.tables.table.Table`), which say themselves in
which section they stand; a further table is one function and one line here. Packages may add theirs through
the entry-point group `ladder.tables`.
"""

from collections.abc import Callable, Set
from typing import Any

from harness.errors import DataError, HarnessError
from harness.registry import Registry
from reports.frame.load import Frame
from reports.frame.protocols import apart
from reports.tables.table import Table

TABLES: Registry[Callable[[Frame], Any]] = Registry(
    "table",
    {
        "moved": "reports.tables.moved:moved",
        "leaderboard": "reports.tables.leaderboard:leaderboard",
        "overview": "reports.tables.accuracy:overview",
        "main": "reports.tables.accuracy:main",
        "aufc": "reports.tables.aufc:aufc",
        "further": "reports.tables.accuracy:further",
        "conditions": "reports.tables.accuracy:conditions",
        "significance": "reports.tables.significance:significance",
        "intervals": "reports.tables.significance:intervals",
        "coverage": "reports.tables.coverage:coverage",
        "failures": "reports.tables.coverage:failures",
        "cost": "reports.tables.cost:cost",
        "published": "reports.tables.published:published",
        "provenance": "reports.tables.provenance:provenance",
    },
    group="ladder.tables",
    of=Callable,
)


# of trials of one protocol: what two have must not share a cell
APART = frozenset({"overview", "main", "aufc", "further", "conditions", "significance", "intervals"})


def make_tables(frame: Frame, taken: Set[str] = frozenset()) -> tuple[list[Table], list[str]]:
    """Every registered table in order, and sentences on those of packages that could not be made.

    Args:
        frame: what they are made from.
        taken: keys of further tables of the report.
    """
    frames = apart(frame)
    tables = [
        table
        for name in TABLES.own
        for one in (frames if name in APART else [frame])
        for table in TABLES.load(name)(one)
    ]
    notes = []
    for name in sorted(TABLES.external):
        try:
            tables += _external(name, frame, taken | {table.key for table in tables})
        except Exception as error:  # noqa: BLE001 - what others add must not cost the report, whatever it does
            said = error if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            notes.append(f"No table {name!r} ({TABLES.external[name].value}): {' '.join(str(said).split())}")
    return tables, notes


def _external(name: str, frame: Frame, taken: Set[str]) -> list[Table]:
    """What a package's function gives: one table or any number of them."""
    made = TABLES.load(name)(frame)
    tables = [made] if isinstance(made, Table) else list(made)
    if wrong := [table for table in tables if not isinstance(table, Table)]:
        raise DataError(f"it gives a {type(wrong[0]).__name__}, not a reports.tables.table.Table")
    keys = [table.key for table in tables]
    if twice := [key for i, key in enumerate(keys) if key in taken or key in keys[:i]]:
        raise DataError(f"there is a table {twice[0]!r} already; give it another key")
    return tables
