"""A whole sweep: plan, lock, run, sum up."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final

from rich.console import Console
from rich.table import Table

from harness.config import SweepConfig
from harness.results import (
    check_mendable,
    lacking_notes,
    locked,
    mend,
    standing,
    statuses,
)
from harness.rows import Job
from harness.run import ended
from harness.source import Source
from harness.trial import Status, Trial
from sweeps.expand import Expansion, expanded
from sweeps.gathering import describe_run, hand_in, known, take_over
from sweeps.handshake import shown
from sweeps.ledger import Ledger
from sweeps.plan import Plan, Planned, chosen, make_plan
from sweeps.progress import Progress, broken_lines, failure_lines, note_lines
from sweeps.run_log import FILE as LOG
from sweeps.run_log import logged, rotate
from sweeps.serial import run_serial
from sweeps.shards import Shard
from sweeps.sign import put
from sweeps.worker import Setting, tidied

FINE = (Status.OK, Status.SKIPPED)


@final
@dataclass(frozen=True)
class Options:
    """How a sweep is run this time; nothing here can change a number.

    Attributes:
        only: axis -> values; other trials are left for later.
        limit: at most so many trials.
        retry: statuses whose trials run again.
        backend: "ray" or "serial".
        address: Ray cluster, "local" for one of our own.
        dashboard: show Ray's dashboard on loopback.
        debug: stop in the debugger where a trial fails (serial only).
        file: the sweep file, for messages.
        shard: the part of the sweep that runs, in a run directory of its own; None for all of it.
        spent: filled by `run_sweep` with `retry` once those rows are gone: whoever goes on would lose by it
            what has run again since.
    """

    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limit: int | None = None
    retry: Sequence[str] = ()
    backend: Literal["ray", "serial"] = "ray"
    address: str = "local"
    dashboard: bool = False
    debug: bool = False
    file: Path | str = "sweep file"
    shard: Shard | None = None
    spent: list[str] = field(default_factory=list)


def plan_sweep(config: SweepConfig, options: Options) -> Plan:
    """What a sweep consists of and what is left of it; nothing is started or written.

    Raises:
        HarnessError: the sweep itself would refuse to start.
    """
    run = run_directory(config, options)
    stands = standing(run)
    check_mendable(stands.damage)
    notes = [f"{error}: the sweep sets it aside" for error in stands.damage]
    found = expanded(config, options.file)
    planned, only = _wanted(found, config, options)
    beside = known(run, options.shard, [trial for trial, _ in planned])
    plan = make_plan(
        planned,
        {**stands.statuses, **beside.statuses},
        retry=options.retry,
        only=only,
        limit=options.limit,
        unit_trials=config.unit_trials,
    )
    notes += [*lacking_notes(run, stands.lacking), *beside.notes]
    return replace(plan, notes=(*found.notes, *notes))


def run_sweep(config: SweepConfig, options: Options, console: Console) -> bool:
    """Run what is missing; whether every planned trial is ok or skipped afterwards.

    Raises:
        HarnessError: nothing was started, or nothing can be written any more.
        KeyboardInterrupt: what was finished is kept.
    """
    run = run_directory(config, options)
    # outside the lock: it reads the whole data set, and a refused file must leave no folder behind
    found = expanded(config, options.file)
    planned, only = _wanted(found, config, options)
    with locked(run):
        rotate(run)
        for note in (*mend(run), *take_over(run, options.shard, [trial for trial, _ in planned])):
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        # inside it: until now another driver may have added rows
        plan = make_plan(
            planned,
            statuses(run),
            retry=options.retry,
            only=only,
            limit=options.limit,
            unit_trials=config.unit_trials,
        )
        own = config.model_copy(update={"out": run})
        describe_run(run, own, plan)
        for note in found.notes:
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        console.print(headline(plan, run), highlight=False)
        progress = Progress((*plan.remaining, *plan.skipped), console)
        try:
            _run(plan, own, options, progress)
        finally:
            # also after Ctrl-C or a full disk: what was reached is said
            _sum_up(plan, run, progress, console)
    if options.shard:
        hand_in(options.shard, config, [trial for trial, _ in found.trials], console)
    return all(status in FINE for status in _final(plan, run).values())


def run_directory(config: SweepConfig, options: Options) -> Path:
    """Where results go: the sweep's own folder, or that of its shard."""
    return options.shard.folder if options.shard else config.run_directory


def _wanted(
    found: Expansion, config: SweepConfig, options: Options
) -> tuple[Sequence[Planned], Mapping[str, Sequence[str]]]:
    """The trials of this process, and which of them `--only` still has to choose."""
    if options.shard is None:
        return found.trials, options.only
    # chosen before they are dealt out: a shard need not have every value that the sweep has
    return options.shard.part(chosen(found.trials, options.only), config.unit_trials), {}


def _run(plan: Plan, config: SweepConfig, options: Options, progress: Progress) -> None:
    setting = _setting(config, plan.remaining)
    if options.backend == "ray":  # workers may stand on other nodes
        methods = sorted({trial.method for trial in plan.remaining})
        setting = replace(setting, expected=shown(methods, setting.job.metrics))
    if not config.keep_checkpoints:
        _tidy(plan, setting.scratch)
    shutil.rmtree(_tune(setting), ignore_errors=True)  # a driver that was killed leaves it
    if not plan.units and not plan.skipped:
        return
    wanting = {trial.id for unit in plan.units if unit.resources.gpus for trial in unit.trials}
    ledger = Ledger(config.run_directory, wanting)
    try:
        # before anything runs: a retry that is interrupted leaves a missing row, not the old one
        ledger.forget([t.id for t in (*plan.remaining, *plan.skipped)])
        options.spent.extend(options.retry)
        for trial in plan.skipped:
            ledger.finished(ended(trial, setting.job, Status.SKIPPED, trial.reason or ""))
        with progress.shown(ledger) as watch:
            _execute(plan, setting, ledger, watch, options, config)
    finally:
        ledger.close()


