"""What one entry of `methods` is crossed with: the sweep's categories, shots and seeds, or some of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

from harness.config import MethodConfig, SweepConfig, listed_seeds, listed_shots
from harness.errors import ConfigError, nearest

FULL = "full"


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


def _kept(wanted: Sequence[Any] | None, there: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(there if wanted is None else (value for value in there if value in wanted))


def _foreign(name: str, wanted: Sequence[Any] | None, there: Sequence[Any]) -> Iterable[str]:
    known = [_word(value) for value in there]
    for word in (_word(value) for value in wanted or () if value not in there):
        yield f"{name}: {word!r} is not among the sweep's{nearest(word, known)}; these are {', '.join(known)}"


def _word(value: Any) -> str:
    return FULL if value is None else str(value)
