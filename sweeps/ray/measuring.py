"""Metrics of a seat with a card: computed beside the next trial, which has the card meanwhile.

Maps stay at their own low resolution where they are, in the node's memory: they outlive the process that made
them, and one that dies while it measures. What is under way is lost with the node only.
"""

import time
from dataclasses import dataclass, replace
from typing import Any, final

import ray
from ray.exceptions import RayError

from harness.run import ended
from harness.trial import Status, Trial, TrialResult
from sweeps.plan import WorkUnit
from sweeps.ray.actor import Measurer
from sweeps.ray.process import Broken, Process, broken
from sweeps.together import Together
from sweeps.worker import Setting

BEHIND = 2  # trials that may wait for their metrics: their maps stay in memory until then
ATTEMPTS = 2


@final
@dataclass
class _Task:
    """Metrics under way."""

    trial: Trial
    unit: WorkUnit
    scored: Any
    shared: Together | None
    answer: Any = None
    attempt: int = 1


@final
class Measuring:
    """Trials whose metrics are computed one after the other in a process without a card."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self._process = Process(Measurer)
        self._tasks: list[_Task] = []
        self._since = time.monotonic()  # the first of them is measured

    @property
    def ids(self) -> list[str]:
        """Of trials under way."""
        return [task.trial.id for task in self._tasks]

    def begin(self, trial: Trial, scored: Any, unit: WorkUnit, shared: Together | None) -> None:
        """Measure a trial that was scored; `scored` is Ray's reference to it."""
        task = _Task(trial, unit, scored, shared)
        if not self._tasks:
            self._since = time.monotonic()
        self._tasks.append(task)
        self._send(task)

    def ready(self) -> list[TrialResult]:
        """What has been measured; waits while more is behind than memory should hold."""
        found = []
        while self._tasks and (len(self._tasks) > BEHIND or self._is_over(self._tasks[0])):
            found += self._first()
        return found

    def rest(self) -> list[TrialResult]:
        """What has been measured, at least one where any is under way."""
        return [*(self._first() if self._tasks else ()), *self.ready()]

    def kill(self) -> None:
        """End the process."""
        self._process.kill()

    def _send(self, task: _Task) -> None:
        # the cores of its seat, which the card leaves idle: none of its own, so that it has room at once
        place = replace(task.unit.resources, cpus=0, gpus=0)
        measurer = self._process.warm(place)
        task.answer = measurer.measure.remote(task.trial, task.scored, self.setting, task.unit.resources)

    def _is_over(self, task: _Task) -> bool:
        done, _ = ray.wait([task.answer], timeout=0)
        return bool(done) or self._left(task) == 0

    def _left(self, task: _Task) -> float | None:
        minutes = task.unit.resources.timeout_minutes
        return minutes and max(self._since + minutes * 60 - time.monotonic(), 0.0)

    def _first(self) -> list[TrialResult]:
        """The result of the first task, waited for; nothing yet where it has to be done again."""
        task = self._tasks[0]
        answer = self._answer(task)
        self._since = time.monotonic()
        if isinstance(answer, Broken):
            self._process.kill()
            again = answer.status in (Status.CRASHED, Status.OOM) and task.attempt < ATTEMPTS
            self._tasks = self._tasks if again else self._tasks[1:]
            task.attempt += 1
            for left in self._tasks:  # all of them died with the process
                self._send(left)
            if again:
                return []
            job = replace(self.setting.job, attempt=ATTEMPTS, unit=task.unit.id)
            answer = ended(task.trial, job, answer.status, f"its metrics: {answer.reason}")
        else:
            self._tasks.pop(0)
        return [task.shared.told(answer) if task.shared else answer]

    def _answer(self, task: _Task) -> TrialResult | Broken:
        done, _ = ray.wait([task.answer], timeout=self._left(task))
        if not done:
            return Broken(
                Status.TIMEOUT, f"still running after {task.unit.resources.timeout_minutes:g} minutes"
            )
        try:
            return ray.get(task.answer)
        except RayError as error:
            return broken(error)
