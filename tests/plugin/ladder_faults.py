"""Methods that misbehave on purpose, registered as an outside package registers its own."""

import ctypes
import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from harness.data import FitData, ImageSet
from harness.method import Card, Context, Scores

Behaviour = Literal[
    "ok", "raise", "exit", "segfault", "hang", "hang_in_c", "memory", "declined", "not_finite", "crash_once",
    "broken_card", "broken_node",
]  # fmt: skip


def wait_at(gate: str) -> None:
    """Go on when a file of that name is there, or at once if it has none."""
    while gate and not Path(gate).exists():
        time.sleep(0.02)


@dataclass
class Faulty:
    """Scores are pixel means; what else happens is a parameter.

    Args:
        context: as for every method.
        behaviour: what happens in `fit`.
        category: where it happens; everywhere if empty.
        log: file to which every fit appends its process id, category and seed.
        gate: file for which fits wait, those apart that find fewer than `free` others in the log.
        free: see `gate`.
        seconds: that `fit` takes.
    """

    card: ClassVar[Card] = Card(
        title="Faulty",
        summary="Misbehaves on purpose.",
        licence="Apache-2.0",
        version=int(os.environ.get("LADDER_FAULTY_VERSION", "1")),  # a node may have another one
        paths=frozenset({"log", "gate"}),
        unmet=lambda params, task: "it declines" if params["behaviour"] == "declined" else None,
    )
    context: Context
    behaviour: Behaviour = "ok"
    category: str = ""
    log: str = ""
    gate: str = ""
    free: int = 0
    seconds: float = 0.0

    def fit(self, data: FitData) -> "Faulty":
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()} {data.category} {self.context.run_seed}\n")
            if len(Path(self.log).read_text().splitlines()) > self.free:
                wait_at(self.gate)
        time.sleep(self.seconds)
        if self.category in ("", data.category):
            self._misbehave()
        return self

    def _misbehave(self) -> None:
        match self.behaviour:
            case "raise":
                raise ValueError("this went wrong on purpose")
            case "exit":
                os._exit(7)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(3600)
            case "hang_in_c":
                ctypes.PyDLL(None).sleep(3600)  # holds the interpreter's lock
            case "memory":
                raise MemoryError("out of memory on purpose")
            case "broken_card":
                raise RuntimeError("CUDA error: unspecified launch failure, on purpose")
            case "broken_node" if "LADDER_BROKEN_NODE" in os.environ:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            case "crash_once":
                self._crash_once()

    def _crash_once(self) -> None:
        mark = Path(f"{self.log}.crashed")
        if not mark.exists():
            mark.touch()
            os._exit(7)

    def score(self, images: ImageSet) -> Scores:
        scores = np.array([image.mean() for image in images], float)
        return Scores(scores * (np.nan if self.behaviour == "not_finite" else 1.0))


@dataclass
class NoOp:
    """Does nothing, as fast as possible: what is left is what the harness itself costs."""

    card: ClassVar[Card] = Card(title="No-op", summary="Does nothing.", licence="Apache-2.0")
    context: Context
    number: int = 0

    def fit(self, data: FitData) -> "NoOp":
        return self

    def score(self, images: ImageSet) -> Scores:
        return Scores(np.arange(len(images), dtype=float))
