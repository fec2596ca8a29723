"""How long trials take: a guess of their method's card, then what trials like them have taken."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from harness.trial import Trial
from sweeps.dispatch.memory import Kinds, keep, numbers, recall

FILE = "costs.json"
WEIGHT = 0.3  # of the latest trial in the mean: other cards and other neighbours are followed, noise is not
GUESSED_PART = 0.5  # of a trial's time for arrays that a warm node has, while that was not measured,
GUESSED_MOST = 60.0  # and so many seconds at most: training shares nothing


@final
@dataclass(frozen=True)
class Expected:
    """How long a trial may take.

    Attributes:
        seconds: the estimate.
        trust: 3 measured on the very category, 2 on others, 1 on another kind of the method, 0 guessed.
    """

    seconds: float
    trust: int


@final
class Costs:
    """Seconds of trials by method, kind and category, from this sweep and earlier ones.

    Args:
        folder: where `costs.json` lies, shared between sweeps; None keeps nothing.
        guess: method -> seconds of one trial, as its card has it.
    """

    def __init__(
        self,
        kinds: Kinds,
        folder: Path | None = None,
        guess: Callable[[str], float] = lambda method: 60.0,
    ):
        self._path, self._kinds, self._guess = folder / FILE if folder else None, kinds, guess
        self._means = {key: m for key, e in recall(self._path).items() if (m := _read(e))}
        self._names: dict[tuple[str, bool], tuple[str, str, str]] = {}
        self._computed: dict[object, str] = {}
        self._changed: set[str] = set()

    def expected(self, trial: Trial, card: bool = False) -> Expected:
        """Seconds of a trial, on a card or on cores alone; of one in a stack its part.

        What was measured on other categories, or guessed, goes with the number of images.
        """
        for trust, key in zip((3, 2, 1), self._keys(trial, card), strict=True):
            if mean := self._means.get(key):
                return Expected(mean["mean"] * _more(trial.images, mean.get("images")), trust)
        return Expected(self._guess(trial.method) * _more(trial.images, self._kinds.images), 0)

    def again(self, trial: Trial, arrays: object, card: bool = False) -> float:
        """Seconds that it costs to run a trial where its arrays are not.

        Measured where one trial computed them and others found them, be it for another method; else as
        long as others of this sweep take; else guessed.
        """
        for key in (self._keys(trial, card)[0], self._computed.get(arrays)):
            if (found := self._pass(key)) is not None:
                return found
        if known := [found for key in self._computed.values() if (found := self._pass(key)) is not None]:
            return sum(known) / len(known)
        return min(GUESSED_PART * self.expected(trial, card).seconds, GUESSED_MOST)

    def _pass(self, key: str | None) -> float | None:
        mean = self._means.get(key or "", {})
        return max(mean["cold"] - mean["warm"], 0.0) if "cold" in mean and "warm" in mean else None

    def learn(self, trial: Trial, seconds: float, *, arrays: object, card: bool, computed: bool) -> None:
        """A trial has ended ok.

        Args:
            trial: which.
            seconds: that it took.
            arrays: what identifies those that it needed.
            card: whether it ran on a GPU.
            computed: whether it computed arrays that others will find.
        """
        keys = self._keys(trial, card)
        if computed:
            self._computed[arrays] = keys[0]
        for key in keys:
            self._means[key] = _moved(self._means.get(key, {}), seconds, computed, trial.images)
            self._changed.add(key)

    def _keys(self, trial: Trial, card: bool) -> tuple[str, str, str]:
        """From the most to the least particular."""
        if (trial.id, card) not in self._names:
            self._names[trial.id, card] = self._named(trial, card)
        return self._names[trial.id, card]

    def _named(self, trial: Trial, card: bool) -> tuple[str, str, str]:
        where = "card" if card else "cores"
        kind = f"{where} {self._kinds.of(trial)} {trial.dataset}"
        return f"{kind}/{trial.category}", kind, f"{where} {trial.method} {trial.dataset}"

    def save(self) -> None:
        """Keep what was learned."""
        entries = {k: {n: round(s, 3) for n, s in self._means[k].items()} for k in self._changed}
        keep(self._path, entries)
        self._changed.clear()


def _more(images: int, than: float | None) -> float:
    """How many times as many images; 1 where one number is not known."""
    return images / than if images and than else 1.0


def _moved(mean: Mapping[str, float], seconds: float, computed: bool, images: int) -> dict[str, float]:
    """A mean after one more trial, and the mean of those that did, or did not, compute arrays."""
    moved = dict(mean)
    for name, value in (("mean", seconds), ("cold" if computed else "warm", seconds), ("images", images)):
        moved[name] = moved[name] + WEIGHT * (value - moved[name]) if name in moved else value
    return moved


def _read(entry: Mapping[str, Any]) -> dict[str, float]:
    found = {name: n[0] for name in ("mean", "warm", "cold", "images") if (n := numbers(entry.get(name)))}
    return found if "mean" in found else {}
