"""`python -m harness.status RUN`: how far a sweep has come, and what to do next.

Reads files only: it works while the sweep runs, after it has ended and after it was killed. Exit codes:
0 every planned trial is ok (or skipped with a reason), 1 some are not or are missing, 2 no such run, or
files of it cannot be read (they are named; the rest is shown).
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence

from rich.console import Group
from rich.live import Live

from harness.addresses import local
from harness.console import console, leave, show
from harness.inspection.state import State, state_of
from harness.inspection.state_words import as_json, parts

WATCH_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        DataError: no such run.
    """
    options = parser().parse_args(arguments)
    state = _watch(options) if options.watch else _once(options)
    return 2 if state.damaged else 0 if state.fine else 1


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.status", description="How far a sweep has come, and what to do next."
    )
    parser.add_argument("run", type=local, metavar="RUN", help="a run directory, e.g. runs/fewshot")
    parser.add_argument("--watch", action="store_true", help="go on until the sweep ends or dies")
    parser.add_argument("--failed", action="store_true", help="list every trial that is not ok or skipped")
    parser.add_argument("--json", action="store_true", help="print JSON; with --watch one object per line")
    return parser


def _once(options: argparse.Namespace) -> State:
    state = state_of(options.run)
    _print(state, options)
    return state


def _watch(options: argparse.Namespace) -> State:
    """Show the state until nobody works on the run any more."""
    out = console()
    if options.json or not out.is_terminal:
        return _watch_lines(options)
    state = state_of(options.run)
    with Live(console=out, auto_refresh=False) as live:
        while True:
            live.update(Group(*parts(state, options.failed)), refresh=True)
            if not state.alive:
                return state
            time.sleep(WATCH_SECONDS)
            state = state_of(options.run)


def _watch_lines(options: argparse.Namespace) -> State:
    shown = None
    while True:
        state = state_of(options.run)
        if state.counts != shown:
            shown = state.counts
            _print(state, options)
            sys.stdout.flush()
        if not state.alive:
            return state
        time.sleep(WATCH_SECONDS)


def _print(state: State, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(as_json(state), indent=None if options.watch else 2))
    else:
        show(parts(state, options.failed))


if __name__ == "__main__":
    leave(main)
