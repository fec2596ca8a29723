"""Ray Tune as the executor of work units. It is never asked what has been done: the run directory knows."""

import logging
import os
import pickle
import shutil
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing about a lab leaves it
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would resolve the environment again in every worker
    "RAY_AIR_NEW_OUTPUT": "0",  # hundreds of lines for twenty trials, also where verbose is 0
    "RAY_ENABLE_AUTO_CONNECT": "0",  # Tune's thread, interrupted, would start another cluster
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean the folder that the sweep was started in
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without GPUs sees none
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files per unit, and 0.7 MB of driver memory
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # what failed is a row, and summed up at the end
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",  # nobody reads its snapshots; they cost more the more units
    "TUNE_FORCE_TRIAL_CLEANUP_S": "30",  # a supervisor that does not end is killed, not waited for
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would end the experiment as if all were done
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)  # read by Ray while it is imported

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from harness.errors import ConfigError, ResultsError  # noqa: E402
from harness.method import Resources  # noqa: E402
from harness.run import ended  # noqa: E402
from harness.trial import Status, Trial  # noqa: E402
from sweeps.ledger import Ledger  # noqa: E402
from sweeps.plan import WorkUnit  # noqa: E402
from sweeps.ray_worker import Supervisor  # noqa: E402
from sweeps.token import close_token  # noqa: E402
from sweeps.worker import Setting  # noqa: E402

WAVE = 500  # units given to Tune at a time: its cost per unit grows with their number
LOSSES = 3  # a trial that was under way so often when its node, or Tune, was lost is given up
BARREN_ROUNDS = 3  # so often Tune may come back without a single trial ended
POLL_SECONDS = 0.5
CARD_SECONDS = 120  # torch, CUDA and its kernels are loaded from a network disk


@final
@dataclass(frozen=True)
class Cluster:
    """Where to run.

    Attributes:
        address: "local" for a cluster of this process alone, else as in `ray.init`.
        dashboard: show Ray's dashboard, on this machine's loopback only.
    """

    address: str = "local"
    dashboard: bool = False


def run_ray(
    units: Sequence[WorkUnit],
    setting: Setting,
    ledger: Ledger,
    watch: Callable[[], None],
    scratch: Path,
    cluster: Cluster,
) -> None:
    """Run every trial of every unit on a Ray cluster.

    Results come back to this process, which alone writes: no shared file system is needed for them, and
    no actor whose death would lose them.

    Args:
        units: what to run.
        setting: what the trials share.
        ledger: where results go.
        watch: called about twice a second in the calling thread.
        scratch: a folder for Tune's own files, removed afterwards.
        cluster: where.

    Raises:
        ConfigError: the cluster cannot be reached or has not what the trials ask for.
        ResultsError: results cannot be written any more.
        KeyboardInterrupt: what was finished is kept.
    """
    with _connected(cluster):
        if any(unit.resources.gpus for unit in units):
            _check_cards()
        try:
            _Rounds([_fit(unit) for unit in units], setting, ledger, watch, scratch).run()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    warnings.filterwarnings("ignore", module="ray")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    # what workers print would run through the table of progress
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    # only of a cluster of our own: Ray refuses these for one that it joins
    if cluster.address == "local":
        # GPUs are left to Ray, which asks the driver and obeys CUDA_VISIBLE_DEVICES: naming more is an error
        options |= {"num_cpus": os.cpu_count()}
        options |= {"include_dashboard": cluster.dashboard, "dashboard_host": "127.0.0.1"}
    try:
        ray.init(address=cluster.address, **options)
    except Exception as error:  # plain ones too: a node that does not come up in time
        raise ConfigError(f"--address {cluster.address}: {' '.join(str(error).split())}") from error
    if cluster.address == "local":
        close_token()  # after init: that is what writes it
    try:
        yield
    finally:
        ray.shutdown()


def _check_cards() -> None:
    """One use of a card on every node that has some: a fault is one sentence now, not N failed rows later.

    Raises:
        ConfigError: names the nodes and what to mend.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    asked = {node["NodeManagerHostname"]: _use_of(node) for node in nodes}
    faults = [f"{host}: {said[0]}; {said[1]}" for host, job in asked.items() if (said := _said(job))]
    if faults:
        raise ConfigError([*faults, "or run without: resources: {gpus: 0}"])


def _use_of(node: dict[str, Any]) -> Any:
    place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    # the smallest share: it has to get in beside what others of this cluster run
    return ray.remote(_first_use).options(scheduling_strategy=place, num_cpus=0, num_gpus=0.01).remote()


def _first_use() -> tuple[str, str] | None:
    from sweeps.doctor.numerics import fault_of

    return fault_of("cuda:0")


def _said(job: Any) -> tuple[str, str] | None:
    try:
        return ray.get(job, timeout=CARD_SECONDS)
    except Exception as error:  # noqa: BLE001 - a process that dies or hangs at its first use is a fault too
        return (
            f"the first use of a card failed ({type(error).__name__})",
            "try `python -m harness.doctor` there",
        )


def _fit(unit: WorkUnit) -> WorkUnit:
    """A unit with what this cluster can give: no GPU where there is none, no more cores than a node has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    # of one node, not of all: a trial cannot lie across two
    cpus = max(node.get("CPU", 0) for node in nodes)
    gpus = max(node.get("GPU", 0) for node in nodes)
    wanted = unit.resources
    if gpus and wanted.gpus > gpus:
        raise ConfigError(f"{unit.trials[0].method}: asks for {wanted.gpus:g} GPUs, a node has {gpus:g}")
    return replace(
        unit, resources=replace(wanted, cpus=min(wanted.cpus, cpus), gpus=wanted.gpus if gpus else 0.0)
    )