def _tidy(plan: Plan, scratch: Path) -> None:
    """Remove what trials that are ok have left: their process was killed, or checkpoints were to be kept."""
    for folder in scratch.iterdir() if scratch.is_dir() else ():
        if plan.done.get(folder.name) == Status.OK:
            tidied(folder)


def _execute(
    plan: Plan,
    setting: Setting,
    ledger: Ledger,
    watch: Callable[[], None],
    options: Options,
    config: SweepConfig,
) -> None:
    if not plan.units:
        return
    if options.backend == "serial":
        run_serial(plan.units, setting, ledger, watch, debug=options.debug)
        return
    from sweeps.ray.backend import Cluster, run_ray  # Ray is imported when it is needed

    cluster = Cluster(options.address, options.dashboard)
    # after the import, which gives Ray's loggers handlers of their own
    with logged(config.run_directory), put(setting.store, config.run_directory) as sign:
        signed = replace(setting, sign=sign)
        run_ray(plan.units, signed, ledger, watch, _tune(setting), cluster, config.unit_trials)


def _tune(setting: Setting) -> Path:
    """The folder of Ray Tune's own files."""
    return setting.scratch.with_name(".tune")


def _setting(config: SweepConfig, trials: Sequence[Trial]) -> Setting:
    return Setting(
        source=Source.of(config.dataset),
        job=Job(sweep=config.name, metrics=tuple(config.metrics), keep_maps=config.keep_maps),
        store=config.cache.path,
        store_gib=config.cache.limit_gib,
        scratch=config.run_directory / "scratch",
        keep_checkpoints=config.keep_checkpoints,
        sizes=Setting.sizes_of(trials),
        reads=Setting.reads_of(trials),
    )


def headline(plan: Plan, run: Path) -> str:
    """One line: what is planned, done and left."""
    # not the number of units: they are cut while they run, by the slots that there are
    stacks = [len(unit.trials) for unit in plan.units if unit.together]
    together = f", {sum(stacks)} of them trained together in {len(stacks)} stacks" if stacks else ""
    return (
        f"{len(plan.trials)} trials planned, {len(plan.done)} already there, {len(plan.skipped)} to skip, "
        f"{len(plan.remaining)} to run{together} → {run}"
    )


def _final(plan: Plan, run: Path) -> dict[str, str]:
    """trial_id -> status of every planned trial; "missing" where there is no row."""
    found = statuses(run)
    return {trial.id: found.get(trial.id, "missing") for trial in plan.trials}


def _sum_up(plan: Plan, run: Path, progress: Progress, console: Console) -> None:
    # counted in the files, not in this process: they are what a report will see
    final = list(_final(plan, run).values())
    counts = {status: final.count(status) for status in sorted(set(final))}
    console.print(f"{run}: " + ", ".join(f"{n} {status}" for status, n in counts.items()), highlight=False)
    ended = failure_lines(progress.failures) + broken_lines(progress.broken)
    for line in ended + note_lines([*progress.notes]):
        console.print(f"  {line}", highlight=False, markup=False)
    # missing trials run without being asked for, so --retry does not name them
    bad = [s for s in counts if s not in FINE and s != "missing"]
    if bad:
        console.print(f"  run those again: the same command with --retry {','.join(bad)}", highlight=False)
    if counts.get("missing"):
        console.print("  run the missing ones: the same command again", highlight=False)
    if (run / LOG).exists():
        console.print(f"  what Ray and the nodes said: {run / LOG}", highlight=False, soft_wrap=True)


def describe(plan: Plan, run: Path, console: Console) -> None:
    """The table of `--dry-run`: trials by method and shots, done and left."""
    table = Table(title=f"{run}", title_justify="left")
    for name in ("method", "shots", "trials", "done", "skipped", "to run"):
        table.add_column(name, justify="left" if name == "method" else "right")
    # sets: with 20,000 trials a list would be searched for every line of the table
    remaining, skipped = {t.id for t in plan.remaining}, {t.id for t in plan.skipped}
    for method, shots in sorted({(t.method, _shots(t)) for t in plan.trials}):
        group = [t for t in plan.trials if (t.method, _shots(t)) == (method, shots)]
        counts = [sum(t.id in ids for t in group) for ids in (plan.done, skipped, remaining)]
        table.add_row(method, shots, str(len(group)), *map(str, counts))
    console.print(table)
    for reason in sorted({t.reason or "" for t in plan.skipped}):
        console.print(f"  skipped: {reason}", highlight=False, markup=False)
    for note in plan.notes:
        console.print(f"  {note}", highlight=False, markup=False, soft_wrap=True)
    console.print(headline(plan, run), highlight=False)
    console.print(_unique_work(plan), highlight=False)


def _shots(trial: Trial) -> str:
    return {None: "full", 0: "any"}.get(trial.shots, str(trial.shots))


def _unique_work(plan: Plan) -> str:
    """How much of the work of what is left is shared."""
    supports = {(t.dataset, t.category, name) for t in plan.remaining for name in t.support}
    asked = sum(len(t.support) for t in plan.remaining)
    categories = {t.category for t in plan.remaining}
    return (
        f"unique work: {len(supports)} distinct support images for {asked} in all, "
        f"test and validation images of {len(categories)} categories once each"
    )
