"""One self-contained page: no network, light and dark, for a phone, a keyboard and no script, too."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from reports.page.images import METHODS
from reports.page.parts import file_of, in_parts, part
from reports.pages.subpage import Pair, SubPage
from reports.render.policy import policy
from reports.report import Report, Section
from reports.tables.table import Cell, Column, Kind, Table

PAGE = "report.html"
ONE_FILE = 3_000_000  # characters; a page that is larger comes in parts
# In this order: the last one begins.
SCRIPTS = ("basics.js", "parts.js", "page.js", "charts.js", "boards.js", "begin.js")


def files(report: Report) -> dict[str, str]:
    """The page, in one file; a large one with parts beside it that it reads when they are asked for."""
    page, beside = render(report), {sub.file: subpage(report, sub) for sub in report.subpages}
    if len(page) <= ONE_FILE or not report.page:
        return {**beside, PAGE: page}
    data, parts = in_parts(report.page)
    later: dict[str, str] = {}
    for table in (table for section in report.sections if section.folded for table in section.tables):
        key, text = part("table", _body(table))
        later[table.key], parts[file_of(key)] = key, text
    return {
        **beside,
        **parts,
        PAGE: render(replace(report, page=data), later),
    }  # last: it asks for the others


def render(report: Report, later: Mapping[str, str] | None = None) -> str:
    """The page.

    Args:
        report: what it shows.
        later: key of a table -> the part of the page that it is in.
    """
    page = environment().get_template("page.html.j2")
    style = texts(
        "page.css",
        "explore.css" * bool(report.page),
        "leaderboard.css" * bool(report.headline),
        "comparison.css" * bool(report.headline),
        "pictures.css" * bool(report.pictures.panels),
    )
    script = texts(*SCRIPTS) if report.page else Markup("")
    return page.render(
        report=report,
        state=report.state,
        Kind=Kind,
        style=style,
        script=script,
        policy=policy(style, script),
        image_methods=METHODS,
        later=later or {},
    )


def subpage(report: Report, sub: SubPage) -> str:
    """A page of a method or a category; it needs no script."""
    style = texts("page.css", "leaderboard.css", "comparison.css", "pictures.css", "subpage.css")
    others = [
        (kind, [(s.file, s.title) for s in report.subpages if s.file.startswith(folder)])
        for kind, folder in (("Methods", "methods/"), ("Categories", "categories/"))
    ]
    section, template = Section("", "", (), ""), environment().get_template("subpage.html.j2")
    known = {"report": report, "state": report.state, "sub": sub, "Kind": Kind, "later": {}}
    return template.render(known, section=section, others=others, style=style, policy=policy(style))


def lowest(pairs: Sequence[Pair]) -> int:
    """Where the axes of published numbers and ours begin, in percent."""
    return min(90, 10 * math.floor(min(min(p.published, p.ours) for p in pairs) / 10))


def _body(table: Table) -> str:
    """A table alone."""
    template = environment().get_template("table.html.j2")
    module = template.make_module({"Kind": Kind, "later": {}})
    return str(module.body(table))  # pyright: ignore[reportAttributeAccessIssue] - a macro


def texts(*names: str, package: str = "") -> Markup:
    """Templates that are files of a browser, one after the other: of a package, else of this one."""
    found = environment(package) if package else environment()
    loader = found.loader or PackageLoader("reports.render")
    return Markup("\n".join(loader.get_source(found, name)[0] for name in names if name))


@cache  # its templates are compiled once
def environment(*packages: str) -> Environment:
    """Where templates of these packages, and of this one, are found; they share filters and macros."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, "reports.render")]),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (breakable, settings, heading, classes, lower, embedded, lowest):
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