@final
class _Rounds:
    """Submits what is missing until nothing is; Tune itself may die on the way."""

    def __init__(
        self,
        units: Sequence[WorkUnit],
        setting: Setting,
        ledger: Ledger,
        watch: Callable[[], None],
        scratch: Path,
    ):
        self.units, self.setting, self.ledger = list(units), setting, ledger
        self.watch, self.scratch = watch, scratch
        self.losses: Counter[str] = Counter()

    def run(self) -> None:
        barren = 0
        while self.units:
            before = len(self.ledger.ended_ids)
            # what a wave leaves undone is not tried at once: other units come first
            for start in range(0, len(self.units), WAVE):
                self._wave(self.units[start : start + WAVE])
            barren = barren + 1 if len(self.ledger.ended_ids) == before else 0
            self._give_up(everything=barren >= BARREN_ROUNDS)
            self.units = [u for unit in self.units if (u := self._missing(unit)).trials]

    def _wave(self, units: Sequence[WorkUnit]) -> None:
        """One Tune experiment, in a thread: this thread watches and can be interrupted."""
        recorder = _Recorder({unit.id: unit for unit in units}, self.ledger)
        tuner = _tuner(recorder, self.setting, self.scratch)
        # daemon: Ctrl-C need not wait until Tune comes back
        thread = threading.Thread(target=_fit_quietly, args=(tuner,), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            self.watch()
            # raised here: what a callback raises ends in Tune's log
            if self.ledger.fatal:
                raise ResultsError(self.ledger.fatal)
        # Tune is gone, so that whatever still counts as running was lost with it
        self.losses.update(self.ledger.interrupted())

    def _missing(self, unit: WorkUnit) -> WorkUnit:
        return replace(unit, trials=tuple(t for t in unit.trials if t.id not in self.ledger.ended_ids))

    def _give_up(self, everything: bool) -> None:
        """Rows for trials of which nothing is ever heard again."""
        for unit in self.units:
            for trial in self._missing(unit).trials:
                if everything or self.losses[trial.id] >= LOSSES:
                    self._lost(trial, unit)

    def _lost(self, trial: Trial, unit: WorkUnit) -> None:
        job = replace(self.setting.job, attempt=self.losses[trial.id], unit=unit.id)
        reason = f"started {self.losses[trial.id]} times, each time its node or its supervisor was lost"
        self.ledger.finished(ended(trial, job, Status.LOST, reason))


@final
class _Recorder(tune.Callback):
    """Takes results out of Tune's hands and into the ledger, before Tune goes on."""

    def __init__(self, units: dict[str, WorkUnit], ledger: Ledger):
        self.units, self.ledger = units, ledger

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune writes a pickle of its callbacks that nobody reads; the ledger stays out of it."""
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        # of a unit only its first trial: the next one begins when its predecessor has reported
        self._started(self.units[trial.config["unit"]], 0)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.ledger.finished(pickle.loads(result["row"]))  # noqa: S301 - from our own worker
        self._started(self.units[trial.config["unit"]], result["training_iteration"])

    def _started(self, unit: WorkUnit, number: int) -> None:
        if number < len(unit.trials):
            self.ledger.started(unit.trials[number].id)


def _fit_quietly(tuner: tune.Tuner) -> None:
    try:
        tuner.fit()
    except Exception as error:  # noqa: BLE001 - Tune may die (a memory-monitor kill ends it); we go on
        logging.getLogger(__name__).debug("tune ended early: %s", error)


def _tuner(recorder: _Recorder, setting: Setting, scratch: Path) -> tune.Tuner:
    trainable = tune.with_parameters(Supervisor, units=recorder.units, setting=setting)
    # the trainable asks for resources by unit: a sweep may mix quarter and whole GPUs
    bundles = {unit.id: _bundles(unit.resources) for unit in recorder.units.values()}
    return tune.Tuner(
        tune.with_resources(trainable, lambda config: bundles[config["unit"]]),
        # ids alone: every byte of a configuration is kept some eight times over in Tune's state
        param_space={"unit": tune.grid_search(list(bundles))},
        tune_config=tune.TuneConfig(
            reuse_actors=True,  # 30 ms for a unit; a fresh process costs 1–2 s of CPU, with torch 2–4
            # the default writes parameters into names of folders
            trial_name_creator=lambda trial: trial.config["unit"],
            trial_dirname_creator=lambda trial: trial.config["unit"],
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            name="wave",
            verbose=0,
            callbacks=[recorder],
            # a checkpoint would want a disk that all nodes share, even an empty one
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            # Tune would begin a unit again at its first trial; the rounds submit what is missing
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )


def _bundles(resources: Resources) -> tune.PlacementGroupFactory:
    """A byte of memory for the supervisor, so that it takes no core away; the rest for the worker."""
    return tune.PlacementGroupFactory(
        [{"memory": 1}, {"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus else {})}]
    )
