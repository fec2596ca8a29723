"""`python -m reports export RUN --to mlflow|wandb|tensorboard|json [--out DIR]`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from harness.addresses import local
from harness.errors import DataError, HarnessError
from reports.export import mlflow, results, tensorboard, wandb
from reports.export.records import Record, sweep_record, trial_records
from reports.frame.load import Frame, load

JSON = "json"
TOOLS: Mapping[str, Callable[[Record, Iterable[Record], Path], str]] = {
    "mlflow": mlflow.write,
    "wandb": wandb.write,
    "tensorboard": tensorboard.write,
}


def main(arguments: Sequence[str]) -> int:
    """Export runs; 0, or 2 where a run or an option is wrong, a tool is missing, or a run is damaged.

    Of a damaged run what can be read is exported.
    """
    options = _parser().parse_args(arguments)
    try:
        frames = [load([path]) for path in options.runs]
        for frame in frames:
            _export(frame, options)
    except HarnessError as error:
        print(f"reports export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    damage = [error for frame in frames for error in frame.damage]
    for error in damage:
        print(f"reports export: {error}", file=sys.stderr)
    return 2 if damage else 0


def _export(frame: Frame, options: argparse.Namespace) -> None:
    source = frame.sources[0]
    out = options.out or source.path / "export" / options.to
    try:
        if options.to == JSON:
            print(results.write(frame, source, out, options.code))
            return
        trials = list(trial_records(frame))
        look = TOOLS[options.to](sweep_record(frame, source), trials, out)
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror})") from error
    print(f"{out}: {len(trials)} trials of {source.name}\n{look}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports export",
        description="A run for another tool, after the fact and without a network: the trials that have "
        "ended, with their parameters, metrics and marks, below one for the sweep. Again, it writes what has "
        "changed since.",
        epilog="json: complete averages, a record per data set, method, shots and protocol, in the shape of "
        "leaderboards that collect results by protocol; reports/export/results.schema.json says which. The "
        "others are extras: python -m pip install 'ladder-bench[mlflow]', [wandb], [tensorboard].",
    )
    parser.add_argument("runs", nargs="+", type=local, metavar="RUN", help="a run directory")
    parser.add_argument("--to", required=True, choices=[*TOOLS, JSON])
    parser.add_argument("--out", type=local, metavar="DIR", help="default RUN/export/TOOL")
    parser.add_argument("--code", default="", metavar="URL", help="where the code is, for json")
    return parser
