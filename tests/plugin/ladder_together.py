"""A method that can be trained together, registered as an outside package registers its own.

Training is a sum over steps; each step is kept, so that it can go on. The log says who took which step.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from ladder_faults import wait_at

from harness.data import FitData, ImageSet
from harness.method import Card, Context, Resources, Scores

STEPS = 6
Behaviour = Literal["ok", "raise", "diverge", "exit", "exit_once", "hang"]


@dataclass
class Summed:
    """Scores are pixel means times what was learnt.

    Args:
        context: as for every method.
        margin: differs between the members of a stack.
        steps: does not.
        behaviour: what happens when members are trained together, after half of the steps.
        seconds: how long a step takes.
        log: file to which every step is appended: the process, the number of members, the step.
        gate: file for which the second half of the steps waits.
    """

    card: ClassVar[Card] = Card(
        title="Summed",
        summary="Can be trained together.",
        licence="Apache-2.0",
        paths=frozenset({"log", "gate"}),
        ignores=lambda params: frozenset({"split_seed"}),
        together=lambda params: json.dumps({**params, "margin": None}, sort_keys=True),
        resources=Resources(stack=3),
    )
    context: Context
    margin: float = 0.0
    steps: int = STEPS
    behaviour: Behaviour = "ok"
    seconds: float = 0.0
    log: str = ""
    gate: str = ""

    @classmethod
    def fit_together(cls, members: Sequence[tuple["Summed", FitData]]) -> None:
        """One loop for all of them; each goes on at its own step."""
        for step in range(members[0][0].steps):
            behind = [(m, data) for m, data in members if m._state()[0] == step]
            if behind:
                behind[0][0]._note(len(members), step)
            for member, data in behind:
                if step == member.steps // 2:
                    member._misbehave()
                if not (member.behaviour == "diverge" and member.margin == 1.0):
                    member._take(step, data)

    def fit(self, data: FitData) -> "Summed":
        for step in range(self._state()[0], self.steps):
            self._note(1, step)
            self._take(step, data)
        self.learnt = self._state()[1]
        return self

    def score(self, images: ImageSet) -> Scores:
        return Scores(np.array([image.mean() * self.learnt for image in images]))

    def _take(self, step: int, data: FitData) -> None:
        rng = np.random.default_rng([self.context.run_seed, step])
        value = self._state()[1] + rng.random() * (1 + self.margin) * len(data.train)
        path = self._path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".partial").write_text(json.dumps([step + 1, value]))
        path.with_suffix(".partial").replace(path)

    def _state(self) -> tuple[int, float]:
        return tuple(json.loads(self._path().read_text())) if self._path().exists() else (0, 0.0)

    def _path(self) -> Path:
        assert self.context.scratch is not None
        return self.context.scratch / "state.json"

    def _note(self, members: int, step: int) -> None:
        time.sleep(self.seconds)
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()} {members} {step}\n")
        if step >= self.steps // 2:
            wait_at(self.gate)

    def _misbehave(self) -> None:
        match self.behaviour:
            case "raise":
                raise ValueError("training together went wrong on purpose")
            case "exit":
                os._exit(7)
            case "exit_once" if not Path(f"{self.log}.once").exists():
                Path(f"{self.log}.once").touch()
                os._exit(7)
            case "hang":
                time.sleep(3600)
