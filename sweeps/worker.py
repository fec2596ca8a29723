"""A trial inside the process that runs it: everything is built here from names."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import takewhile
from pathlib import Path
from typing import final

from threadpoolctl import ThreadpoolController

from harness import gpu
from harness.artifacts import ArtifactStore
from harness.data import Split
from harness.method import Context, Method, Resources, Size
from harness.provenance import thread_count
from harness.rows import Job
from harness.run import Scored, measured, scored
from harness.source import Source, Splits
from harness.trial import Status, Trial, TrialResult
from methods import METHODS
from methods.shared.onepass import shared
from methods.shared.pixels import working
from sweeps.handshake import Answer, Shown, answer, refused
from sweeps.sign import Sign

CURVES = ".csv"  # loss curves in a scratch folder


@final
@dataclass(frozen=True)
class Setting:
    """What all trials of a sweep share; plain data, sent to every worker once.

    Attributes:
        source: the data set.
        job: metrics and name of the sweep.
        store: folder of the artifact store, None to keep nothing.
        store_gib: its limit.
        scratch: folder for checkpoints of unfinished trials, one sub-folder per trial.
        keep_checkpoints: leave them there when a trial is ok.
        sizes: category -> sizes at which its images are wanted, by whatever trial.
        reads: pass of a network -> what is wanted of it, by whatever trial.
        expected: what the planner has, for workers that may stand elsewhere; None where it runs them itself.
        sign: of the driver in the store, for the same ones.
    """

    source: Source
    job: Job
    store: Path | None
    store_gib: float
    scratch: Path
    keep_checkpoints: bool = False
    sizes: Mapping[str, tuple[Size, ...]] = field(default_factory=dict)
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expected: Shown | None = None
    sign: Sign | None = None

    @staticmethod
    def sizes_of(trials: Iterable[Trial]) -> Mapping[str, tuple[Size, ...]]:
        """What trials want images for, by category."""
        found: dict[str, dict[Size, None]] = {}
        for trial in trials:
            found.setdefault(trial.category, {}).update(dict.fromkeys(trial.sizes))
        return {category: tuple(sizes) for category, sizes in found.items()}

    @staticmethod
    def reads_of(trials: Iterable[Trial]) -> Mapping[str, tuple[str, ...]]:
        """What trials read of passes, by pass."""
        found: dict[str, dict[str, None]] = {}
        for each in {trial.reads for trial in trials}:
            for of, name in each:
                found.setdefault(of, {})[name] = None
        return {of: tuple(sorted(names)) for of, names in found.items()}


def execute(
    trial: Trial,
    setting: Setting,
    resources: Resources,
    *,
    attempt: int = 1,
    unit: str = "",
    on_failure: Callable[[Exception], None] | None = None,
) -> TrialResult:
    """Run one trial in this process; its row in any case.

    Args:
        trial: what to run.
        setting: what all trials of the sweep share.
        resources: what this process was given: cores become threads, any share of a GPU is cuda:0.
        attempt: 1 for the first; provenance.
        unit: work unit that the trial belongs to; provenance.
        on_failure: sees the exception of a failed trial while its frames are alive.
    """
    done = score(trial, setting, resources, attempt=attempt, unit=unit, on_failure=on_failure)
    return measure(trial, done, setting, resources, on_failure)


def score(
    trial: Trial,
    setting: Setting,
    resources: Resources,
    *,
    attempt: int = 1,
    unit: str = "",
    on_failure: Callable[[Exception], None] | None = None,
) -> Scored:
    """The part of a trial that needs the card, which nothing of it holds any more afterwards."""
    given = {"gpu_share": resources.gpus, "cpus": resources.cpus}
    job = replace(setting.job, attempt=attempt, unit=unit, **given)
    node = greeted(trial, setting)
    if node.problem:
        return Scored(refused(trial, job, node.problem).trial)
    done = _on_card(trial, setting, resources, job, on_failure)
    return replace(done, row={**done.row, "notes": [*done.row["notes"], *node.notes]})


def _on_card(
    trial: Trial,
    setting: Setting,
    resources: Resources,
    job: Job,
    on_failure: Callable[[Exception], None] | None,
) -> Scored:
    context = context_of(trial, setting, resources)
    with threads(resources.cpus, setting.sizes.get(trial.category, ())), shared(setting.reads):
        try:
            if resources.gpus > 0:
                gpu.fence(resources.gpus)
            return scored(trial, partial(build, trial), _split_of(trial, setting), context, job, on_failure)
        finally:
            gpu.release()


def greeted(trial: Trial, setting: Setting) -> Answer:
    """Whether this process may run a trial: what it has is held against what the planner has."""
    if setting.expected is None:
        return Answer()
    return answer(trial, setting.job.metrics, setting.source.root, setting.expected)


def measure(
    trial: Trial,
    done: Scored,
    setting: Setting,
    resources: Resources,
    on_failure: Callable[[Exception], None] | None = None,
) -> TrialResult:
    """The rest of it, in this process or in another one of the same node."""
    with threads(resources.cpus, setting.sizes.get(trial.category, ())):
        result = measured(done, _split_of(trial, setting), setting.job, on_failure)
    if result.trial["status"] == Status.OK and not setting.keep_checkpoints:
        tidied(setting.scratch / trial.id)
    return result


def _split_of(trial: Trial, setting: Setting) -> Callable[[], Split]:
    return partial(splits_of(setting.source).get, trial.category)


@contextmanager
def threads(cpus: float, sizes: Sequence[Size] = ()) -> Iterator[None]:
    """Numeric libraries and the decoding of images use as many threads as the trial has cores.

    The number of threads decides the order of sums, so that it must not depend on the backend.

    Args:
        cpus: cores.
        sizes: at which images of the category are wanted.
    """
    count = thread_count(cpus)
    os.environ["OMP_NUM_THREADS"] = str(count)  # for libraries that are loaded during the trial
    with _pools(len(sys.modules)).limit(limits=count), working(count, sizes):
        yield


# looked for anew when modules have come, and libraries with them: beside torch that takes 3 ms of every trial
@lru_cache(maxsize=1)
def _pools(modules: int) -> ThreadpoolController:
    return ThreadpoolController()


def tidied(scratch: Path) -> None:
    """Remove the checkpoints of a trial that is ok; `*.csv`, written for people, stay.

    Called in the process that wrote them: on a cluster without a shared disk nobody else could. What cannot
    be removed is left; no trial fails for it.
    """
    with suppress(OSError):
        for path in list(scratch.iterdir()) if scratch.is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix != CURVES:
                path.unlink(missing_ok=True)
        scratch.rmdir()  # fails where curves are left


def context_of(trial: Trial, setting: Setting, resources: Resources) -> Context:
    """What a trial hands to its method in this process."""
    return Context(
        run_seed=trial.run_seed or 0,
        device="cuda:0" if resources.gpus > 0 else "cpu",
        artifacts=_store(setting.store, setting.store_gib),
        scratch=setting.scratch / trial.id,
    )


def build(trial: Trial, context: Context) -> Method:
    """The method of a trial, not fitted."""
    # by name: what is sent to a worker is data, and needs no import to be unpickled
    return METHODS.load(trial.method)(context, **trial.params)


# one: its counters are those of the process, and a sweep has one store
@lru_cache(maxsize=1)
def _store(root: Path | None, limit_gib: float) -> ArtifactStore:
    return ArtifactStore(root, limit_gib)


# by repr: a source holds a mapping, which cannot be hashed
_SPLITS: dict[str, Splits] = {}


def splits_of(source: Source) -> Splits:
    """The splits of a source; read once, however many trials follow."""
    return _SPLITS.setdefault(repr(source), Splits(source))


def gpus_here() -> int:
    """NVIDIA GPUs that this process may use, without importing torch: CUDA_VISIBLE_DEVICES is obeyed.

    torch takes two seconds to import, and would touch the GPU that a worker is to have for itself.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = _cards()
    if visible is None:
        return there
    # CUDA itself stops at the first name that is none
    names = list(takewhile(lambda name: name not in ("", "-1"), (n.strip() for n in visible.split(","))))
    return len(names) if there else 0  # not the fewer of both: slices of one card (MIG) are many names


def _cards(root: Path = Path("/")) -> int:
    """Cards that can be opened. A container may see all of them in /proc and one in /dev."""
    devices = list(root.glob("dev/nvidia[0-9]*"))
    if (root / "dev/dxg").exists():  # WSL2 has one door for all cards, and no list of them
        return max(len(devices), 1)
    return len(devices) or len(list(root.glob("proc/driver/nvidia/gpus/*")))


def slots_here() -> int:
    """How many cores this process may use, for dividing the work and for a Ray of our own.

    Neither Ray nor `os.cpu_count` asks what a batch system has given to a job: it has bound the job to its
    cores, or, where it binds nothing, says how many there are.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_ON_NODE", "") if "SLURM_JOB_ID" in os.environ else ""
    return max(1, min(bound, int(given) if given.isdecimal() else bound))
