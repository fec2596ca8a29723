"""What a training run shares: time budget, learning rate, and a state that survives being stopped."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from methods.demo_weights.train.journal import say, seconds


@dataclass(frozen=True)
class Plan:
    """How long to train.

    Attributes:
        steps: number of optimiser steps.
        peak: largest learning rate; reached after `warm_up` of the steps, then a half cosine to 0.
        warm_up: part of the steps.
        report: a line is printed every so many steps, and the state is written.
    """

    steps: int
    peak: float
    warm_up: float = 0.05
    report: int = 100

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rising = self.warm_up * self.steps
        if step < rising:
            return self.peak * (step + 1) / rising
        return self.peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / (self.steps - rising)))


def steps(
    plan: Plan, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer, state: Path | None
) -> Iterator[int]:
    """The steps still to take; sets the learning rate, and keeps the state in a file if one is named."""
    first = _restored(modules, optimiser, state) if state and state.is_file() else 0
    for step in range(first, plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(step) * group.get("factor", 1)
        yield step
        if state and ((step + 1) % plan.report == 0 or step + 1 == plan.steps):
            _keep(step + 1, modules, optimiser, state)


def _keep(step: int, modules: Mapping[str, nn.Module], optimiser: Any, state: Path) -> None:
    content: dict[str, Any] = {name: module.state_dict() for name, module in modules.items()}
    content |= {"step": step, "optimiser": optimiser.state_dict()}
    state.parent.mkdir(parents=True, exist_ok=True)
    partial = state.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(state)


def _restored(modules: Mapping[str, nn.Module], optimiser: Any, state: Path) -> int:
    content = torch.load(state, map_location="cpu", weights_only=True)
    for name, module in modules.items():
        module.load_state_dict(content[name])
    optimiser.load_state_dict(content["optimiser"])
    say(f"continuing at step {content['step']}")
    return content["step"]


class Means:
    """Running means of losses for the journal."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, losses: Mapping[str, torch.Tensor]) -> None:
        """Take the losses of one step."""
        self.count += 1
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(loss.detach())

    def report(self, step: int, plan: Plan) -> None:
        """Print and forget, every `plan.report` steps."""
        if (step + 1) % plan.report:
            return
        text = ", ".join(f"{name} {total / self.count:.3f}" for name, total in self.sums.items())
        left = seconds() / (step + 1) * (plan.steps - step - 1)
        say(f"step {step + 1} of {plan.steps}: {text}; about {left:.0f} s left")
        self.sums, self.count = {}, 0
