"""A report that is made anew while its runs go on."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from reports.report import State

WATCHED = ("sweep.json", "plan.parquet", "trials", "metrics", "scores", "journal")
SHARE = 10  # making the report may take one part in so many of the time

Stamp = tuple[tuple[str, int, int], ...]


def watch(runs: Sequence[Path], make: Callable[[], State], seconds: int) -> State:
    """Make a report again and again until nothing is missing.

    Args:
        runs: run directories.
        make: makes the report; says how far the runs are.
        seconds: to wait after each, longer where making it takes long.

    Returns:
        The state of the last one.
    """
    while True:
        before, began = stamp(runs), time.monotonic()
        state = make()
        if not state.half_finished:
            return state
        time.sleep(max(seconds, SHARE * (time.monotonic() - began)))
        while stamp(runs) == before:
            time.sleep(seconds)


def stamp(runs: Sequence[Path]) -> Stamp:
    """Changes whenever a run has a new result or a new plan."""
    found = (path for run in runs for name in WATCHED for path in (run / name, *(run / name).glob("*")))
    return tuple(sorted(_facts(path) for path in found if path.is_file()))


def _facts(path: Path) -> tuple[str, int, int]:
    try:
        facts = path.stat()
    except FileNotFoundError:  # a journal that has just been folded in
        return str(path), 0, 0
    return str(path), facts.st_size, facts.st_mtime_ns
