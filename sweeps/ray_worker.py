"""The supervisor of a work unit on the cluster: it never does the work itself.

Tune schedules supervisors and reuses them. A supervisor keeps one warm worker process; whatever kills the
worker (a crash, the memory monitor, a hang that has to be killed) leaves the supervisor alive to say so
in a row.
"""

import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, final

import ray
from ray import tune
from ray.exceptions import ActorUnavailableError, GetTimeoutError, OutOfMemoryError, RayError
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from harness.run import ended
from harness.trial import Status, Trial, TrialResult
from sweeps.actor import Worker
from sweeps.plan import WorkUnit
from sweeps.together import Together
from sweeps.worker import Setting

ATTEMPTS = 2  # a trial whose process dies is given one more
AGAIN = (Status.OOM, Status.CRASHED)  # an exception would come again; these depend on the neighbours


class _Ended(NamedTuple):
    """How a worker ended that gave no answer."""

    status: Status
    reason: str


@final
class Supervisor(tune.Trainable):
    """Tune's trainable: one unit, one step per trial; a step's result carries the trial's rows.

    Where the trials of a unit train as one, the first step begins with that.
    """

    def setup(self, config: dict[str, Any], units: Any = None, setting: Any = None) -> None:
        """Take over what all units share. Must not raise: Tune would not try again."""
        self.units: Mapping[str, WorkUnit] = units
        self.setting: Setting = setting
        self.worker: Any = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Go on with another unit, the worker kept warm."""
        self.unit_id, self.next = new_config["unit"], 0
        self.shared: Together | None = None
        # False, or an exception, ends the unit in an error that Tune never retries
        return True

    def step(self) -> dict[str, Any]:
        """Run the next trial of the unit."""
        unit = self.units[self.unit_id]
        if unit.together and self.next == 0:
            self.shared = self._train(unit)
        result = self._run(unit.trials[self.next], unit)
        result = self.shared.told(result) if self.shared else result
        self.next += 1
        # packed: of every number that Tune sees it keeps four statistics and two histories
        return {"row": pickle.dumps(result), "done": self.next == len(unit.trials)}

    def cleanup(self) -> None:
        """Let go of the worker."""
        self._kill()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to keep: results are in the run directory."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing was kept."""

    def _train(self, unit: WorkUnit) -> Together:
        """The training of a unit; broken off, it leaves the trials to train themselves in a new process."""
        began, minutes = time.monotonic(), unit.resources.timeout_minutes
        # together they may take as long as one after the other
        limit = minutes and minutes * len(unit.trials)
        ask = partial(self._ask, unit, limit, lambda worker: worker.train.remote(unit, self.setting))
        answer = ask()
        if isinstance(answer, _Ended) and answer.status == Status.CRASHED:
            answer = ask()  # goes on at its checkpoint
        seconds = time.monotonic() - began
        if isinstance(answer, _Ended):
            return Together(len(unit.trials), seconds, f"{answer.status}: {answer.reason}")
        # what a broken training left on the GPU would count against the first trial
        if answer.error:
            self._kill()
        return replace(answer, seconds=seconds)

    def _run(self, trial: Trial, unit: WorkUnit) -> TrialResult:
        attempt, result = 1, self._attempt(trial, unit, 1)
        while result.trial["status"] in AGAIN and attempt < ATTEMPTS:
            attempt, result = attempt + 1, self._attempt(trial, unit, attempt + 1)
        return result

    def _attempt(self, trial: Trial, unit: WorkUnit, attempt: int) -> TrialResult:
        result = self._ask(
            unit,
            unit.resources.timeout_minutes,
            lambda worker: worker.run.remote(trial, self.setting, unit.resources, attempt, unit.id),
        )
        if isinstance(result, _Ended):
            job = replace(self.setting.job, attempt=attempt, unit=unit.id)
            return ended(trial, job, result.status, result.reason)
        # after these nothing else runs in the same process; after other exceptions it stays warm
        if result.trial["status"] in AGAIN:
            self._kill()
        return result

    def _ask(self, unit: WorkUnit, minutes: float | None, question: Callable[[Any], Any]) -> Any:
        """What the worker answers; or `_Ended`, and there is no worker any more."""
        try:
            return ray.get(question(self._warm(unit)), timeout=minutes and minutes * 60)
        except GetTimeoutError:
            self._kill()
            return _Ended(Status.TIMEOUT, f"still running after {minutes:g} minutes")
        except RayError as error:
            self._kill()
            # an exception ends the unit for Tune, without a row: the trial is not to blame
            if (status := _cause(error)) == Status.LOST:
                raise ConnectionError(
                    "the node of this unit is gone; the driver submits it elsewhere"
                ) from error
            # Ray's text may hold a whole log; a row is none
            return _Ended(status, " ".join(str(error).split())[:2000])

    def _warm(self, unit: WorkUnit) -> Any:
        """The worker process, started if there is none; its start does not count as the trial's time."""
        if self.worker is None:
            # a process of its own, so that a crash, a hang in C or Ray's memory monitor takes it alone: where
            # the monitor kills a trial of Tune itself, the whole experiment ends
            group = get_current_placement_group()
            assert group is not None, "Tune starts a supervisor in the placement group of its unit"
            # bundle 0 is the supervisor's own
            place = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=1)
            wanted = {"num_cpus": unit.resources.cpus, "num_gpus": unit.resources.gpus, "max_restarts": 0}
            # wrapped here, not decorated there: what the worker imports leaves out Tune (1 s a process)
            remote: Any = ray.remote(Worker)
            self.worker = remote.options(scheduling_strategy=place, **wanted).remote()
            ray.get(self.worker.ready.remote())
        return self.worker

    def _kill(self) -> None:
        if self.worker is not None:
            ray.kill(self.worker)
            self.worker = None
            time.sleep(0.1)  # the dying process gives its share of the bundle back


def _cause(error: RayError) -> Status:
    """What ended a worker that nobody asked to end.

    Ray's text for any dead process speaks of memory and nodes as possible causes; only the phrases that
    it uses when it knows are believed.
    """
    text = str(error)
    if isinstance(error, OutOfMemoryError) or "running low on memory" in text:
        return Status.OOM
    if isinstance(error, ActorUnavailableError) or "its node has died" in text:
        return Status.LOST
    return Status.CRASHED
