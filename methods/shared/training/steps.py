"""What every training loop shares: learning rates, and a state that survives being stopped."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from harness.errors import HarnessError
from methods.shared.training.states import Unfit, check_optimiser, check_shapes, keep, restored


@dataclass(frozen=True)
class Plan:
    """How long to train, and how fast.

    Attributes:
        steps: number of optimiser steps.
        peak: largest learning rate; reached after `warm_up` of the steps, then a half cosine to 0.
        warm_up: part of the steps.
        constant: the rate is `peak` in every step; neither `warm_up` nor `cut` is looked at.
        cut: (first, length): from that step on the rate falls linearly to 0 and training ends; a long
            plan that is cut short.
        every: a report is due, and the state is written, every so many steps.
    """

    steps: int
    peak: float
    warm_up: float = 0.05
    constant: bool = False
    every: int = 100
    cut: tuple[int, int] | None = None

    @property
    def end(self) -> int:
        """Number of steps that are taken."""
        return sum(self.cut) if self.cut else self.steps

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if self.constant:
            return self.peak
        if self.cut and step > self.cut[0]:
            return self.rate(self.cut[0]) * (self.end - step) / self.cut[1]
        rising = self.warm_up * self.steps
        if step < rising:
            return self.peak * min((step + 1) / rising, 1)
        return self.peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / (self.steps - rising)))


class Stateful(Protocol):
    """What a state file can hold: a module, an optimiser, a record of losses."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and texts, in dicts and lists."""
        ...

    def load_state_dict(self, state_dict: Any) -> Any:
        """Take over what `state_dict` gave."""
        ...


def steps(
    plan: Plan, modules: Mapping[str, Stateful], optimiser: torch.optim.Optimizer, state: Path | None
) -> Iterator[int]:
    """The steps still to take.

    Sets the learning rate before each one. With a file, the state is written there every
    `plan.every` steps, and a later call goes on from it; a step that draws its random numbers from
    its own number then continues as if nothing had happened. A file that is no state of this training is
    set aside, see `states.restored`.

    Args:
        plan: number of steps, learning rates.
        modules: what is trained, and anything else with a state.
        optimiser: of the modules.
        state: file, or None.
    """
    first = restored(state, lambda content: _taken(content, plan, modules, optimiser)) or 0
    for step in range(first, plan.end):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(step)
        yield step
        if state and ((step + 1) % plan.every == 0 or step + 1 == plan.end):
            content = {name: module.state_dict() for name, module in modules.items()}
            keep({**content, "step": step + 1, "optimiser": optimiser.state_dict()}, state)


def _taken(
    content: Any, plan: Plan, modules: Mapping[str, Stateful], optimiser: torch.optim.Optimizer
) -> int:
    """Give modules and optimiser their states, once all of them fit; the number of steps behind them."""
    step = content["step"]
    if not isinstance(step, int) or not 0 <= step <= plan.end:
        raise Unfit(f"it stands at step {step} of {plan.end}")
    check_optimiser(optimiser, content["optimiser"])
    for name, module in modules.items():
        if isinstance(module, torch.nn.Module):
            check_shapes(name, module.state_dict(), content[name])
    for name, module in sorted(modules.items(), key=lambda item: isinstance(item[1], torch.nn.Module)):
        module.load_state_dict(content[name])  # what is no network could not be checked, and comes first
    optimiser.load_state_dict(content["optimiser"])
    return step


class Means:
    """Means of losses since the last report.

    Args:
        say: takes a line of text.

    Attributes:
        curve: (steps taken, name -> mean loss since the report before) of every report.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.sums: dict[str, float] = {}
        self.curve: list[tuple[int, dict[str, float]]] = []
        self.count, self.since = 0, time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The curve; states are written right after a report, when there is nothing else."""
        return {"curve": self.curve}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a curve."""
        self.curve = state_dict["curve"]

    def add(self, step: int, plan: Plan, losses: Mapping[str, Tensor]) -> None:
        """Take the losses of one step; report and forget them every `plan.every` steps.

        Raises:
            HarnessError: a loss is not finite; the step is named.
        """
        self.count += 1
        for name, loss in losses.items():
            value = float(loss.detach())
            if not math.isfinite(value):
                raise HarnessError(f"step {step + 1}: the loss {name!r} is {value}; try a smaller rate")
            self.sums[name] = self.sums.get(name, 0.0) + value
        if (step + 1) % plan.every == 0 or step + 1 == plan.end:
            self._report(step, plan)

    def _report(self, step: int, plan: Plan) -> None:
        means = {name: total / self.count for name, total in self.sums.items()}
        self.curve.append((step + 1, means))
        text = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        now = time.monotonic()
        left = (now - self.since) / self.count * (plan.end - step - 1)
        self.say(f"step {step + 1} of {plan.end}: {text}; about {left:.0f} s left")
        self.sums, self.count, self.since = {}, 0, now
