"""How far a run has come, from its files alone: while it runs, after it ended, after it died."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

import pandas as pd

from harness.results import Driver, read_driver, read_run, started_without_end
from harness.results.plain import cause, first_line, plain, title
from harness.trial import Status

MISSING = "missing"
FINE = (Status.OK, Status.SKIPPED)
PLANNED = ("trial_id", "method", "category", "shots", "split_seed", "run_seed")
ENDED = (*PLANNED, "status", "error_type", "reason", "total_seconds", "finished_at")
SHORT = ("trial_id", "title", "status", "error_type", "reason")
Row = dict[str, Any]


@final
@dataclass(frozen=True)
class Failures:
    """Trials that ended the same way.

    Attributes:
        status, method, error_type: what they share.
        trials: how many they are.
        reason: first line of one of them.
        example: id of that one.
    """

    status: str
    method: str
    error_type: str | None
    trials: int
    reason: str
    example: str


@final
@dataclass(frozen=True)
class State:
    """How far a run has come.

    Attributes:
        run: its directory.
        name: of the sweep.
        methods: method -> status ("missing" for trials without a row) -> planned trials.
        seconds: method -> mean duration of a trial that ran to an end.
        running: titles of trials that run now; if the driver is dead, of those that it left unfinished.
        failures: trials neither ok nor skipped, in groups, the largest first.
        not_ok: those trials one by one: id, title, status, error type, reason.
        work_seconds: estimated duration of all missing trials one after the other, None if unknown.
        left_seconds: estimated time until the living driver is done, None if unknown or dead.
        foreign: rows of trials that the plan does not have (any more).
        protocols: what the run is measured under, as tables call it; steps between two left out.
        notes: what is wrong with the files of the run, one sentence each.
        damaged: whether some of them cannot be read, so that the rest of this is only what can be known.
        driver: who wrote last.
        alive: whether that process still does; None if that cannot be known from here.
    """

    run: Path
    name: str
    methods: Mapping[str, Mapping[str, int]]
    seconds: Mapping[str, float]
    running: Sequence[str]
    failures: Sequence[Failures]
    not_ok: Sequence[Mapping[str, Any]]
    work_seconds: float | None
    left_seconds: float | None
    foreign: int
    protocols: Sequence[str]
    notes: Sequence[str]
    damaged: bool
    driver: Driver | None
    alive: bool | None

    @property
    def counts(self) -> dict[str, int]:
        """Status -> planned trials."""
        total: Counter[str] = Counter()
        for counts in self.methods.values():
            total.update(counts)
        return dict(total)

    @property
    def planned(self) -> int:
        """Planned trials."""
        return sum(self.counts.values())

    @property
    def fine(self) -> bool:
        """Whether every planned trial is ok, or skipped for a reason."""
        return self.planned > 0 and not self.damaged and all(status in FINE for status in self.counts)


def state_of(run: Path) -> State:
    """Read the state of a run.

    Raises:
        DataError: `run` is not a run directory, or its plan cannot be read.
    """
    found = read_run(run, scores=False)
    driver = read_driver(run)
    alive = driver.alive(run) if driver else False
    plan = {row["trial_id"]: row for row in _rows(found.known_plan, PLANNED)}
    rows = [row for row in _rows(found.trials, ENDED) if row["trial_id"] in plan]
    methods, seconds = _methods(plan, rows), _seconds(rows)
    bad = [row | {"title": title(row)} for row in rows if row["status"] not in FINE]
    work = _work_seconds(methods, seconds)
    return State(
        run=run,
        name=str(found.config.get("name", "")),
        methods=methods,
        seconds=seconds,
        running=_running(run, plan, {row["trial_id"] for row in rows}),
        failures=_failures(bad),
        not_ok=[{name: row[name] for name in SHORT} for row in bad],
        work_seconds=work,
        left_seconds=_left_seconds(work, rows, driver) if alive else None,
        foreign=len(found.trials) - len(rows),
        protocols=[record["label"] for record in found.protocols if record["protocol"]],
        notes=found.notes,
        damaged=bool(found.damage),
        driver=driver,
        alive=alive,
    )


def _rows(frame: pd.DataFrame, columns: Sequence[str]) -> list[Row]:
    return [plain({name: row[name] for name in columns}) for row in frame.to_dict("records")]


def _methods(plan: Mapping[str, Row], rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    status_of = {row["trial_id"]: row["status"] for row in rows}
    methods: dict[str, Counter[str]] = {}
    for trial_id, planned in plan.items():
        methods.setdefault(planned["method"], Counter())[status_of.get(trial_id, MISSING)] += 1
    return {method: dict(counts) for method, counts in methods.items()}


def _seconds(rows: Sequence[Row]) -> dict[str, float]:
    known: dict[str, list[float]] = {}
    for row in rows:
        if row["total_seconds"] is not None:
            known.setdefault(row["method"], []).append(row["total_seconds"])
    return {method: sum(values) / len(values) for method, values in known.items()}


def _work_seconds(methods: Mapping[str, Mapping[str, int]], seconds: Mapping[str, float]) -> float | None:
    """Every missing trial at its method's mean; a method that has not run yet at the mean of the others."""
    missing = {method: counts.get(MISSING, 0) for method, counts in methods.items()}
    if not any(missing.values()):
        return 0.0
    if not seconds:
        return None
    mean = sum(seconds.values()) / len(seconds)
    return sum(number * seconds.get(method, mean) for method, number in missing.items())


def _left_seconds(work: float | None, rows: Sequence[Row], driver: Driver | None) -> float | None:
    """The work that is left, at the pace (seconds of trials per second) of this driver so far."""
    if not work or driver is None or not driver.started_at:
        return work
    began = datetime.fromisoformat(driver.started_at)
    gone = (datetime.now(UTC) - began).total_seconds()
    recent = [row for row in rows if datetime.fromisoformat(row["finished_at"]) >= began]
    done = sum(row["total_seconds"] or 0.0 for row in recent)
    return work * gone / done if done else None


def _running(run: Path, plan: Mapping[str, Row], ended: set[str]) -> list[str]:
    return [title(plan[i]) for i in started_without_end(run) if i in plan and i not in ended]


def _failures(bad: Sequence[Row]) -> list[Failures]:
    groups: dict[tuple[str, str, str | None, str], list[Row]] = {}
    for row in bad:
        key = (row["status"], row["method"], row["error_type"], cause(row["reason"]))
        groups.setdefault(key, []).append(row)
    found = [
        Failures(status, method, kind, len(rows), first_line(rows[0]["reason"]), rows[0]["trial_id"])
        for (status, method, kind, _), rows in groups.items()
    ]
    return sorted(found, key=lambda group: -group.trials)
