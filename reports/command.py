"""The front door: `python -m reports RUN… [--format md,tex,csv,html] [--out DIR]`."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.errors import ConfigError, DataError, HarnessError, nearest
from reports import render_csv, render_html, render_latex, render_markdown
from reports.load import Frame, load
from reports.pictures import gallery
from reports.report import Report, build
from reports.tables.provenance import sweep_files

Files = Mapping[str, str]  # path below the output folder -> text

FORMATS: Mapping[str, Callable[[Report], Files]] = {
    "md": lambda report: {"report.md": render_markdown.render(report)},
    "tex": render_latex.files,
    "csv": render_csv.files,
    "html": lambda report: {"report.html": render_html.render(report)},
}


def main(arguments: Sequence[str]) -> int:
    """Write a report; 0, or 2 where a run or an option is wrong."""
    options = _parser().parse_args(arguments)
    try:
        formats = _formats(options.format)
        frame = load(options.runs)
        with_pictures = options.pictures and "html" in formats
        report = build(frame, gallery(frame) if with_pictures else None)
        out = options.out or (options.runs[0] / "report" if len(options.runs) == 1 else Path("report"))
        written = _write(out, frame, report, formats)
    except HarnessError as error:
        print(f"reports: {error}", file=sys.stderr)
        return 2
    _say(report, out, written)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports", description="Tables of one or several runs, finished or not."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--format", default=",".join(FORMATS), help="some of %(default)s")
    parser.add_argument("--out", type=Path, help="folder; default RUN/report, for several runs ./report")
    parser.add_argument(
        "--no-pictures", dest="pictures", action="store_false", help="no images and anomaly maps in the page"
    )
    return parser


def _formats(words: str) -> list[str]:
    chosen = [word.strip() for word in words.split(",")]
    for word in chosen:
        if word not in FORMATS:
            known = ", ".join(FORMATS)
            raise ConfigError(f"--format: unknown {word!r}{nearest(word, FORMATS)}; known: {known}")
    return chosen


def _write(out: Path, frame: Frame, report: Report, formats: Sequence[str]) -> list[Path]:
    files = {name: text for word in formats for name, text in FORMATS[word](report).items()}
    try:
        for name, text in (files | sweep_files(frame)).items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror})") from None
    return [out / name for name in files]


def _say(report: Report, out: Path, written: Sequence[Path]) -> None:
    print(f"{report.title}: {report.state.headline}\n")
    for note in report.notes:
        print(f"{note}\n")
    for table in report.main:
        print(f"{table.title}\n\n{render_markdown.table(table)}\n")
    tops = [str(p) for p in written if p.parent == out]
    folders = sorted({f"{p.parent}/" for p in written if p.parent != out})
    print("\n".join([*tops, *folders]))
