"""What is left to do of a list of trials, and in which portions it is handed out."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from harness.errors import ConfigError, nearest
from harness.method import Resources
from harness.trial import Status, Trial

Planned = tuple[Trial, Resources]
UNIT_TRIALS = 20  # big enough to share features in one warm process, small enough to balance GPUs
SHOWN = 20  # values of an axis in a message
MOST_UNITS = 2000  # Ray Tune's own cost per unit grows with their number


@final
@dataclass(frozen=True)
class WorkUnit:
    """Trials of one method and category that run one after the other in one warm process.

    Attributes:
        id: hash of its trials' ids.
        trials: in the order in which they run.
        resources: what each of them needs.
    """

    id: str
    trials: tuple[Trial, ...]
    resources: Resources

    @property
    def together(self) -> bool:
        """Whether its trials are trained as one before they run."""
        return len(self.trials) > 1 and _stacked(self.trials[0], self.resources)


@final
@dataclass(frozen=True)
class Plan:
    """A sweep before it runs.

    Attributes:
        trials: every planned trial.
        done: trial_id -> status of those that have a row already and keep it.
        skipped: trials that their method declines; rows without a run.
        units: the rest.
        notes: what is wrong with the run that is there.
    """

    trials: tuple[Trial, ...]
    done: Mapping[str, str]
    skipped: tuple[Trial, ...]
    units: tuple[WorkUnit, ...]
    notes: tuple[str, ...] = ()

    @property
    def remaining(self) -> list[Trial]:
        """Trials to run, in order."""
        return [trial for unit in self.units for trial in unit.trials]


def make_plan(
    planned: Sequence[Planned],
    statuses: Mapping[str, str],
    *,
    retry: Iterable[str] = (),
    only: Mapping[str, Sequence[str]] | None = None,
    limit: int | None = None,
    unit_trials: int | None = None,
    slots: int = 1,
) -> Plan:
    """Subtract what is done, group what is left.

    Args:
        planned: the sweep's trials with their resources.
        statuses: trial_id -> status of the rows that exist.
        retry: statuses whose trials run again; "all" for every status.
        only: axis -> allowed values; other trials stay missing.
        limit: run at most so many trials now.
        unit_trials: most trials of a work unit.
        slots: how many trials can run at a time; few trials are spread evenly over them.

    Raises:
        ConfigError: `only` names a value that no planned trial has.
    """
    _check_only([t for t, _ in planned], only or {})
    # missing trials are not meant: they run in any case
    again = set(Status) if "all" in set(retry) else set(retry)
    done = {t.id: statuses[t.id] for t, _ in planned if t.id in statuses and statuses[t.id] not in again}
    left = [(t, r) for t, r in planned if t.id not in done and _wanted(t, only or {})]
    skipped = tuple(t for t, _ in left if t.reason)
    todo = [(t, r) for t, r in left if not t.reason][:limit]
    # four units per slot, so that the last one to end does not keep the others waiting for long; then
    # Tune's cost; ceilings, because a rest would be a unit of its own
    size = unit_trials or max(min(UNIT_TRIALS, -(-len(todo) // (4 * slots))), -(-len(todo) // MOST_UNITS), 1)
    stacks = _stacks(planned, unit_trials)
    return Plan(tuple(t for t, _ in planned), done, skipped, tuple(_units(todo, size, stacks)))


def chosen(planned: Sequence[Planned], only: Mapping[str, Sequence[str]]) -> list[Planned]:
    """Those of a sweep's trials that `--only` means.

    Raises:
        ConfigError: it names a value that no trial has.
    """
    _check_only([t for t, _ in planned], only)
    return [(t, r) for t, r in planned if _wanted(t, only)]


AXES = ("method", "category", "dataset", "shots", "split_seed", "run_seed", "id")


def _check_only(trials: Sequence[Trial], only: Mapping[str, Sequence[str]]) -> None:
    problems = []
    for axis, values in only.items():
        # in the order of the plan: 1, 2, 10 shots
        known = list(dict.fromkeys(_value(trial, axis) for trial in trials))
        shown = ", ".join(known[:SHOWN]) + (", …" if len(known) > SHOWN else "")
        problems += [
            f"--only {axis}={value}: no trial has it{nearest(value, known)}; {axis} is one of: {shown}"
            for value in values
            if value not in known
        ]
    if problems:
        raise ConfigError(problems)


def _wanted(trial: Trial, only: Mapping[str, Sequence[str]]) -> bool:
    return all(_value(trial, axis) in values for axis, values in only.items())


def _value(trial: Trial, axis: str) -> str:
    value = getattr(trial, axis)
    # "full" as in a sweep file; "-" is an axis that the method ignores
    return ("full" if axis == "shots" else "-") if value is None else str(value)


def _units(todo: Sequence[Planned], size: int, stacks: Mapping[str, int]) -> Iterator[WorkUnit]:
    groups: dict[tuple[Any, ...], list[Planned]] = {}
    for trial, resources in todo:
        # a dict keeps the order in which groups were first met: units follow the sweep file
        key = (*_alike(trial, resources), stacks.get(trial.id))
        groups.setdefault(key, []).append((trial, resources))
    for (*_, stack), group in groups.items():
        step = size if stack is None else len(group)
        for start in range(0, len(group), step):
            trials = tuple(t for t, _ in group[start : start + step])
            yield WorkUnit(unit_id(trials), trials, group[start][1])


def _alike(trial: Trial, resources: Resources) -> tuple[Any, ...]:
    """What trials of one unit have in common."""
    common = (trial.category, trial.method, resources)
    return (*common, trial.together, trial.support) if _stacked(trial, resources) else common


def _stacked(trial: Trial, resources: Resources) -> bool:
    return trial.together is not None and resources.stack > 1


def _stacks(planned: Sequence[Planned], most: int | None) -> dict[str, int]:
    """trial_id -> number of its stack, the same whatever has been done: a stack goes on as it began."""
    seen: Counter[tuple[Any, ...]] = Counter()
    stacks = {}
    for trial, resources in planned:
        if _stacked(trial, resources) and not trial.reason:
            alike = _alike(trial, resources)
            stacks[trial.id] = seen[alike] // min(resources.stack, most or resources.stack)
            seen[alike] += 1
    return stacks


def unit_id(trials: Sequence[Trial]) -> str:
    """The same trials make the same unit, so that a second attempt is recognised in provenance."""
    return hashlib.sha256(" ".join(t.id for t in trials).encode()).hexdigest()[:12]


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
    """The rows of `plan.parquet`."""
    return [
        {
            "trial_id": t.id,
            "method": t.method,
            "params": json.dumps(t.params, sort_keys=True),
            "dataset": t.dataset,
            "category": t.category,
            "shots": t.shots,
            "split_seed": t.split_seed,
            "run_seed": t.run_seed,
            "marks": list(t.marks),
            "protocols": list(t.protocols),
        }
        for t in plan.trials
    ]
