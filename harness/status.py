"""`python -m harness.status RUN`: how far a sweep has come, and what to do next.

Reads files only: it works while the sweep runs, after it has ended and after it was killed. Exit codes:
0 every planned trial is ok (or skipped with a reason), 1 some are not or are missing, 2 no such run.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.console import console, leave, show
from harness.inspection.state import FINE, MISSING, State, state_of
from harness.results.plain import duration, first_line
from harness.trial import Status

WATCH_SECONDS = 2.0
SHOWN_RUNNING = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        DataError: no such run.
    """
    options = parser().parse_args(arguments)
    state = _watch(options) if options.watch else _once(options)
    return 0 if state.fine else 1


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.status", description="How far a sweep has come, and what to do next."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, e.g. runs/fewshot")
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
            live.update(Group(*_parts(state, options.failed)), refresh=True)
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
        show(_parts(state, options.failed))


def as_json(state: State) -> dict[str, Any]:
    """Everything known, as JSON-able values."""
    values = {name: getattr(state, name) for name in State.__dataclass_fields__}
    return values | {
        "run": str(state.run),
        "planned": state.planned,
        "counts": state.counts,
        "failures": [asdict(group) for group in state.failures],
        "driver": asdict(state.driver) if state.driver else None,
        "next": next_steps(state),
    }


def _parts(state: State, every: bool) -> Iterator[Table | Text]:
    yield Text(headline(state))
    yield _table(state)
    yield from map(Text, _running_lines(state))
    yield from map(Text, _failure_lines(state, every))
    yield from (Text(f"next: {step}") for step in next_steps(state))


def headline(state: State) -> str:
    """Who works on the run, and how many of its trials are in which state."""
    ended = state.planned - state.counts.get(MISSING, 0)
    counts = ", ".join(f"{n} {status}" for status, n in _ordered(state.counts))
    foreign = f"; {state.foreign} rows of an earlier plan" if state.foreign else ""
    return (
        f"{state.run}: {_driver(state)}\n{ended} of {state.planned} trials ended: "
        f"{counts or 'none'}{_time(state)}{foreign}"
    )


def _driver(state: State) -> str:
    if state.driver is None:
        return "nobody has worked on it yet"
    who = f"process {state.driver.pid} on {state.driver.host}"
    if state.alive is None:
        return f"whether {who} still works on it cannot be seen from here"
    return f"running, {who}" if state.alive else "nobody works on it"


def _time(state: State) -> str:
    if state.left_seconds:
        return f"; about {duration(state.left_seconds)} left"
    if state.work_seconds:
        return f"; the missing ones take about {duration(state.work_seconds)} one after the other"
    return ""


def _ordered(counts: dict[str, int]) -> list[tuple[str, int]]:
    order = [*Status, MISSING]
    return sorted(counts.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))


def _table(state: State) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    kinds = [status for status, _ in _ordered(state.counts)]
    for name in ("method", "planned", *kinds, "each"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for method, counts in state.methods.items():
        mean = state.seconds.get(method)
        cells = [str(counts.get(kind, 0)) for kind in kinds]
        table.add_row(method, str(sum(counts.values())), *cells, "–" if mean is None else duration(mean))
    return table


def _running_lines(state: State) -> list[str]:
    if not state.running:
        return []
    more = len(state.running) - SHOWN_RUNNING
    words = ", ".join(state.running[:SHOWN_RUNNING]) + (f" and {more} more" if more > 0 else "")
    return [f"{'running' if state.alive else 'unfinished when it stopped'}: {words}"]


def _failure_lines(state: State, every: bool) -> list[str]:
    lines = [
        f"{g.trials} × {g.status} {g.method}{f' ({g.error_type})' if g.error_type else ''}: {g.reason}"
        f"  [e.g. {g.example}]"
        for g in state.failures
    ]
    if every:
        lines += [
            f"{row['trial_id']} {row['status']} {row['title']}: {first_line(row['reason'])}"
            for row in state.not_ok
        ]
    return lines


def next_steps(state: State) -> list[str]:
    """What a person may want to type now."""
    steps = [f"python -m harness.show {shlex.quote(str(state.run))} {g.example}" for g in state.failures[:1]]
    if not state.alive:
        again = state.driver.command if state.driver else ""
        again = again if "harness.sweep" in again or "ladder" in again else "python -m harness.sweep CONFIG"
        bad = [status for status, _ in _ordered(state.counts) if status not in (*FINE, MISSING)]
        steps += [f"{again}   (runs the missing trials)"] if state.counts.get(MISSING) else []
        steps += [f"{again} --retry {','.join(bad)}"] if bad else []
        steps += [] if MISSING in state.counts else [f"python -m reports {shlex.quote(str(state.run))}"]
    return steps


if __name__ == "__main__":
    leave(main)
