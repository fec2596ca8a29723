"""The processes in which a supervisor has its trials run and measured; they need not import Tune."""

from typing import final

from harness import provenance
from harness.method import Resources
from harness.run import Scored
from harness.trial import Status, Trial, TrialResult
from sweeps.plan import WorkUnit
from sweeps.together import Together, train
from sweeps.worker import Setting, execute, measure, score


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

    def score(
        self, trial: Trial, setting: Setting, resources: Resources, attempt: int, unit: str
    ) -> tuple[TrialResult | None, Scored | None]:
        """A trial without its metrics: its row where it has ended so, else what is to be measured.

        Two answers, so that the supervisor need not take the second, with its maps, to hand it on.
        """
        done = score(trial, setting, resources, attempt=attempt, unit=unit)
        if done.row["status"] != Status.OK:
            return TrialResult(done.row), None
        return None, done

    def card_fault(self) -> str:
        """What is wrong with the card of this process; "" if it computes."""
        from sweeps.doctor.numerics import fault_of

        return "; ".join(fault_of("cuda:0") or ())


@final
class Measurer:
    """Computes metrics on the cores that a trial with a card leaves idle."""

    def ready(self) -> bool:
        """Answers once the process is up."""
        return True

    def measure(self, trial: Trial, done: Scored, setting: Setting, resources: Resources) -> TrialResult:
        """The rest of a trial that was scored elsewhere on this node."""
        provenance.reset_peaks()
        return measure(trial, done, setting, resources)
