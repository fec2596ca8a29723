"""Markdown that reads well raw: aligned pipes, no HTML."""

from collections.abc import Iterable, Sequence

from reports.report import Report
from reports.tables.table import Cell, Column, Kind, Row, Table

_SUPERSCRIPT = str.maketrans("abcdefghijklmnoprstuvwxyz,", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ˒")


def render(report: Report) -> str:
    """The whole report."""
    last = f" · last result {report.state.last}" if report.state.last else ""
    parts = [f"# {report.title}", f"> {report.state.headline}{last}", *(f"> {n}" for n in report.notes)]
    for section in report.sections:
        parts.append(f"## {section.title}")
        for one in section.tables:
            parts += [f"### {one.title}"] if one.title != section.title else []
            parts.append(table(one))
        parts += [] if section.tables else [section.empty]
    return "\n\n".join(parts) + "\n"


def table(of: Table) -> str:
    """One table with its caption, notes and footnotes, without its title."""
    headings = [of.stub, *(c.heading for c in of.columns)]
    lines = [[_escaped(h) for h in headings]]
    for group in of.groups:
        if group.label:
            lines.append([f"**{_escaped(group.label)}**", *[""] * len(of.columns)])
        lines += [_line(of, row) for row in group.rows]
    left = [True, *(c.kind is Kind.TEXT for c in of.columns)]
    return "\n\n".join([_escaped(of.caption, "*_") + _legend(of), _piped(lines, left), *_below(of)])


def _line(of: Table, row: Row) -> list[str]:
    pairs = zip(of.columns, row.cells, strict=True)
    return [_escaped(row.label), *(_cell(of, column, cell) for column, cell in pairs)]


def _cell(of: Table, column: Column, cell: Cell) -> str:
    printed = _escaped(cell.text)
    printed = {1: f"**{printed}**", 2: f"_{printed}_"}.get(cell.rank, printed)
    spread = f" ± {cell.spread}" if cell.spread else ""
    if column.kind is Kind.PUBLISHED and printed:
        return f"_{printed}{spread}_" + of.letters(cell).translate(_SUPERSCRIPT)
    share = f" ({cell.share})" if cell.share and printed else cell.share
    return printed + spread + share + of.letters(cell).translate(_SUPERSCRIPT)


def _legend(of: Table) -> str:
    return " Best **bold**, second _underscored_." if of.ranked else ""


def _below(of: Table) -> Iterable[str]:
    lines = [f"{letter.translate(_SUPERSCRIPT)} {_escaped(mark)}" for mark, letter in of.footnotes.items()]
    lines += [_escaped(note) for note in of.notes]
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _piped(lines: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    forms = list(zip(widths, left, strict=True))
    rule = [":".ljust(w, "-") if is_left else ":".rjust(w, "-") for w, is_left in forms]
    padded = [
        [c.ljust(w) if is_left else c.rjust(w) for c, (w, is_left) in zip(line, forms, strict=True)]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def _escaped(words: str, also: str = "*") -> str:
    """Text whose pipes, line ends and asterisks mean nothing to Markdown; underscores in words never do."""
    for sign in ("\\", "|", "<", *also):
        words = words.replace(sign, "\\" + sign)
    return " ".join(words.split())
