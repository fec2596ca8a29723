"""The front door: `python -m reports RUN… [--format md,tex,csv,html] [--out DIR]`."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.addresses import local
from harness.errors import ConfigError, DataError, HarnessError, nearest
from reports import diff, listing, merge
from reports.export import command as export
from reports.figures import write_figures
from reports.frame.load import Frame, load
from reports.frame.protocols import one_of
from reports.papers import AUTO, EVERY, NONE, PAPERS, chosen
from reports.render import markdown as render_markdown
from reports.render.formats import FORMATS, write
from reports.report import Report, build, with_page, with_text
from reports.site import command as site
from reports.tables.provenance import sweep_files
from reports.watching import every, watch

COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "diff": diff.main,
    "merge": merge.main,
    "site": site.main,
    "ledger": listing.main,
    "export": export.main,
}


def main(arguments: Sequence[str]) -> int:
    """Write a report, or do one of the `COMMANDS`; 0, or 2 where a run or an option is wrong.

    Of a damaged run the report is of what can be read, and 2 is returned.
    """
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        formats = _formats(options.format)
        if options.watch is None:
            return _made(load(options.runs), options, formats)
        return watch(options.runs, lambda on: _made(load(options.runs), options, formats, on), options.watch)
    except HarnessError as error:
        print(f"reports: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _made(frame: Frame, options: argparse.Namespace, formats: Sequence[str], again: bool = False) -> int:
    """Make a report, write and tell it; 2 where it is only of what could be read.

    Args:
        frame: the runs.
        options: of the command.
        formats: of the report.
        again: it will be made again, so a page looks for the next one.
    """
    out = options.out or (options.runs[0] / "report" if len(options.runs) == 1 else Path("report"))
    report = build(frame, chosen(frame, options.tables))
    with_figures = options.figures and {"html", "tex"} & set(formats)
    figures = _figures(frame, out / "figures") if with_figures else []
    if "html" in formats:
        watched = options.watch if again else 0
        report = with_page(report, frame, pictures=options.pictures, figures=figures, watched=watched)
    if "tex" in formats:
        report = with_text(report, frame, figures)
    _say(report, out, _write(out, frame, report, formats))
    for error in frame.damage:
        print(f"reports: {error}", file=sys.stderr)
    return 2 if frame.damage else 0


def _figures(frame: Frame, folder: Path) -> list[Path]:
    try:
        return write_figures(one_of(frame), folder)  # of the first of several protocols
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be written ({error.strerror})") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports",
        description="Tables of one or several runs, finished or not.",
        epilog="`python -m reports diff A B` compares two runs, `… merge A B --out C` joins them, "
        "`… site RUN…` makes a web site of many, `… ledger` lists published numbers, "
        "`… export RUN --to TOOL` is for others.",
    )
    parser.add_argument("runs", nargs="+", type=local, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--format",
        default=",".join(FORMATS),
        help=r"some of %(default)s; tex is a document that compiles, every number by key (cells.tex: "
        r"\ladder{patchcore/4/pushpins/auroc}) and results.bib",
    )
    parser.add_argument(
        "--tables",
        default=AUTO,
        metavar="NAMES",
        help=f"tables of papers, ours beside theirs: {EVERY} for all, {NONE}, {AUTO} (those whose method was "
        f"run; the default), or some of {','.join(PAPERS)}",
    )
    parser.add_argument("--out", type=local, help="folder; default RUN/report, for several runs ./report")
    parser.add_argument(
        "--no-pictures", dest="pictures", action="store_false", help="no images and anomaly maps in the page"
    )
    parser.add_argument(
        "--no-figures", dest="figures", action="store_false", help="draw none, for page or LaTeX"
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        type=every,
        const=30,
        metavar="SECONDS",
        help="make it again while trials are missing; the page refreshes itself (default %(const)s)",
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
    write(out, files | sweep_files(frame))
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
