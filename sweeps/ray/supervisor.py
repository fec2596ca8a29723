"""The supervisor of a seat on the cluster: it never does the work itself.

It keeps one warm worker process, and beside a card a second one for metrics; whatever kills one of them
(a crash, the memory monitor, a hang that has to be killed) leaves the supervisor alive to say so in a row.
"""

import pickle
import time
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, final

from ray import tune

from harness.run import ended
from harness.trial import Status, Trial, TrialResult
from sweeps.plan import WorkUnit
from sweeps.ray.actor import Worker
from sweeps.ray.measuring import Measuring
from sweeps.ray.process import Broken, Process
from sweeps.together import Together
from sweeps.worker import Setting

CARD_SECONDS = 120  # of a card
ATTEMPTS = 2  # a trial whose process dies is given one more
FAULTS = 3  # trials in a row that take their worker with them: the card is tried
AGAIN = (Status.OOM, Status.CRASHED)  # an exception would come again; these depend on the neighbours


class Heard(NamedTuple):
    """What a step of a seat tells the driver.

    Attributes:
        results: trials that have ended.
        through: the unit needs the worker no more.
        measuring: ids of trials whose metrics are still computed.
        fault: what is wrong with the card, or "".
        shares: whether its node keeps arrays where the driver does.
    """

    results: list[TrialResult]
    through: bool
    measuring: list[str]
    fault: str = ""
    shares: bool = False


@final
class Supervisor(tune.Trainable):
    """Tune's trainable: one seat, one step per trial; a step's result carries rows.

    Where the trials of a unit train as one, its first step begins with that.
    """

    def setup(self, config: dict[str, Any], setting: Any = None) -> None:
        """Take over what all units share. Must not raise: Tune would not try again."""
        self.setting: Setting = setting
        self.worker = Process(Worker)
        self.measuring = Measuring(setting)
        self.crashes = 0
        self.shares = bool(self.setting.sign and self.setting.sign.seen())
        self.assign(None)

    def assign(self, unit: WorkUnit | None) -> None:
        """What the next steps are about; nothing but metrics under way, if None."""
        self.unit, self.next = unit, 0
        self.shared: Together | None = None

    def step(self) -> dict[str, Any]:
        """Run the next trial of the unit; without a unit, wait for metrics."""
        results = self.measuring.rest() if self.unit is None else self._next(self.unit)
        through = self.unit is None or self.next == len(self.unit.trials)
        # packed: of every number that Tune sees it keeps four statistics and two histories
        heard = Heard(results, through, self.measuring.ids, self._fault(), self.shares)
        return {"heard": pickle.dumps(heard)}

    def cleanup(self) -> None:
        """Let go of the processes."""
        self.worker.kill()
        self.measuring.kill()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to keep: results are in the run directory."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing was kept."""

    def _next(self, unit: WorkUnit) -> list[TrialResult]:
        if unit.together and self.next == 0:
            self.shared = self._train(unit)
        trial = unit.trials[self.next]
        self.next += 1
        result = self._run(trial, unit)
        crashed = result is not None and result.trial["status"] == Status.CRASHED
        self.crashes = self.crashes + 1 if crashed else 0
        if result is None:
            return self.measuring.ready()
        return [self.shared.told(result) if self.shared else result, *self.measuring.ready()]

    def _fault(self) -> str:
        """What is wrong with the card, where trial after trial has crashed on it; methods do that too."""
        if self.unit is None or not self.unit.resources.gpus or self.crashes < FAULTS:
            return ""
        self.crashes = 0
        minutes = CARD_SECONDS / 60
        said = self.worker.ask(self.unit.resources, minutes, lambda worker: worker.card_fault.remote())
        self.worker.kill()
        return said.reason if isinstance(said, Broken) else said

    def _train(self, unit: WorkUnit) -> Together:
        """The training of a unit; broken off, it leaves the trials to train themselves in a new process."""
        began, minutes = time.monotonic(), unit.resources.timeout_minutes
        # together they may take as long as one after the other
        limit = minutes and minutes * len(unit.trials)
        ask = partial(
            self.worker.ask, unit.resources, limit, lambda worker: worker.train.remote(unit, self.setting)
        )
        answer = ask()
        if isinstance(answer, Broken) and answer.status == Status.CRASHED:
            answer = ask()  # goes on at its checkpoint
        seconds = time.monotonic() - began
        if isinstance(answer, Broken):
            return Together(len(unit.trials), seconds, f"{answer.status}: {answer.reason}")
        # what a broken training left on the GPU would count against the first trial
        if answer.error:
            self.worker.kill()
        return replace(answer, seconds=seconds)

    def _run(self, trial: Trial, unit: WorkUnit) -> TrialResult | None:
        """The result of a trial; None where its metrics are under way."""
        # more of a card is not for this seat to give: the driver asks for it elsewhere
        again = (Status.CRASHED,) if unit.resources.gpus else AGAIN
        attempt, result = 1, self._attempt(trial, unit, 1)
        while result is not None and result.trial["status"] in again and attempt < ATTEMPTS:
            attempt, result = attempt + 1, self._attempt(trial, unit, attempt + 1)
        return result

    def _attempt(self, trial: Trial, unit: WorkUnit, attempt: int) -> TrialResult | None:
        words = (trial, self.setting, unit.resources, attempt, unit.id)
        if unit.resources.gpus:
            result = self._scored(trial, unit, words)
        else:
            result = self.worker.ask(
                unit.resources, unit.resources.timeout_minutes, lambda w: w.run.remote(*words)
            )
        if isinstance(result, Broken):
            job = replace(self.setting.job, attempt=attempt, unit=unit.id)
            return ended(trial, job, result.status, result.reason)
        # after these nothing else runs in the same process; after other exceptions it stays warm
        if result is not None and result.trial["status"] in AGAIN:
            self.worker.kill()
        return result

    def _scored(self, trial: Trial, unit: WorkUnit, words: tuple[Any, ...]) -> TrialResult | Broken | None:
        """The card's part of a trial; its metrics are begun where it went well."""
        maps: Any = None

        def question(worker: Any) -> Any:
            nonlocal maps
            answer, maps = worker.score.options(num_returns=2).remote(*words)
            return answer

        result = self.worker.ask(unit.resources, unit.resources.timeout_minutes, question)
        if result is None:
            self.measuring.begin(trial, maps, unit, self.shared)
        return result
