"""What one entry of `methods` is crossed with: the sweep's categories, shots and seeds, or some of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self, final

from harness.config import MethodConfig, SweepConfig, listed_seeds, listed_shots
from harness.errors import ConfigError, nearest

FULL = "full"
SHOWN = 20  # values of an axis in a message, and messages of one axis


@final
@dataclass(frozen=True)
class Axes:
    """The axes of one entry.

    Attributes:
        categories, seeds: in the sweep's order.
        shots: likewise; None for all training images.
    """

    categories: tuple[str, ...]
    shots: tuple[int | None, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, entry: MethodConfig, config: SweepConfig, categories: Sequence[str]) -> Self:
        """What the entry keeps of the sweep's axes; all of those that it does not name.

        Args:
            entry: one of the sweep's.
            config: the sweep.
            categories: those of the sweep.

        Raises:
            ConfigError: it names what the sweep does not have: a typing mistake would else be a method that
                runs nowhere.
        """
        chosen = {
            "categories": (entry.categories, categories),
            "shots": (entry.shots and listed_shots(entry.shots), config.shot_list),
            "seeds": (entry.seeds and listed_seeds(entry.seeds), config.seed_list),
        }
        if foreign := [line for name, pair in chosen.items() for line in _foreign(name, *pair)]:
            raise ConfigError(foreign)
        return cls(*(_kept(*pair) for pair in chosen.values()))

    def pairs(self, ignored: Collection[str]) -> Iterator[tuple[int | None, int]]:
        """Every number of shots with every seed that can change the numbers of a method.

        Args:
            ignored: the axes that cannot, see `harness.method.Card.ignores`; without shots their number is 0.
        """
        for shots in self._shots(ignored):
            yield from ((shots, seed) for seed in self._seeds(shots, ignored))

    def size(self, ignored: Collection[str]) -> int:
        """How many pairs there are in all categories."""
        return len(self.categories) * sum(len(self._seeds(k, ignored)) for k in self._shots(ignored))

    def _shots(self, ignored: Collection[str]) -> tuple[int | None, ...]:
        return (0,) if "shots" in ignored else self.shots

    def _seeds(self, shots: int | None, ignored: Collection[str]) -> Sequence[int]:
        """All of them, or one: where nothing is drawn only the method's own seed matters."""
        return self.seeds if shots not in (0, None) or "run_seed" not in ignored else self.seeds[:1]


def _kept(wanted: Sequence[Any] | None, there: Sequence[Any]) -> tuple[Any, ...]:
    chosen = set(there if wanted is None else wanted)
    return tuple(value for value in there if value in chosen)


def _foreign(name: str, wanted: Sequence[Any] | None, there: Sequence[Any]) -> Iterator[str]:
    known, words = set(there), list(map(_word, islice(there, SHOWN)))
    shown = ", ".join(words) + (", …" if len(there) > SHOWN else "")
    foreign = [_word(value) for value in wanted or () if value not in known]
    for word in foreign[:SHOWN]:
        yield f"{name}: {word!r} is not among the sweep's{nearest(word, words)}; these are {shown}"
    if len(foreign) > SHOWN:
        yield f"{name}: {len(foreign) - SHOWN:,} more are not among the sweep's"


def _word(value: Any) -> str:
    return FULL if value is None else str(value)
