"""Training the trials of a unit as one before they run one by one.

An economy, never a condition: whatever it leaves undone, and everything if it fails, is done by the `fit` of
each trial afterwards.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from harness import provenance
from harness.data import FitData
from harness.notes import noted
from harness.run import fit_data
from harness.seeding import seeded
from harness.trial import Trial, TrialResult
from methods.shared.onepass import shared
from sweeps.plan import WorkUnit
from sweeps.worker import Setting, build, context_of, greeted, splits_of, threads

SHARED = ("fit_seconds", "total_seconds")


@final
@dataclass(frozen=True)
class Together:
    """How the trials of a unit were trained as one.

    Attributes:
        members: how many trials.
        seconds: that all of them took together.
        error: why it broke off, or None.
        peaks: greatest use of memory meanwhile, in columns of the trials table.
        notes: what else every row should tell.
    """

    members: int
    seconds: float
    error: str | None = None
    peaks: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def told(self, result: TrialResult) -> TrialResult:
        """The result of one of the trials, with its share of the seconds."""
        row = dict(result.trial)
        # an equal share: the sum over the rows is what it took
        row |= {k: row[k] + self.seconds / self.members for k in SHARED if row.get(k) is not None}
        row |= {k: max(row.get(k) or 0.0, peak) for k, peak in self.peaks.items() if peak is not None}
        row |= {"notes": [*self.notes, *(row.get("notes") or ())]} if self.notes else {}
        return replace(result, trial=row | {"together": self.members, "together_error": self.error})


def train(
    unit: WorkUnit, setting: Setting, on_failure: Callable[[Exception], None] | None = None
) -> Together:
    """Train all trials of a unit in this process, where `execute` is to run them.

    Args:
        unit: see `WorkUnit.together`.
        setting: what all trials of the sweep share.
        on_failure: sees an exception while its frames are alive.
    """
    began, error = time.perf_counter(), None
    # a node that is to refuse every one of them need not train for hours first
    if problem := greeted(unit.trials[0], setting).problem:
        return Together(len(unit.trials), 0.0, problem)
    # of the joint training alone; its peak is then told to every member's row
    provenance.reset_peaks()
    with noted() as notes:
        try:
            _train(unit, setting)
        except Exception as reason:  # noqa: BLE001 - each trial gets its own chance, and its own row
            error = f"{type(reason).__name__}: {reason}"[:2000]
            if on_failure:
                on_failure(reason)
    seconds = time.perf_counter() - began
    return Together(len(unit.trials), seconds, error, provenance.peaks(), tuple(notes))


def _train(unit: WorkUnit, setting: Setting) -> None:
    # the first member's seed, for libraries below; members draw from their own
    sizes = setting.sizes.get(unit.trials[0].category, ())
    cpus, seed = unit.resources.cpus, unit.trials[0].run_seed or 0
    with threads(cpus, sizes), shared(setting.reads), seeded(seed):
        members = [_member(trial, unit, setting) for trial in unit.trials]
        type(members[0][0]).fit_together(members)


def _member(trial: Trial, unit: WorkUnit, setting: Setting) -> tuple[Any, FitData]:
    context = context_of(trial, setting, unit.resources)
    # as when alone: what a constructor draws is the same
    with seeded(context.run_seed):
        method = build(trial, context)
    split = splits_of(setting.source).get(trial.category)
    return method, fit_data(trial.support, split, trial.validation)
