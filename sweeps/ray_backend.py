"""Ray Tune as the executor of work units. It is never asked what has been done: the run directory knows."""

import logging
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would resolve the environment again in every worker
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without GPUs sees none
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "30",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
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
from sweeps.ledger import Ledger, News  # noqa: E402
from sweeps.plan import WorkUnit  # noqa: E402
from sweeps.ray_worker import ATTEMPTS, Supervisor  # noqa: E402
from sweeps.worker import Setting, gpus_here  # noqa: E402

WAVE = 500  # units given to Tune at a time: its cost per unit grows with their number
BARREN_ROUNDS = 3  # so often Tune may come back without a single trial ended
POLL_SECONDS = 0.5


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
    run: Path,
    watch: Callable[[News], None],
    cluster: Cluster = Cluster(),  # noqa: B008 - frozen
    forget: Sequence[str] = (),
) -> None:
    """Run every trial of every unit on a Ray cluster.

    Args:
        units: what to run.
        setting: what the trials share.
        run: the run directory; the caller holds its lock.
        watch: is told the news about twice a second, in the calling thread.
        cluster: where.
        forget: rows that are to be replaced.

    Raises:
        ConfigError: the cluster cannot be reached or has not what the trials ask for.
        ResultsError: results cannot be written any more.
        KeyboardInterrupt: what was finished is kept.
    """
    with _connected(cluster):
        fitted = [_fit(unit) for unit in units]
        ledger = _ledger(run)
        try:
            ray.get(ledger.forget.remote(list(forget)))
            _rounds(fitted, setting, run, ledger, _Watcher(ledger, watch))
        finally:
            _close(ledger)
            shutil.rmtree(run / ".tune", ignore_errors=True)


@contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    warnings.filterwarnings("ignore", module="ray")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    local: dict[str, Any] = {}
    if cluster.address == "local":
        local = {"num_cpus": os.cpu_count(), "num_gpus": gpus_here(), "include_dashboard": cluster.dashboard}
        local["dashboard_host"] = "127.0.0.1"
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error", **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--address {cluster.address}: {' '.join(str(error).split())}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _fit(unit: WorkUnit) -> WorkUnit:
    """A unit with what this cluster can give: no GPU where there is none, no more cores than a node has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = max(node.get("CPU", 0) for node in nodes)
    gpus = max(node.get("GPU", 0) for node in nodes)
    wanted = unit.resources
    if gpus and wanted.gpus > gpus:
        raise ConfigError(f"{unit.trials[0].method}: asks for {wanted.gpus:g} GPUs, a node has {gpus:g}")
    return replace(unit, resources=replace(wanted, cpus=min(wanted.cpus, cpus), gpus=wanted.gpus if gpus else 0.0))


def _ledger(run: Path) -> Any:
    """The ledger as an actor beside the driver: results need no shared file system."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=here, max_concurrency=8).remote(run)


def _close(ledger: Any) -> None:
    try:
        ray.get(ledger.close.remote(), timeout=60)
    except ray.exceptions.RayTaskError as error:
        raise ResultsError(str(error.cause)) from error


@final
class _Watcher:
    """Passes news on, and stops the sweep when nothing can be written any more."""

    def __init__(self, ledger: Any, tell: Callable[[News], None]):
        self.ledger, self.tell, self.seen = ledger, tell, 0

    def look(self) -> None:
        news: News = ray.get(self.ledger.news.remote(self.seen))
        self.seen += len(news.ended)
        self.tell(news)
        if news.fatal:
            raise ResultsError(news.fatal)


def _rounds(units: Sequence[WorkUnit], setting: Setting, run: Path, ledger: Any, watcher: _Watcher) -> None:
    """Submit what is missing until nothing is; Tune itself may die on the way."""
    left, ended_ids, barren = list(units), set[str](), 0
    while left:
        before = len(ended_ids)
        for start in range(0, len(left), WAVE):
            _wave(left[start : start + WAVE], setting, run, ledger, watcher)
        ended_ids |= {row["trial_id"] for row in ray.get(ledger.news.remote(0)).ended}
        barren = barren + 1 if len(ended_ids) == before else 0
        _give_up(left, ended_ids, setting, ledger, everything=barren >= BARREN_ROUNDS)
        watcher.look()
        left = [u for unit in left if (u := _without(unit, ended_ids)).trials]


def _without(unit: WorkUnit, ended_ids: set[str]) -> WorkUnit:
    return replace(unit, trials=tuple(t for t in unit.trials if t.id not in ended_ids))


def _give_up(
    units: Sequence[WorkUnit], ended_ids: set[str], setting: Setting, ledger: Any, everything: bool
) -> None:
    """Rows for trials whose every attempt ended without a word: their node, or Tune, was lost."""
    attempts = ray.get(ledger.attempts.remote())
    for unit in units:
        for trial in unit.trials:
            if trial.id not in ended_ids and (everything or attempts.get(trial.id, 0) >= ATTEMPTS):
                _lost(trial, unit, setting, ledger, attempts.get(trial.id, 0))
                ended_ids.add(trial.id)


def _lost(trial: Trial, unit: WorkUnit, setting: Setting, ledger: Any, attempt: int) -> None:
    job = replace(setting.job, attempt=attempt, unit=unit.id)
    reason = f"started {attempt} times and never heard of again"
    ray.get(ledger.finished.remote(ended(trial, job, Status.LOST, reason)))


def _wave(units: Sequence[WorkUnit], setting: Setting, run: Path, ledger: Any, watcher: _Watcher) -> None:
    """One Tune experiment, in a thread: the main thread watches and can be interrupted."""
    tuner = _tuner(units, setting, run, ledger)
    thread = threading.Thread(target=_fit_quietly, args=(tuner,), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_SECONDS)
        watcher.look()


def _fit_quietly(tuner: tune.Tuner) -> None:
    try:
        tuner.fit()
    except Exception as error:  # noqa: BLE001 - Tune may die (a memory-monitor kill ends it); we go on
        logging.getLogger(__name__).debug("tune ended early: %s", error)


def _tuner(units: Sequence[WorkUnit], setting: Setting, run: Path, ledger: Any) -> tune.Tuner:
    by_id = {unit.id: unit for unit in units}
    trainable = tune.with_parameters(Supervisor, units=by_id, setting=setting, ledger=ledger)
    return tune.Tuner(
        tune.with_resources(trainable, lambda config: _bundles(by_id[config["unit"]].resources)),
        param_space={"unit": tune.grid_search(list(by_id))},
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.config["unit"],
            trial_dirname_creator=lambda trial: trial.config["unit"],
        ),
        run_config=tune.RunConfig(
            storage_path=str(run / ".tune"),
            name="wave",
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )


def _bundles(resources: Resources) -> tune.PlacementGroupFactory:
    """A byte of memory for the supervisor, so that it takes no core away; the rest for the worker."""
    return tune.PlacementGroupFactory(
        [{"memory": 1}, {"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus else {})}]
    )
