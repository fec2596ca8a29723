"""Whether every trial of a sweep file can run here, how many at once, and how long it will take."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.config import SweepConfig, load
from harness.errors import HarnessError
from harness.inspection.state import state_of
from harness.method import Resources
from harness.results.plain import duration
from sweeps.doctor.finding import Finding, amber, green, red
from sweeps.drive import Options, plan_sweep
from sweeps.plan import Plan


def planned(path: Path, cores: int, gpus: int) -> Iterator[Finding]:
    """Findings for a sweep file: its problems, or per method what runs, how much at a time, how long.

    Args:
        path: the sweep file.
        cores: of this machine.
        gpus: of this machine.
    """
    try:
        config = load(path)
        plan = plan_sweep(config, Options())
    except HarnessError as error:
        for n, line in enumerate(str(error).splitlines()):
            yield red("sweep", f"problem {n + 1}", line.strip(), f"mend {path}")
        return
    yield green("sweep", "plan", f"{config.name}: {len(plan.trials)} trials, {len(plan.done)} done, "
                f"{len(plan.skipped)} to skip, {len(plan.remaining)} to run")  # fmt: skip
    for reason in dict.fromkeys(trial.reason or "" for trial in plan.skipped):
        yield amber("sweep", "skipped", reason, "give what is missing, or leave that method out")
    for method in dict.fromkeys(trial.method for trial in plan.remaining):
        yield _room(method, _resources(plan, method), cores, gpus)
    yield _time(config, plan)


def _resources(plan: Plan, method: str) -> Sequence[Resources]:
    return [unit.resources for unit in plan.units if unit.trials[0].method == method]


def _room(method: str, asked: Sequence[Resources], cores: int, gpus: int) -> Finding:
    cpus, share = max(r.cpus for r in asked), max(r.gpus for r in asked)
    if cpus > cores:
        said = f"{method} asks for {cpus:g} cpus, this machine has {cores}: it gets {cores}"
        return amber("sweep", method, said, f"resources: {{cpus: {cores}}}", at_once=1)
    if share and not gpus:
        said = f"{method} asks for {share:g} of a GPU and there is none here: it runs on the CPU"
        return amber("sweep", method, said, "nothing, if that is meant", at_once=int(cores // cpus))
    if share > gpus:
        return red(
            "sweep", method, f"{method} asks for {share:g} GPUs, there are {gpus}", "resources: {gpus: …}"
        )
    rooms = [cores // cpus, *([gpus // share if share >= 1 else gpus * int(1 / share)] if share else [])]
    return green("sweep", method, f"{method}: {int(min(rooms))} trials at a time", at_once=int(min(rooms)))


def _time(config: SweepConfig, plan: Plan) -> Finding:
    if not plan.remaining:
        return green("sweep", "time", "nothing is left to run")
    seconds = _known(config.run_directory)
    unknown = sorted({t.method for t in plan.remaining} - seconds.keys())
    if unknown:
        said = f"how long it takes is not known of: {', '.join(unknown)}"
        return amber("sweep", "time", said, "run one of each: --limit 1 --only method=…; then ask again")
    total = sum(seconds[t.method] for t in plan.remaining)
    return green(
        "sweep", "time", f"about {duration(total)} of work, one trial after the other", seconds=round(total)
    )


def _known(run: Path) -> dict[str, float]:
    """Method -> mean seconds of its trials that have ended in this run."""
    try:
        return dict(state_of(run).seconds)
    except HarnessError:  # there is no such run yet
        return {}
