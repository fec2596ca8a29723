"""A reader of the LaTeX that reports write, stricter than LaTeX: what it does not know it refuses."""

import re
from collections.abc import Iterator
from pathlib import Path

_WORDS = """
documentclass usepackage setlength parindent begin end section subsection input clearpage par caption label
centering resizebox ifdim width linewidth textheight else fi toprule midrule bottomrule cmidrule multicolumn
textbf textit emph underline textsuperscript scriptsize footnotesize smallskip allowbreak texttt textbackslash
textasciitilde textasciicircum textless textgreater textbar dots pm times cdot le ge Delta sigma mu to circ
ss ae AE o O l L u r H v c includegraphics bibitem ladder ladderpm ladderstd laddern laddervalue
"""
COMMANDS = {*_WORDS.split(), *"\\{}_%&#$,`'^~=.\""}
ENVIRONMENTS = {"document", "table", "tabular", "minipage", "figure", "thebibliography"}
_VERB = re.compile(r"\\verb(.)(.*?)\1")
_COMMAND = re.compile(r"\\([A-Za-z@]+|.)", re.DOTALL)
_INPUT = re.compile(r"\\input\{([^}]*)\}")


class NotLatex(Exception):
    """What is wrong, in a sentence."""


def check(text: str, folder: Path | None = None) -> None:
    """Refuse a document, or a piece of one.

    Raises:
        NotLatex: braces, environments or `$` do not match, a command is unknown, a special sign stands where
            it means nothing, a row has not as many cells as its table, or a file that it wants is not there.
    """
    if not text.isascii():
        raise NotLatex(f"not plain ASCII: {next(c for c in text if not c.isascii())!r}")
    text = _VERB.sub("", text)
    for name in _COMMAND.findall(text):
        if name not in COMMANDS and name != "\n" and name != " ":
            raise NotLatex(f"unknown command \\{name}")
    _nested(text)
    _specials(text)
    for table in _tabulars(text):
        _rows(*table)
    for name in _INPUT.findall(text) if folder else ():
        if not (folder / f"{name}.tex").is_file():  # pyright: ignore[reportOptionalOperand]
            raise NotLatex(f"no file {name}.tex")


def _nested(text: str) -> None:
    """Braces and environments, each closed in the order in which they were opened."""
    open_: list[str] = []
    for found in re.finditer(r"\\(?:begin|end)\{(\w+)\}|\\.|[{}]", text, re.DOTALL):
        sign = found[0]
        if sign.startswith(r"\begin"):
            if found[1] not in ENVIRONMENTS:
                raise NotLatex(f"unknown environment {found[1]}")
            open_.append(found[1])
        elif sign.startswith(r"\end{"):
            _close(open_, found[1])
        elif sign == "{":
            open_.append("{")
        elif sign == "}":
            _close(open_, "{")
    if open_:
        raise NotLatex(f"{open_[-1]} is never closed")


def _close(open_: list[str], what: str) -> None:
    if not open_ or open_.pop() != what:
        raise NotLatex(f"{what} is closed where it is not open")


def _specials(text: str) -> None:
    """No bare special sign outside of math, tables and comments that end a line."""
    outside = re.sub(r"\\begin\{tabular\}.*?\\end\{tabular\}", "", text, flags=re.DOTALL)
    for name, piece in (("outside of tables", outside), ("in a table", text)):
        plain = re.sub(r"\\.", "", piece, flags=re.DOTALL)
        plain = re.sub(r"%$", "", plain, flags=re.MULTILINE)
        parts = re.split(r"\$", re.sub(r"\{(?:tab:|\.\./)[^}]*\}|\\input\{[^}]*\}|input\{[^}]*\}", "", plain))
        if len(parts) % 2 == 0:
            raise NotLatex("an odd number of $")
        for part in parts[::2]:  # outside of math
            bad = re.search(r"[_^#%~]" if name == "in a table" else r"[_^#%~&]", _unnamed(part))
            if bad:
                raise NotLatex(f"bare {bad[0]} {name}: …{part[max(0, bad.start() - 20) : bad.start() + 20]}…")


def _unnamed(part: str) -> str:
    """Without names of files and keys, in which `_` is a letter."""
    return re.sub(
        r"(?:bibitem|input|includegraphics(?:\[[^\]]*\])?|ladder\w*)?\{[\w./@=\[\],() +-]*\}", "", part
    )


def _tabulars(text: str) -> Iterator[tuple[int, str]]:
    """The number of columns of each table, and its body."""
    for found in re.finditer(r"\\begin\{tabular\}(\{[^\n]*)\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        plain = re.sub(r"@\{\}|p\{[^{}]*\}", lambda m: "p" if m[0][0] == "p" else "", found[1])
        yield len(re.findall(r"[lrcp]", plain)), found[2]


def _rows(columns: int, body: str) -> None:
    for line in body.splitlines():
        if not line.rstrip().endswith(r"\\") or line.lstrip().startswith(r"\cmidrule"):
            continue
        cells = re.split(r"(?<!\\)&", line)
        spans = [re.match(r"\s*\\multicolumn\{(\d+)\}", cell) for cell in cells]
        wide = sum(int(span[1]) if span else 1 for span in spans)
        if wide != columns:
            raise NotLatex(f"{wide} cells for {columns} columns: {line[:60]}")


def macros(text: str) -> tuple[dict[str, tuple[str, str, str, str]], dict[str, str]]:
    """What `cells.tex` defines: key -> (mean, spread, seeds, marks), and key -> what it lacks."""
    known = re.findall(r"^\\ladder@def\{(.*?)\}\{(.*?)\}\{(.*?)\}\{(.*?)\}\{(.*)\}$", text, re.MULTILINE)
    lacks = re.findall(r"^\\ladder@lacks\{(.*?)\}\{(.*)\}$", text, re.MULTILINE)
    return {key: tuple(rest) for key, *rest in known}, dict(lacks)  # pyright: ignore[reportReturnType]
