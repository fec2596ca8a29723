"""`python -m harness.submission RUN`: what the evaluation server of MVTec AD 2 takes, from a run's kept maps.

RUN is a run over `mvtec_ad2` with, in its sweep file, `test: server` under `dataset:`, `keep_maps: true`, and
`seg_f1` among the metrics. Written are below --out: `submission/` with float16 maps and masks of both private
splits, `submission.tar.gz`, which is uploaded, and `submission.json`, how it was made. `--check PATH` looks
over a folder or a .tar.gz, of whatever made it, by the server's rules, or by the images of --data. Exit
codes: 0 it would be taken, 1 it would not, 2 wrong input.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.addresses import local
from harness.console import leave, show
from harness.errors import ConfigError
from harness.results import read_run
from harness.server.check import Checked, check
from harness.server.chosen import parts
from harness.server.rules import of_data, other_numbers, published
from harness.server.write import Written, pack, record, write
from harness.source import recorded_source

NAME = "submission"
SHOWN = 20
EVERY = 500  # maps; that many large ones take a minute or two


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        ConfigError, DataError: what is asked for cannot be had.
    """
    options = _parser().parse_args(arguments)
    if (options.run is None) == (options.check is None):
        raise ConfigError("either RUN, to write a submission, or --check PATH, to look one over")
    if options.check is not None:
        wanted = of_data(options.data) if options.data else published()
        for note in other_numbers(wanted):
            print(f"note: {note}")
        return _said(options.check, check(options.check, wanted), wanted.source)
    return _write(options.run, options.out or options.run / NAME, options.trial, not options.maps_only)


def _write(run: Path, out: Path, trial: str, masks: bool) -> int:
    found = parts(run, trial, masks)
    folder = out / NAME
    written = write(run, found, folder, _progress)
    archive = pack(folder)
    record(out / f"{NAME}.json", run, written, archive)
    show(_told(written))
    print(f"written: {folder}, {archive} ({archive.stat().st_size / 2**20:,.0f} MiB), {out / NAME}.json")
    wanted = of_data(recorded_source(read_run(run, scores=False).config).root)
    return _said(archive, check(archive, wanted), wanted.source, other_numbers(wanted))


def _progress(done: int, total: int) -> None:
    if done % EVERY == 0 or done == total:
        print(f"{done:,} of {total:,} maps", file=sys.stderr)


def _said(path: Path, found: Checked, source: str, more: Sequence[str] = ()) -> int:
    """Say what was found; the exit code."""
    problems = [*found.problems, *more]
    for problem in problems[:SHOWN]:
        print(f"problem: {problem}")
    if len(problems) > SHOWN:
        print(f"and {len(problems) - SHOWN} more problems")
    what = "it would be refused" if problems else "nothing wrong"
    print(f"{path}: {found.maps:,} maps and {found.masks:,} masks, held against {source}: {what}")
    return 1 if problems else 0


def _told(written: Mapping[str, Written]) -> Iterator[RenderableType]:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in ("object", "trial", "maps", "slope", "offset", "threshold", "pixels flagged"):
        table.add_column(column, justify="left" if column in ("object", "trial") else "right")
    for name, one in written.items():
        numbers = (f"{one.scale.slope:.6g}", f"{one.scale.offset:.6g}", _number(one.threshold, ".6g"))
        table.add_row(name, one.trial_id, f"{one.maps:,}", *numbers, _number(one.flagged, ".2%"))
    yield table
    if marks := dict.fromkeys(mark for one in written.values() for mark in one.marks):
        yield Text(f"note: tables say of these trials: {', '.join(marks)}")
    constant = [name for name, one in written.items() if one.scale.low == one.scale.high]
    if constant:
        yield Text(f"note: every pixel of {', '.join(constant)} has the same score")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _parser() -> argparse.ArgumentParser:
    about = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m harness.submission", description=about)
    parser.add_argument("run", type=local, nargs="?", metavar="RUN", help="a run directory")
    parser.add_argument("--out", type=local, metavar="DIR", help=f"default: RUN/{NAME}")
    parser.add_argument(
        "--trial",
        default="",
        metavar="ID",
        help="one of the trials that are meant, where a run has several methods or seeds; the other objects "
        "follow",
    )
    parser.add_argument("--maps-only", action="store_true", help="without masks, hence without SegF1")
    parser.add_argument("--check", type=local, metavar="PATH", help="look over a folder or a .tar.gz")
    parser.add_argument(
        "--data", type=local, metavar="ROOT", help="of the data set, so that sizes can be checked, too"
    )
    return parser


if __name__ == "__main__":
    leave(main)
