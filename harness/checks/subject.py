"""What the checks look at: a method class with its parameters, fitted and scored as seldom as possible."""

import pickle
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from harness.artifacts import ArtifactStore, Op, no_store
from harness.checks.plates import Plates, plates
from harness.data import ImageSet
from harness.method import Context, Scores
from harness.params import resolve

FEW = range(0, 20, 5)  # test images: good ones and both kinds of anomalies


class CheckFailed(AssertionError):
    """A method does not do what it has to."""


def require(condition: object, reason: str) -> None:
    """Raise CheckFailed with `reason` unless `condition` holds."""
    if not condition:
        raise CheckFailed(reason)


@final
@dataclass(frozen=True)
class Rerun:
    """A second fit and its scores, watched.

    Attributes:
        scores: of FEW test images.
        moved: global generators that are not where they were.
    """

    scores: Scores
    moved: Sequence[str]


@final
class Subject:
    """A method class with its parameters; what several checks look at is computed once.

    Attributes:
        plates: images of its own, which a faulty method may spoil.
        asked: operations whose arrays the shared method has asked for.
    """

    def __init__(self, cls: Any, given: Mapping[str, Any]):
        self.cls, self.given = cls, given
        self.plates: Plates = plates().copied()
        self.asked: list[Op] = []

    @cached_property
    def params(self) -> dict[str, Any]:
        """Complete hyper-parameters."""
        return resolve(self.cls, self.given)

    def fitted(
        self, train: ImageSet | None = None, run_seed: int = 0, store: ArtifactStore | None = None
    ) -> Any:
        """A newly fitted method.

        Raises:
            CheckFailed: `fit` does not return it.
        """
        # without a store: what is computed must not hide behind what was kept
        method = self.cls(Context(run_seed=run_seed, artifacts=store or no_store()), **self.params)
        require(method.fit(self.plates.fit_data(train)) is method, "fit returns another object")
        return method

    @cached_property
    def method(self) -> Any:
        """A fitted method that the checks share; what it asks of the store is noted in `asked`."""
        store = no_store()
        plain = store.get_many

        def noted(op: Op, *args: Any, **kwargs: Any) -> Any:
            self.asked.append(op)
            return plain(op, *args, **kwargs)

        setattr(store, "get_many", noted)  # noqa: B010 - of this one object
        return self.fitted(store=store)

    @cached_property
    def scores(self) -> Scores:
        """Its scores of the test images."""
        return self.method.score(self.plates.test)

    @cached_property
    def few(self) -> Scores:
        """Its scores of FEW of them alone; the same work again has to give the same bits."""
        return self.method.score(self.plates.test.subset(FEW))

    @cached_property
    def rerun(self) -> Rerun:
        """The same once more, of FEW."""
        _ = self.scores  # what may load torch, whose generator is then watched as well
        with _generators_displaced() as states:
            before = states()
            scores = self.fitted().score(self.plates.test.subset(FEW))
            moved = [name for name, state in states().items() if state != before[name]]
        return Rerun(scores, moved)


@contextmanager
def _generators_displaced() -> Iterator[Callable[[], dict[str, bytes]]]:
    """A function that gives the states of the global generators.

    Inside they stand somewhere no seed leads to, so that seeding them shows, and scores that depend on them
    differ; afterwards they are as they were.
    """
    torch: Any = sys.modules.get("torch")
    kept = random.getstate(), np.random.get_state(), torch and torch.get_rng_state()
    # torch.seed draws a new one; the others move on by a number
    for draw in (random.random, np.random.random, torch.seed if torch else None):
        _ = draw and draw()
    yield lambda: {
        "random": pickle.dumps(random.getstate()),
        "numpy": pickle.dumps(np.random.get_state()),
        "torch": torch.get_rng_state().numpy().tobytes() if torch else b"",
    }
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    if torch:
        torch.set_rng_state(kept[2])
