"""The formats of a report, and their way to files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.confined import below
from harness.errors import DataError
from reports.render import csv as render_csv
from reports.render import html as render_html
from reports.render import latex as render_latex
from reports.render import markdown as render_markdown
from reports.report import Report

Files = Mapping[str, str]  # path below the output folder -> text

FORMATS: Mapping[str, Callable[[Report], Files]] = {
    "md": lambda report: {"report.md": render_markdown.render(report)},
    "tex": render_latex.files,
    "csv": render_csv.files,
    "html": lambda report: {"report.html": render_html.render(report)},
}


def write(out: Path, files: Files) -> None:
    """Write files below a folder.

    Raises:
        DataError: that is not possible, or a name would lie elsewhere.
    """
    try:
        for name, text in files.items():
            path = below(out, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror})") from None
