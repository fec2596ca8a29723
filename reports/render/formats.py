"""The formats of a report, and their way to files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.confined import below
from harness.errors import DataError
from harness.whole import whole
from reports.page.parts import FOLDER
from reports.render import csv as render_csv
from reports.render import html as render_html
from reports.render import latex as render_latex
from reports.render import markdown as render_markdown
from reports.report import Report

Files = Mapping[str, str]  # path below the output folder -> text
PAGE = "report.html"
LEADING_TO = {
    FOLDER: "*.js",
    "methods": "*.html",
    "categories": "*.html",
}  # folder -> what the page needs there

FORMATS: Mapping[str, Callable[[Report], Files]] = {
    "md": lambda report: {"report.md": render_markdown.render(report)},
    "tex": render_latex.files,
    "csv": render_csv.files,
    "html": render_html.files,
}


def write(out: Path, files: Files) -> None:
    """Write files below a folder.

    Raises:
        DataError: that is not possible, or a name would lie elsewhere.
    """
    try:
        for name, text in files.items():
            path = below(out, name)
            with whole(path, durable=False) as hidden:  # a page may be looked at while it is made again
                hidden.write_text(text, encoding="utf-8", errors="backslashreplace")
        for folder, pattern in LEADING_TO.items() if PAGE in files else ():
            _tidy(out, folder, pattern, files)
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror})") from None


def _tidy(out: Path, folder: str, pattern: str, wanted: Files) -> None:
    """Remove what an earlier page led to: nothing leads there now, and its numbers are old."""
    for path in (out / folder).glob(pattern):
        if f"{folder}/{path.name}" not in wanted:
            path.unlink(missing_ok=True)
    if (out / folder).is_dir() and not any((out / folder).iterdir()):
        (out / folder).rmdir()
