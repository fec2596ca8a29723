"""What is made anew while its runs go on."""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from harness.errors import HarnessError
from harness.results import read_driver, standing
from harness.results.parquet import read_parquet
from harness.results.reader import PLAN_FILE
from harness.results.schema import PLAN

WATCHED = ("sweep.json", PLAN_FILE, "trials", "metrics", "scores", "journal")
SHARE = 10  # making it may take one part in so many of the time

Made = TypeVar("Made")
Stamp = tuple[tuple[str, int, int], ...]


def every(text: str) -> int:
    """The seconds of `--watch`."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of seconds")
    return int(text)


def watch(runs: Sequence[Path], make: Callable[[bool], Made], seconds: int) -> Made:
    """Make something again and again until no run goes on.

    Args:
        runs: run directories.
        make: makes it; told whether it will be made again.
        seconds: to wait after each, longer where making it takes long.

    Returns:
        The last one.
    """
    while True:
        before, began = _seen(runs), time.monotonic()
        going = any(map(goes_on, runs))  # before it is made: what comes later is in the next one
        made = make(going)
        if not going:
            return made
        due = time.monotonic() + max(seconds, SHARE * (time.monotonic() - began))
        while _seen(runs) == before or (time.monotonic() < due and not all(map(_ended, runs))):
            time.sleep(seconds)


def goes_on(run: Path) -> bool:
    """Whether more results may come: trials are missing, and nobody knows that their sweep has ended.

    A run without a note of its driver is waited for: its sweep may be about to start.
    """
    if _ended(run):
        return False
    try:
        planned = read_parquet(run / PLAN_FILE, PLAN, ["trial_id"])["trial_id"].to_pylist()
        return not standing(run).statuses.keys() >= set(planned)
    except HarnessError:
        return False  # who makes something of it says what is wrong


def _ended(run: Path) -> bool:
    driver = read_driver(run)
    return driver is not None and driver.alive(run) is False


def _seen(runs: Sequence[Path]) -> tuple[Stamp, tuple[bool, ...]]:
    return stamp(runs), tuple(map(_ended, runs))


def stamp(runs: Sequence[Path]) -> Stamp:
    """Changes whenever a run has a new result or a new plan."""
    return tuple(sorted(_facts(path) for path in _files(runs)))


def newest(run: Path) -> int:
    """When the files of a run were written last, in nanoseconds."""
    return max((modified for _, _, modified in stamp([run])), default=0)


def _files(runs: Sequence[Path]) -> list[Path]:
    found = (path for run in runs for name in WATCHED for path in (run / name, *(run / name).glob("*")))
    return [path for path in found if path.is_file()]


def _facts(path: Path) -> tuple[str, int, int]:
    try:
        facts = path.stat()
    except FileNotFoundError:  # a journal that has just been folded in
        return str(path), 0, 0
    return str(path), facts.st_size, facts.st_mtime_ns
