"""Most anomaly-free pixels lie between two thresholds; between which is counted without sorting them.

Thresholds and pixels are put into bins by one rising function. Pixels in another bin than a threshold are
above it if their bin is, so for them the number in each bin is enough. Pixels that share a bin with a
threshold are handed back, to be compared with it. Which function it is decides about speed, never about
the counts.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Few pixels share a bin with a threshold, and bins that are touched at random still mostly lie in cache.
BINS_PER_THRESHOLD = 8
FEWEST_BINS, MOST_BINS = 1 << 12, 1 << 23

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
        exact: different scores between the lowest and the highest threshold have different bins.
    """

    of: Callable[[Array], Array]
    n: int
    exact: bool


@final
class Sieve:
    """Counts pixels into the bins between the thresholds.

    Args:
        thresholds: (m,), sorted, distinct.
    """

    def __init__(self, thresholds: Array):
        self._dtype = thresholds.dtype
        self._bins = chosen_bins(thresholds)
        self._at = np.zeros(thresholds.size, np.uint32)
        for at, u in zip(blocks(self._at), blocks(thresholds), strict=True):
            at[:] = self._bins.of(u)
        self._shared = np.zeros(self._bins.n, bool)
        self._shared[self._at] = not self._bins.exact

    def tally(self) -> Array:
        """Nothing counted yet: one count per bin, for less than 2**32 pixels."""
        return np.zeros(self._bins.n, np.uint32)

    def sift(self, values: Array) -> tuple[list[Array], Array]:
        """Sort out pixels; changes nothing, so any number of threads may do it.

        Args:
            values: finite (k,), in any order.

        Returns:
            Bins for `count`, in pieces; and copies of the pixels that share a bin with a threshold (r,),
            which `count` does not count.
        """
        if values.dtype != self._dtype:
            return [], values.copy()
        bins, rest = [], [values[:0]]
        for block in blocks(values):
            bins.append(self._bins.of(block))
            if not self._bins.exact:
                rest.append(block[self._shared.take(bins[-1])])
        return bins, np.concatenate(rest)

    @staticmethod
    def count(bins: Iterable[Array], tally: Array) -> None:
        """Add pixels to a tally of this sieve."""
        for some in bins:
            np.add.at(tally, some, ONES[: some.size])

    def counts(self, tally: Array) -> tuple[Array, Array, int]:
        """What a tally says; it is used up.

        Returns:
            (#(counted < u), #(counted <= u)) for each threshold u, uint32 (m,); number of counted pixels.
        """
        tally[self._shared] = 0
        own = tally[self._at]
        up_to = np.cumsum(tally, dtype=np.uint32, out=tally)
        found = up_to[self._at]
        return found - own, found, int(up_to[-1])


def chosen_bins(u: Array) -> Bins:
    """The bins that part sorted thresholds (m,) best; a single one if they are none, or no usual floats."""
    if u.size == 0 or u.dtype not in (np.float32, np.float64):
        return Bins(lambda values: np.zeros(values.size, np.intp), 1, exact=False)
    most = min(max(1 << (BINS_PER_THRESHOLD * u.size).bit_length(), FEWEST_BINS), MOST_BINS)
    by_bits = bins_of_bits(u, most)
    if by_bits.exact:
        return by_bits
    return max(by_bits, bins_of_value(u, most) or by_bits, key=lambda bins: _parted(bins, u))


def _parted(bins: Bins, u: Array) -> int:
    return sum(int(np.count_nonzero(np.diff(bins.of(part)))) for part in blocks(u))


def bins_of_bits(u: Array, most: int) -> Bins:
    """Bins by the leading bits of scores: equal steps in their logarithm. Exact if all bits fit."""
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

    return Bins(of, high - low + 1, shift == 0)


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

    return Bins(of, most, exact=False)


def blocks(values: Array) -> Iterator[Array]:
    """Values (k,) in slices of `BLOCK`."""
    return (values[i : i + BLOCK] for i in range(0, values.size, BLOCK))
