"""The process in which a supervisor has its trials run; it need not import Tune."""

from typing import final

from harness.method import Resources
from harness.trial import Trial, TrialResult
from sweeps.plan import WorkUnit
from sweeps.together import Together, train
from sweeps.worker import Setting, execute


@final
class Worker:
    """Runs trials in a process of its own; caches of methods and features stay warm between them."""

    # asked first, so that the start of a process never counts as the time of a trial
    def ready(self) -> bool:
        """Answers once the process is up."""
        return True

    def train(self, unit: WorkUnit, setting: Setting) -> Together:
        """The training that the trials of a unit have in common."""
        return train(unit, setting)

    def run(
        self, trial: Trial, setting: Setting, resources: Resources, attempt: int, unit: str
    ) -> TrialResult:
        """One trial; its row in any case."""
        return execute(trial, setting, resources, attempt=attempt, unit=unit)
