"""How many pixels lie below each of many scores, without sorting the pixels.

Scores (thresholds) and pixels are put into bins by one rising function. A pixel is above all thresholds in
lower bins and below all in higher ones, so it has to be compared with the few in its own bin only. Which
function it is decides about speed, never about the counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# So that few bins hold several thresholds, and the table of them still mostly lies in cache.
BINS_PER_THRESHOLD = 4
FEWEST_BINS, MOST_BINS = 1 << 12, 1 << 24

# Thresholds of its bin that a pixel is compared with before it is searched for among all of them.
STEPS = 4

# What is made of so many pixels stays in the second-level cache.
BLOCK = 1 << 15
ONES = np.ones(BLOCK, np.uint32)


@final
@dataclass(frozen=True)
class Bins:
    """A rising function from scores to whole numbers.

    Attributes:
        of: scores (k,) -> bins, intp (k,), in [0, n).
        n: number of bins.
    """

    of: Callable[[Array], Array]
    n: int


@final
class Sieve:
    """Tells where pixels are among thresholds, and counts them.

    Args:
        thresholds: (m,), sorted, distinct.
    """

    def __init__(self, thresholds: Array):
        # An end that no pixel passes.
        self._u = np.append(thresholds, np.array(np.inf, thresholds.dtype))
        self._bins = chosen_bins(thresholds)
        self._first = below_bins(thresholds, self._bins)
        self._tally = np.zeros(2 * thresholds.size + 1, np.uint32)

    def sift(self, values: Array) -> list[Array]:
        """Find the ranks of pixels; changes nothing, so any number of threads may do it.

        Args:
            values: finite (k,), in any order.

        Returns:
            Twice the number of thresholds below each pixel, and one more if one is equal to it: intp, in
            pieces.
        """
        if values.dtype != self._u.dtype:
            at = self._searched(values)
            return list(blocks(2 * at + (self._u.take(at) == values)))
        return [self._compared(block) for block in blocks(values)]

    def _compared(self, values: Array) -> Array:
        at = self._first.take(self._bins.of(values))
        near = self._u.take(at)
        behind = np.flatnonzero(near < values)
        for _ in range(STEPS):
            at[behind] += 1
            near[behind] = self._u.take(at[behind])
            behind = behind[near[behind] < values[behind]]
        if behind.size:
            at[behind] = self._searched(values[behind])
            near[behind] = self._u.take(at[behind])
        ranks = at.astype(np.intp)
        ranks *= 2
        ranks += near == values
        return ranks

    def _searched(self, values: Array) -> Array:
        # Neighbours are found quickly after one another.
        order = np.argsort(values)
        at = np.empty(values.size, np.intp)
        at[order] = self._u[:-1].searchsorted(values[order])
        return at

    def count(self, ranks: list[Array]) -> None:
        """Count pixels, less than 2**32 before the next `counts`."""
        for some in ranks:
            np.add.at(self._tally, some, ONES[: some.size])

    def counts(self) -> tuple[Array, Array, int]:
        """What was counted since the last time.

        Returns:
            (#(counted < u), #(counted <= u)) for each threshold u, uint32 (m,); number of counted pixels.
        """
        total = np.cumsum(self._tally, dtype=np.uint32)
        self._tally[:] = 0
        return total[:-1:2], total[1::2], int(total[-1])


def below_bins(thresholds: Array, bins: Bins) -> Array:
    """How many of sorted thresholds (m,) are in lower bins than each, int32 (n,)."""
    found = np.zeros(bins.n + 1, np.int32)
    for u in blocks(thresholds):
        at = bins.of(u)
        np.add.at(found, at + 1, ONES[: u.size].view(np.int32))
    np.cumsum(found, dtype=np.int32, out=found)
    return found[:-1]


def chosen_bins(u: Array) -> Bins:
    """The bins that part sorted thresholds (m,) best; a single one if they are none, or no usual floats."""
    if u.size == 0 or u.dtype not in (np.float32, np.float64):
        return Bins(lambda values: np.zeros(values.size, np.intp), 1)
    most = min(max(1 << (BINS_PER_THRESHOLD * u.size).bit_length(), FEWEST_BINS), MOST_BINS)
    by_bits = bins_of_bits(u, most)
    return max(by_bits, bins_of_value(u, most) or by_bits, key=lambda bins: _parted(bins, u))


def _parted(bins: Bins, u: Array) -> int:
    return sum(int(np.count_nonzero(np.diff(bins.of(part)))) for part in blocks(u))


def bins_of_bits(u: Array, most: int) -> Bins:
    """Bins by the leading bits of scores: equal steps in their logarithm."""
    first, last = (int(end) for end in rising_bits(u[[0, -1]]))
    # A bin at either end for all that is below and above the thresholds.
    shift = next(s for s in range(64) if (last >> s) - (first >> s) + 3 <= most)
    low, high = (first >> shift) - 1, (last >> shift) + 1

    def of(values: Array) -> Array:
        bins = rising_bits(values)
        bins >>= shift
        np.clip(bins, low, high, out=bins)
        bins = bins.astype(np.intp)
        bins -= low
        return bins

    return Bins(of, high - low + 1)


def rising_bits(values: Array) -> Array:
    """Signed integers (k,) of the width of the float values, in the same order, equal for equal ones."""
    # Adding 0 makes -0 into 0.
    bits = (values + values.dtype.type(0)).view(np.dtype(f"i{values.dtype.itemsize}"))
    flip = bits >> (8 * bits.itemsize - 1)
    flip &= np.iinfo(bits.dtype).max
    bits ^= flip
    return bits


def bins_of_value(u: Array, most: int) -> Bins | None:
    """Bins of equal steps of the score; None where the steps are no finite numbers."""
    kind = u.dtype.type
    with np.errstate(all="ignore"):
        scale = kind(most - 3) / (u[-1] - u[0])
    if not np.isfinite(scale) or scale == 0:
        return None

    def of(values: Array) -> Array:
        # Every step rises, rounded or not, and an overflow is at the right end.
        with np.errstate(over="ignore"):
            steps = values - u[0]
            steps *= scale
        np.clip(steps, -1, most - 2, out=steps)
        steps += kind(1)
        return steps.astype(np.intp)

    return Bins(of, most)


def blocks(values: Array) -> Iterator[Array]:
    """Values (k,) in slices of `BLOCK`."""
    return (values[i : i + BLOCK] for i in range(0, values.size, BLOCK))
