"""The training loop: checkpoints, loss curves, divergence; one member or several.

Nothing waits for the device between two blocks of steps. After a block the losses come to the CPU: they
are looked at, and a checkpoint is written where the last one is old enough.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from harness.errors import HarnessError
from methods.efficientad.losses import TERMS
from methods.efficientad.stepper import Stepper
from methods.efficientad.task import Task
from methods.shared.training import curves
from methods.shared.training.precision import arithmetic
from methods.shared.training.states import Unfit, check_shapes, keep, restored


@final
@dataclass(frozen=True)
class Pace:
    """When a training stops to look at itself.

    Attributes:
        block: steps between two looks at the losses.
        seconds: between two checkpoints, at least.
    """

    block: int = 50
    seconds: float = 60.0


@final
@dataclass(frozen=True)
class Trained:
    """What came of one member.

    Attributes:
        weights: of student and autoencoder, float32, see `members.evaluated`; None if it diverged.
        losses: float32 (steps, 5), the terms `losses.TERMS` before every step, unweighted.
        diverged: step before which a term was not finite, or None.
    """

    weights: NDArray[np.float32] | None
    losses: NDArray[np.float32]
    diverged: int | None = None


def train(tasks: Sequence[Task], pace: Pace = Pace()) -> list[Trained]:
    """Train the members of `tasks` together, from where their checkpoints stand.

    Args:
        tasks: equal but for images, seeds and constraints; their checkpoints, if any, of one step.
        pace: of looks and checkpoints; without influence on the result.
    """
    run = _Run(tasks)
    try:
        with arithmetic(tasks[0].recipe.precision, timed=True):
            run.train(pace)
    finally:
        run.stepper.close()
    return run.outcome()


def steps_done(task: Task) -> int:
    """Steps that the checkpoint of a training has behind it."""
    return restored(task.checkpoint, lambda content: _checked(content, task)["step"]) or 0


class _Run:
    """The members of some tasks on the way from their checkpoint to the last step."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks, self.recipe = tasks, tasks[0].recipe
        self.stepper = Stepper(tasks)
        self.members = self.stepper.members
        self.losses = np.full((self.recipe.steps, len(tasks), len(TERMS)), np.nan, np.float32)
        self.diverged: dict[int, int] = {}  # member -> step
        self.step = self._restore()

    def train(self, pace: Pace) -> None:
        kept = time.monotonic()
        while self.step < self.recipe.steps and len(self.diverged) < len(self.tasks):
            self._block(min(pace.block, self.recipe.steps - self.step))
            if time.monotonic() - kept >= pace.seconds or self.step == self.recipe.steps:
                self._keep()
                kept = time.monotonic()

    def _block(self, number: int) -> None:
        stop = self.step + number
        found = torch.empty(number, *self.losses.shape[1:], device=self.members.device)
        for n, step in enumerate(range(self.step, stop)):
            found[n].copy_(self.stepper.take(step))  # at once: a replayed graph writes to one place
        self.losses[self.step : stop] = found.cpu().numpy()
        self._look(self.step, stop)
        self.step = stop

    def _look(self, start: int, stop: int) -> None:
        for i in range(len(self.tasks)):
            broken = np.flatnonzero(~np.isfinite(self.losses[start:stop, i]).all(axis=1))
            if len(broken):
                self.diverged.setdefault(i, start + int(broken[0]))

    def outcome(self) -> list[Trained]:
        return [self._outcome(i) for i in range(len(self.tasks))]

    def _outcome(self, i: int) -> Trained:
        if i in self.diverged:
            return Trained(None, self.losses[: self.diverged[i] + 1, i], self.diverged[i])
        return Trained(self.members.trained(i).numpy(), self.losses[:, i])

    def _restore(self) -> int:
        found = [self._state(i) for i in range(len(self.tasks))]
        states = [state for state in found if state is not None]
        if len(states) < len(found):
            return 0
        step = states[0]["step"]
        if any(state["step"] != step for state in states):
            raise ValueError("members of a joint training must stand at the same step")
        self.members.restore([state["member"] for state in states], step)
        self.losses[:step] = np.stack([state["losses"].numpy() for state in states], axis=1)
        return step

    def _state(self, i: int) -> dict[str, Any] | None:
        task = self.tasks[i]
        return restored(task.checkpoint, lambda content: self._fitting(_checked(content, task), i))

    def _fitting(self, content: dict[str, Any], i: int) -> dict[str, Any]:
        """A state whose tensors have the shapes of this member's."""
        for kind, wanted in self.members.targets(i).items():
            found = content["member"][kind]
            check_shapes(f"the member's {kind}", dict(enumerate(wanted)), dict(enumerate(found)))
        return content

    def _keep(self) -> None:
        for i, task in enumerate(self.tasks):
            if task.checkpoint and i not in self.diverged:
                losses = self.losses[: self.step, i].copy()
                content = {"member": self.members.state(i), "losses": torch.from_numpy(losses)}
                keep({"step": self.step, **content}, task.checkpoint)
                write_curve(task, losses)


def _checked(content: Any, task: Task) -> dict[str, Any]:
    """A state that stands at a step of a task."""
    step = content["step"]
    if not isinstance(step, int) or not 0 <= step <= task.recipe.steps:
        raise Unfit(f"it stands at step {step} of {task.recipe.steps}")
    if content["losses"].shape != (step, len(TERMS)):
        raise Unfit("it has the losses of another number of steps")
    return content


def write_curve(task: Task, losses: NDArray[np.float32]) -> None:
    """Write the losses of all steps so far beside the checkpoint."""
    if task.curve is not None:
        curves.write_curve(task.curve, TERMS, losses)


def diverged(outcome: Trained) -> HarnessError:
    """The error of a training whose loss is not finite any more."""
    assert outcome.diverged is not None
    return curves.diverged(outcome.diverged, TERMS, outcome.losses[-1].tolist())
