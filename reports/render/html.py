"""One self-contained page: no network, light and dark, for a phone, a keyboard and no script, too."""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from reports.page.images import METHODS
from reports.render.policy import policy
from reports.report import Report
from reports.tables.table import Cell, Column, Kind, Table


def render(report: Report) -> str:
    """The page."""
    page = _environment().get_template("page.html.j2")
    style = _texts(
        "page.css", "explore.css" * bool(report.page), "pictures.css" * bool(report.pictures.panels)
    )
    script = _texts("page.js" * bool(report.page))
    return page.render(
        report=report,
        state=report.state,
        Kind=Kind,
        style=style,
        script=script,
        policy=policy(style, script),
        image_methods=METHODS,
    )


def _texts(*names: str) -> Markup:
    """Templates that are files of a browser, one after the other; "" for none."""
    folder = files("reports.render") / "templates"
    return Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in names if name))


@cache  # its templates are compiled once
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.render"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (breakable, settings, heading, classes, lower, embedded):
        environment.filters[function.__name__] = function
    environment.tests |= {"spread": has_spread}
    return environment


def embedded(data: Mapping[str, Any]) -> Markup:
    """JSON that stays inside its script element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def breakable(words: str) -> Markup:
    """Escaped text that may be broken inside paths and long names."""
    pieces = re.split(r"(?<=[/_,])", words)
    return Markup("<wbr>").join(escape(piece) for piece in pieces)


def settings(label: str) -> Markup:
    """A method's name with what its settings differ in on a line of its own: `name[k=3], 4-shot`."""
    name, opening, rest = label.partition("[")
    inside, _, after = rest.rpartition("]")
    if not opening:
        return breakable(label)
    return breakable(name + after) + Markup("<small>") + breakable(inside) + Markup("</small>")


def heading(column: Column) -> str:
    """What the style sheet needs to know of a column."""
    named = column.kind in (Kind.NUMBER, Kind.TEXT) or column.key == "average"
    return f"{column.kind} k-{column.key}" if named else str(column.kind)


def lower(column: Column) -> Markup:
    """Tells the script that the best of a column is its lowest number."""
    return Markup(" data-lower" if column.kind is Kind.STATISTIC and column.higher_is_better is False else "")


def classes(cell: Cell, column: Column) -> str:
    """What the style sheet needs to know of a cell."""
    found = [heading(column)]
    found += ["zero" if cell.value in (0, None) and column.kind is not Kind.STATISTIC else ""]
    found += ["word" if column.kind is Kind.STATISTIC and cell.value is None else ""]
    return " ".join([*filter(None, found), *([("", "best", "second")[cell.rank]] if cell.rank else [])])


def has_spread(table: Table) -> bool:
    """Some number of the table has a standard deviation, so that room is kept for it in all of them."""
    return any(c.spread for group in table.groups for row in group.rows for c in row.cells)
