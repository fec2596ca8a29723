"""LaTeX with booktabs: one file per table for `input`, and one document that compiles as it is."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from reports.report import Report
from reports.tables.table import Cell, Column, Group, Kind, Row, Table

ROWS = 30  # of one page; a longer table goes on in a second one
COLUMNS = 18  # of one page; a wider table goes on in a second one, headings kept together

_PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,landscape,margin=18mm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\setlength{\parindent}{0pt}
\begin{document}
"""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "Δ": r"$\Delta$",
    "“": "``",
    "”": "''",
    "’": "'",
    "−": r"$-$",
    "σ": r"$\sigma$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "→": r"$\to$",
    "°": r"$^\circ$",
}


def files(report: Report) -> dict[str, str]:
    """Path -> text: every table, and the document around them."""
    tables = {f"tex/{table.key}.tex": render(table) for table in report.tables}
    return {**tables, "tex/report.tex": document(report)}


def document(report: Report) -> str:
    """A document that shows the tables beside it."""
    lines = [_PREAMBLE, rf"\section*{{{escaped(report.title)}}}", escaped(report.state.headline)]
    lines += [rf"\par {escaped(note)}" for note in report.notes]
    for section in report.sections:
        lines += ["", rf"\subsection*{{{escaped(section.title)}}}"]
        lines += [rf"\input{{{table.key}}}" for table in section.tables] or [escaped(section.empty)]
        lines += [r"\clearpage"]
    return "\n".join([*lines, r"\end{document}", ""])


def render(table: Table) -> str:
    """One table as floats of at most `ROWS` rows and, where headings allow, `COLUMNS` columns."""
    floats = [(part, page) for part in _parts(table) for page in _pages(part.groups)]
    return "\n".join(_float(part, page, i, len(floats)) for i, (part, page) in enumerate(floats))


def _parts(table: Table) -> Iterator[Table]:
    """A wide table cut between groups of columns."""
    first = last = 0
    for width in _widths(table):
        if last > first and last + width - first > COLUMNS:
            yield _columns(table, slice(first, last))
            first = last
        last += width
    yield _columns(table, slice(first, last))


def _widths(table: Table) -> Iterator[int]:
    """Of what stays together: columns with a common heading, or a single one."""
    for name, width in table.spans or [("", len(table.columns))]:
        yield from [width] if name else [1] * width


def _columns(table: Table, some: slice) -> Table:
    groups = tuple(
        replace(group, rows=tuple(replace(row, cells=row.cells[some]) for row in group.rows))
        for group in table.groups
    )
    return replace(table, columns=table.columns[some], groups=groups)


def _pages(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Groups in pages; a group that is too long for one is cut."""
    page: list[Group] = []
    for group in (piece for whole in groups for piece in _pieces(whole)):
        if page and sum(len(g.rows) + 1 for g in page) + len(group.rows) > ROWS:
            yield page
            page = []
        page.append(group)
    yield page


def _pieces(group: Group) -> Iterator[Group]:
    for start in range(0, max(1, len(group.rows)), ROWS):
        yield Group(group.label, group.rows[start : start + ROWS])


def _float(table: Table, groups: Sequence[Group], i: int, pages: int) -> str:
    part = f" ({i + 1} of {pages})" if pages > 1 else ""
    caption = f"{escaped(table.title)}{part}. {escaped(table.caption)}{_legend(table)}"
    lines = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{caption}}}"]
    lines += [rf"\label{{tab:{table.key}}}"] if i == 0 else []
    return "\n".join([*lines, *_fitted(table, groups), *_below(table), r"\end{table}", ""])


def _legend(table: Table) -> str:
    return r" Best \textbf{bold}, second \underline{underlined}." if table.ranked else ""


def _fitted(table: Table, groups: Sequence[Group]) -> Iterator[str]:
    """The tabular, shrunk if it is wider than the text."""
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{@{{}}l{''.join(map(_alignment, table.columns))}@{{}}}}"
    yield r"\toprule"
    yield from _head(table)
    width = len(table.columns) + 1
    for group in groups:
        yield r"\midrule"
        if group.label:
            yield rf"\multicolumn{{{width}}}{{@{{}}l}}{{\textit{{{escaped(group.label)}}}}} \\"
        yield from (_line(table, row) for row in group.rows)
    yield r"\bottomrule"
    yield r"\end{tabular}}"


def _alignment(column: Column) -> str:
    wraps = column.key in ("message", "value", "example")
    return r"p{0.42\linewidth}" if wraps else "l" if column.kind is Kind.TEXT else "r"


def _head(table: Table) -> Iterator[str]:
    if table.spans:
        yield " & ".join(["", *(_span(name, width) for name, width in table.spans)]) + r" \\"
        yield " ".join(_rules(table.spans))
    yield " & ".join(escaped(word) for word in (table.stub, *(c.label for c in table.columns))) + r" \\"


def _span(name: str, width: int) -> str:
    return rf"\multicolumn{{{width}}}{{c}}{{{escaped(name)}}}" if name else ""


def _rules(spans: Iterable[tuple[str, int]]) -> Iterator[str]:
    at = 2
    for name, width in spans:
        if name:
            yield rf"\cmidrule(lr){{{at}-{at + width - 1}}}"
        at += width


def _line(table: Table, row: Row) -> str:
    cells = (_cell(table, column, cell) for column, cell in zip(table.columns, row.cells, strict=True))
    return " & ".join([escaped(row.label), *cells]) + r" \\"


def _cell(table: Table, column: Column, cell: Cell) -> str:
    printed = _breakable(cell.text) if column.kind is Kind.TEXT else escaped(cell.text)
    printed = {1: rf"\textbf{{{printed}}}", 2: rf"\underline{{{printed}}}"}.get(cell.rank, printed)
    printed = rf"\textit{{{printed}}}" if column.kind is Kind.PUBLISHED and printed else printed
    spread = rf" {{\scriptsize$\pm$\,{cell.spread}}}" if cell.spread else ""
    share = rf" {{\scriptsize({cell.share})}}" if cell.share and printed else cell.share
    letters = table.letters(cell)
    return printed + spread + share + (rf"\textsuperscript{{{letters}}}" if letters else "")


def _below(table: Table) -> Iterator[str]:
    lines = [rf"\textsuperscript{{{letter}}}\,{escaped(mark)}" for mark, letter in table.footnotes.items()]
    lines += map(escaped, table.notes)
    if lines:
        yield r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize"
        yield " \\\\\n".join(lines)
        yield r"\end{minipage}"


def escaped(words: str) -> str:
    """Text in which nothing is a command, in characters that any LaTeX knows."""
    return "".join(_character(c) for c in " ".join(words.split()))


def _character(c: str) -> str:
    if c in _ESCAPES or (c.isascii() and c.isprintable()):
        return _ESCAPES.get(c, c)
    plain = unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode() if c.isprintable() else ""
    return "".join(_ESCAPES.get(p, p) for p in plain) or f"(U+{ord(c):04X})"


def _breakable(words: str) -> str:
    """Escaped text that may be broken inside paths and long names."""
    signs = " ".join(words.split())
    return "".join(_character(c) + (r"\allowbreak{}" if c in "/_.=,:-" else "") for c in signs)
