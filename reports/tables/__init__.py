"""The tables of a report: names, and the functions frame -> tables behind them.

Each function is pure and returns any number of tables; a further table is one function and one line here.
"""

from harness.registry import Registry

TABLES = Registry(
    "table",
    {
        "overview": "reports.tables.accuracy:overview",
        "auroc": "reports.tables.accuracy:auroc",
        "further": "reports.tables.accuracy:further",
        "significance": "reports.tables.significance:significance",
        "intervals": "reports.tables.significance:intervals",
        "coverage": "reports.tables.coverage:coverage",
        "failures": "reports.tables.coverage:failures",
        "cost": "reports.tables.cost:cost",
        "provenance": "reports.tables.provenance:provenance",
    },
    group="ladder.tables",
)
