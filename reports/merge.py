"""`python -m reports merge A B … --out RUN`: runs of different people as one run directory.

Each trial comes from one run: its ok row, or else the latest. Trials that are ok in several runs with
differing numbers are conflicts, named, and refused unless told which to keep.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.addresses import local
from harness.errors import DataError, HarnessError
from harness.results import write_sweep
from harness.results.adopt import copy_kept, pieces
from harness.results.parquet import read_parquet, write_parquet
from harness.results.reader import PLAN_FILE, read_sweep
from harness.results.schema import PLAN
from harness.results.tables import Part
from reports.frame.duplicates import CONFLICT
from reports.frame.load import MISSING, Frame, load

_TOGETHER = "they cannot be one run; `python -m reports A B` reports on them together"


def main(arguments: Sequence[str]) -> int:
    """Merge runs; 0, 1 where conflicts keep them apart, 2 where a run or an option is wrong."""
    options = _parser().parse_args(arguments)
    try:
        frame = load(options.runs)
        if frame.damage:
            raise DataError(f"{frame.damage[0]}; nothing was merged")
        conflicts = [note for note in frame.notes if note.startswith(CONFLICT)]
        for note in frame.notes:
            print(note)
        if conflicts and not options.keep_latest:
            print("Nothing written: --keep-latest takes the latest of conflicting trials.", file=sys.stderr)
            return 1
        merge(frame, options.out)
    except HarnessError as error:
        print(f"reports merge: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {len(frame.trials)} trials of {len(options.runs)} runs")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reports merge", description="Several runs as one.")
    parser.add_argument("runs", nargs="+", type=local, metavar="RUN", help="a run directory")
    parser.add_argument("--out", type=local, required=True, metavar="RUN", help="a new run directory")
    parser.add_argument(
        "--keep-latest", action="store_true", help="of trials with conflicting numbers the latest"
    )
    return parser


def merge(frame: Frame, out: Path) -> None:
    """Write the trials of a frame as one run.

    Raises:
        DataError: there is something at `out`, it cannot be written, or numbers of the runs must not share
            cells: other images, weights, versions or rules of the supports.
    """
    if out.exists():
        raise DataError(f"{out}: is there already; merge into a new folder")
    config, chosen = _config(frame, out), list(_wanted(frame, frame.trials))
    ended = _wanted(frame, frame.trials[frame.trials["status"] != MISSING])
    try:
        for number, tables in enumerate(piece for some in ended for piece in pieces(*some)):
            Part(out, number).write(tables)
        for some in chosen:
            copy_kept(*some, out)
        plans = pa.concat_tables([PLAN.empty_table(), *(_plan(*some) for some in chosen)])
        write_parquet(out / PLAN_FILE, plans)
        scales = {name: scale.record() for name, scale in frame.scales.items()}
        write_sweep(
            out, config, scales, _cards(frame), _protocols(frame)
        )  # last: without it the folder is no run
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror})") from error


def _cards(frame: Frame) -> Mapping[str, Any]:
    """What the runs say of their methods; the first that knows one counts."""
    every = [read_sweep(source.path).cards for source in reversed(frame.sources)]
    return {name: card for cards in every for name, card in cards.items()}


def _config(frame: Frame, out: Path) -> Mapping[str, Any]:
    """The first run's, with where everything comes from; only of runs whose numbers may share cells."""
    configs = [source.config for source in frame.sources]
    if any(config.get("support") != configs[0].get("support") for config in configs):
        raise DataError(f"the runs drew their supports by different rules: {_TOGETHER}")
    if apart := _apart(frame):
        raise DataError(f"{', '.join(apart)}: other images, weights or versions in another run: {_TOGETHER}")
    merged = [{"path": str(source.path), "name": source.name} for source in frame.sources]
    name = "+".join(dict.fromkeys(source.name for source in frame.sources))
    return {**configs[0], "name": name, "out": str(out), "merged": merged}


def _protocols(frame: Frame) -> list[Mapping[str, Any]]:
    """What the runs are measured under, each once."""
    return list({record["label"]: record for source in frame.sources for record in source.protocols}.values())


def _apart(frame: Frame) -> list[str]:
    """Names that a frame of several runs keeps apart by the run."""
    endings = tuple(f" ({source.label})" for source in frame.sources)
    names = (*frame.trials["dataset"], *frame.trials["variant"])
    return list(dict.fromkeys(name for name in names if name.endswith(endings)))


def _wanted(frame: Frame, trials: pd.DataFrame) -> Iterator[tuple[Path, set[str]]]:
    """Runs with those of the trials that the frame took from them."""
    for run, some in trials.groupby("run"):
        yield frame.sources[int(str(run))].path, set(some["trial_id"])


def _plan(path: Path, wanted: set[str]) -> pa.Table:
    plan = read_parquet(path / PLAN_FILE, PLAN)
    return plan.filter(pc.field("trial_id").isin(pa.array(sorted(wanted), pa.string())))
