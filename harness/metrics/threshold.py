"""One threshold for all pixels, fixed on maps of validation images before any test image is looked at."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray


@final
@dataclass(frozen=True)
class Moments:
    """What is kept of the maps of validation images; enough for any rule that is made of these numbers.

    Attributes:
        images, pixels: how many.
        mean, std: over all pixels of all maps together; the variance is divided by their number.
        low, high: the least and the greatest of them.
    """

    images: int
    pixels: int
    mean: float
    std: float
    low: float
    high: float

    @staticmethod
    def recorded(row: Mapping[str, Any]) -> "Moments | None":
        """What a row of `trials/` holds of them, if anything."""
        found = row.get("validation_maps")
        return Moments(**found) if isinstance(found, Mapping) else None


def moments(maps: Iterable[NDArray[Any]]) -> Moments | None:
    """The moments of maps (h, w), of any size each; None without maps.

    Maps are taken one by one (Chan, Golub, LeVeque, 1979), in float64 and around each map's own mean: a sum
    of squares would lose a spread that is small beside the mean.
    """
    n, pixels, mean, squares, low, high = 0, 0, 0.0, 0.0, math.inf, -math.inf
    for one in maps:
        own = float(one.mean(dtype=np.float64))
        spread = float(np.square(one - np.float64(own), dtype=np.float64).sum())
        together = pixels + one.size
        squares += spread + (own - mean) ** 2 * pixels * one.size / together
        mean += (own - mean) * one.size / together
        n, pixels = n + 1, together
        low, high = min(low, float(one.min())), max(high, float(one.max()))
    return Moments(n, pixels, mean, math.sqrt(squares / pixels), low, high) if n else None


@final
@dataclass(frozen=True)
class Cut:
    """A rule for the threshold; a pixel is flagged if its score is greater.

    Attributes:
        words: the rule, as it is recorded with every value.
        of: moments of the validation maps -> threshold.
    """

    words: str
    of: Callable[[Moments], float]


def _three_deviations(found: Moments) -> float:
    return found.mean + 3 * found.std


# What the authors of MVTec AD 2 propose to begin with.
MEAN_3_STD = Cut("mean + 3 std of all pixels of the validation maps", _three_deviations)
