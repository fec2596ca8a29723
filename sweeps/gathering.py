"""What shards of a sweep have finished, put together in the run directory of the whole."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from harness.config import SweepConfig
from harness.errors import RunLocked
from harness.inspection.entries import declared
from harness.metrics import METRICS
from harness.protocols.parts import as_planned, records
from harness.results import Gathered, adopt, gather, held, mend, write_plan, write_sweep
from harness.trial import Status, Trial
from methods import METHODS
from sweeps.plan import Plan, plan_rows
from sweeps.shards import Shard, beside, home

WAIT_SECONDS = 600.0  # for the lock of the whole: every task that ends holds it for some seconds


def known(run: Path, shard: Shard | None, trials: Sequence[Trial]) -> Gathered:
    """Where the rows of a run's trials are: in itself, or in runs of the same sweep beside it."""
    others = beside(run, shard)
    return gather(run, others, [trial.id for trial in trials]) if others else Gathered({})


def take_over(run: Path, shard: Shard | None, trials: Sequence[Trial]) -> list[str]:
    """Take rows from beside a run whose lock is held; notes on what cannot be read there."""
    found = known(run, shard, trials)
    adopt(run, found)
    return list(found.notes)


def describe_run(run: Path, config: SweepConfig, plan: Plan) -> None:
    """Write what a run is: its configuration, what its methods declare of themselves, and its plan."""
    scales = {name: METRICS.load(name).scale.record() for name in config.metrics}
    cards = {entry.name: declared(METHODS.load(entry.name).card) for entry in config.methods}
    whole = config.record()
    labels = {label for trial in plan.trials for label in trial.protocols}
    write_sweep(run, whole, scales, cards, as_planned(records(whole), labels))
    write_plan(run, plan_rows(plan))


def merge(config: SweepConfig, trials: Sequence[Trial], others: Iterable[Path], console: Console) -> bool:
    """Put rows of other runs into the run directory of a sweep, beside what is there.

    The numbers, the plan and the configuration are then those that one process would have written. Nothing
    of the others is changed; again, it takes what has been added.

    Args:
        config: of the whole sweep.
        trials: all of it.
        others: run directories of shards.
        console: for notes.

    Returns:
        Whether every trial is ok or skipped.

    Raises:
        RunLocked: a sweep has been writing there for ten minutes.
        HarnessError: files cannot be read or written.
    """
    run = config.run_directory
    with held(run, WAIT_SECONDS):
        notes = mend(run)
        found = gather(run, others, [trial.id for trial in trials])
        adopt(run, found)
        describe_run(run, config, Plan(tuple(trials), found.statuses, (), ()))
    for note in (*notes, *found.notes):
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    counts = Counter(found.statuses.get(trial.id, "missing") for trial in trials)
    said = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    console.print(f"{run}: {said}, shards included", highlight=False, soft_wrap=True)
    return counts.keys() <= {Status.OK, Status.SKIPPED}


def hand_in(shard: Shard, whole: SweepConfig, trials: Sequence[Trial], console: Console) -> None:
    """At the end of a shard: its rows into the run directory of the whole sweep, if that is free."""
    try:
        merge(whole, trials, [shard.folder], console)
    except RunLocked as error:
        again = f"rows stay in {home(shard.run)}; put them together later with --merge-shards"
        console.print(f"{error}: {again}", highlight=False, markup=False, soft_wrap=True)
