"""A sweep in K disjoint parts, each with a run directory of its own: for batch jobs that do not talk.

The trials of one method are dealt out in the work units that they would run in, so that a shard has some K-th
of every method (trials of one method cost about the same, those of two may differ a thousandfold), and
trials that share arrays or train as one stay together. Which shard a trial belongs to follows from the plan
alone, never from what has been done. After a change of the sweep file, or of K, trials may belong to another
shard than the one that has run them: every shard begins by taking over what any other has finished.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from harness.errors import ConfigError
from sweeps.plan import Planned, WorkUnit, make_plan

MOST = 10_000  # tasks of an array, beyond what batch systems allow


@final
@dataclass(frozen=True)
class Shard:
    """One part of a sweep.

    Attributes:
        number: from 0.
        of: how many there are.
        run: run directory of the whole sweep.
    """

    number: int
    of: int
    run: Path

    @property
    def folder(self) -> Path:
        """Its own run directory."""
        return home(self.run) / f"{self.number}of{self.of}"

    def part(self, planned: Sequence[Planned], unit_trials: int | None = None) -> list[Planned]:
        """Its trials of those of the sweep, in their order."""
        numbers = dealt(planned, self.of, unit_trials)
        return [pair for pair in planned if numbers[pair[0].id] == self.number]


def shard_of(text: str, run: Path) -> Shard:
    """The shard that `I/K` names.

    Raises:
        ConfigError: it names none.
    """
    number, sign, of = text.partition("/")
    if not (sign and all(word.isascii() and word.isdigit() and len(word) < 9 for word in (number, of))):
        raise ConfigError(f"--shard {text[:80]!r}: is I/K, e.g. 0/4 for the first of four")
    if not int(number) < int(of) <= MOST:
        raise ConfigError(f"--shard {text}: I goes from 0 to K - 1, K up to {MOST:,}")
    return Shard(int(number), int(of), run)


def home(run: Path) -> Path:
    """The folder of the shards of a sweep."""
    return run.with_name(f"{run.name}.shards")


def folders(run: Path) -> list[Path]:
    """The run directories of shards that are there, of whatever K."""
    return sorted(path for path in home(run).glob("*of*") if path.is_dir())


def beside(run: Path, shard: Shard | None) -> list[Path]:
    """Where rows of a run's trials may be as well: shards of it, and of a shard the whole and the others."""
    whole = run if shard is None else shard.run
    return [path for path in (whole, *folders(whole)) if path != run]


def dealt(planned: Sequence[Planned], of: int, unit_trials: int | None = None) -> Mapping[str, int]:
    """trial_id -> number of its shard.

    Args:
        planned: every trial of the sweep with its resources, in order.
        of: number of shards.
        unit_trials: as in the sweep file.
    """
    loads: Counter[tuple[str, int]] = Counter()  # (method, shard) -> trials
    total: Counter[int] = Counter()
    seen: set[tuple[str, int]] = set()
    numbers: dict[str, int] = {}
    for method, units, skipped in _by_method(planned, of, unit_trials):
        for unit in sorted(units, key=lambda unit: -len(unit.trials)):  # stable: the order is the plan's
            category = unit.trials[0].category
            # first this method's share; among equals a shard that has the category's pixels and features
            best = min(range(of), key=lambda i: (loads[method, i], (category, i) not in seen, total[i], i))
            loads[method, best] += len(unit.trials)
            total[best] += len(unit.trials)
            seen.add((category, best))
            numbers |= {trial.id: best for trial in unit.trials}
        numbers |= {trial_id: i % of for i, trial_id in enumerate(skipped)}  # rows that cost nothing
    return numbers


def _by_method(
    planned: Sequence[Planned], of: int, unit_trials: int | None
) -> list[tuple[str, Sequence[WorkUnit], list[str]]]:
    """Each method with its work units, cut as for as many slots as there are shards, and what it declines."""
    groups: dict[str, list[Planned]] = {}
    for pair in planned:
        groups.setdefault(pair[0].method, []).append(pair)
    plans = {name: make_plan(own, {}, unit_trials=unit_trials, slots=of) for name, own in groups.items()}
    return [(name, plan.units, [trial.id for trial in plan.skipped]) for name, plan in plans.items()]
