"""How far a run has come in words: what `harness.status` prints."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.inspection.state import FINE, MISSING, State
from harness.results.plain import duration, first_line
from harness.trial import Status

SHOWN_RUNNING = 8


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


def parts(state: State, every: bool) -> Iterator[Table | Text]:
    """Lines and tables; with `every` also each trial that is not ok or skipped."""
    yield Text(headline(state))
    yield from (Text(f"protocol: {label}") for label in state.protocols)
    yield from (Text(f"note: {note}") for note in state.notes)
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
        ended = state.planned - state.counts.get(MISSING, 0)
        return "put together from other runs" if ended else "nobody has worked on it yet"
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
        again = (state.driver and state.driver.again) or "python -m harness.sweep CONFIG"
        lost = state.damaged or state.counts.get(MISSING)
        bad = [status for status, _ in _ordered(state.counts) if status not in (*FINE, MISSING)]
        steps += [f"{again}   (runs the missing trials)"] if lost else []
        steps += [f"{again} --retry {','.join(bad)}"] if bad else []
        steps += [] if MISSING in state.counts else [f"python -m reports {shlex.quote(str(state.run))}"]
    return steps
