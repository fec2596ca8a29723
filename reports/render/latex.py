"""LaTeX with booktabs: one file per table for `input`, and one document that compiles as it is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from reports.render import macros
from reports.render.bibtex import bibliography, listed
from reports.render.escapes import breakable, escaped
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


def files(report: Report) -> dict[str, str]:
    """Path -> text: every table, the document around them, its numbers as macros, and its references."""
    tables = {f"tex/{table.key}.tex": render(table) for table in report.tables}
    beside = {}
    if report.numbers:
        beside["tex/cells.tex"] = macros.render(report.numbers, report.title, report.state.headline)
    if report.references:
        beside["tex/results.bib"] = bibliography(report.references)
    return {**tables, **beside, "tex/report.tex": document(report)}


def document(report: Report) -> str:
    """A document that shows the tables beside it."""
    lines = [_PREAMBLE, rf"\section*{{{escaped(report.title)}}}", escaped(report.state.headline)]
    lines += [rf"\par {escaped(note)}" for note in report.notes]
    lines += _example(report)
    for section in report.sections:
        lines += ["", rf"\subsection*{{{escaped(section.title)}}}"]
        lines += [rf"\input{{{table.key}}}" for table in section.tables] or [escaped(section.empty)]
        lines += [r"\clearpage"]
    return "\n".join([*lines, *_figures(report.drawn), *listed(report.references), r"\end{document}", ""])


def _example(report: Report) -> Iterator[str]:
    """How a text takes a number, with one of them."""
    key = next((key for key, cell in report.numbers.items() if cell.complete), None)
    if key is None:
        return
    yield r"\input{cells}"
    yield rf"\par In a text, after \verb|\input{{cells}}|: \verb|\ladderpm{{{key}}}| is \ladderpm{{{key}}}."


def _figures(files: Iterable[str]) -> Iterator[str]:
    """Figures, as PDF files beside the folder of the document."""
    for file in files:
        yield r"\begin{figure}[htbp]"
        yield r"\centering"
        yield rf"\includegraphics[width=\linewidth,height=0.8\textheight,keepaspectratio]{{{file}}}"
        yield r"\end{figure}"
    yield from ([r"\clearpage"] if files else [])


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
    printed = breakable(cell.text) if column.kind is Kind.TEXT else escaped(cell.text)
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
