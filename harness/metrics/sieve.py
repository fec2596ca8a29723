"""How many pixels lie below each of many scores, without sorting the pixels.

Scores (thresholds) and pixels are put into bins by one rising function. A pixel in another bin than a
threshold is above it if its bin is, so for most pixels the number in each bin is enough. Those that share
a bin with a threshold are compared with the few that are in it. Which function it is decides about speed,
never about the counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# So that few pixels share a bin with a threshold; three tables of this size are kept, 150 MB at most.
BINS_PER_THRESHOLD = 16
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
        exact: different scores between the lowest and the highest threshold have different bins.
    """

    of: Callable[[Array], Array]
    n: int
    exact: bool


@final
@dataclass(frozen=True)
class Sifted:
    """Where pixels are among the thresholds.

    Attributes:
        bins: of the pixels, in pieces, intp; what is in a bin with a threshold is told by `ranks`.
        ranks: of those that share a bin with a threshold, in pieces, intp: twice the number of thresholds
            below the pixel, and one more if one is equal to it.
    """

    bins: list[Array]
    ranks: list[Array]


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
        self._at = np.zeros(thresholds.size, np.uint32)
        for at, u in zip(blocks(self._at), blocks(thresholds), strict=True):
            at[:] = self._bins.of(u)
        self._first = first_in_bins(self._at, 0 if self._bins.exact else self._bins.n)
        self._shared = np.zeros(self._bins.n, bool)
        self._shared[self._at] = not self._bins.exact
        self._in_bin = np.zeros(self._bins.n, np.uint32)
        self._of_rank = np.zeros(2 * thresholds.size + 1, np.uint32)

    def sift(self, values: Array) -> Sifted:
        """Find the places of finite pixels (k,), in any order; changes nothing, so threads may do it."""
        if values.dtype != self._u.dtype:
            return Sifted([], [self._ranks(values, self._searched(values))])
        found = Sifted([], [])
        for block in blocks(values):
            bins = self._bins.of(block)
            found.bins.append(bins)
            if not self._bins.exact:
                shared = np.flatnonzero(self._shared.take(bins))
                found.ranks.append(self._compared(block.take(shared), bins.take(shared)))
        return found

    def _compared(self, values: Array, bins: Array) -> Array:
        """Ranks of pixels that share a bin with a threshold."""
        at = self._first.take(bins)
        behind = np.flatnonzero(self._u.take(at) < values)
        for _ in range(STEPS):
            at[behind] += 1
            behind = behind[self._u.take(at[behind]) < values[behind]]
        if behind.size:
            at[behind] = self._searched(values[behind])
        return self._ranks(values, at)

    def _searched(self, values: Array) -> Array:
        # Neighbours are found quickly after one another.
        order = np.argsort(values)
        at = np.empty(values.size, np.intp)
        at[order] = self._u[:-1].searchsorted(values[order])
        return at

    def _ranks(self, values: Array, at: Array) -> Array:
        return 2 * at.astype(np.intp) + (self._u.take(at) == values)

    def count(self, sifted: Sifted) -> None:
        """Count pixels, less than 2**32 before the next `counts`."""
        for tally, places in ((self._in_bin, sifted.bins), (self._of_rank, sifted.ranks)):
            for some in places:
                np.add.at(tally, some, ONES[: some.size])

    def counts(self) -> tuple[Array, Array, int]:
        """What was counted since the last time.

        Returns:
            (#(counted < u), #(counted <= u)) for each threshold u, uint32 (m,); number of counted pixels.
        """
        self._in_bin[self._shared] = 0
        own = self._in_bin[self._at]
        n = add_up(self._in_bin) + add_up(self._of_rank)
        up_to = self._in_bin[self._at]
        below = up_to - own
        below += self._of_rank[:-1:2]
        up_to += self._of_rank[1::2]
        self._in_bin[:] = 0
        self._of_rank[:] = 0
        return below, up_to, n


def add_up(numbers: Array) -> int:
    """Make of uint32 numbers (k,) the sums of each and those before it, and return the last."""
    # In place and block by block: the tables are the largest arrays that there are.
    total = np.uint32(0)
    for block in blocks(numbers):
        block[0] += total
        np.cumsum(block, dtype=np.uint32, out=block)
        total = block[-1]
    return int(total)


def first_in_bins(at: Array, n: int) -> Array:
    """For each of n bins that holds a threshold: the place of its first, int32 (n,); `at`: bin of each."""
    first = np.zeros(n, np.int32)
    if n:
        first[at[::-1]] = np.arange(at.size - 1, -1, -1, dtype=np.int32)
    return first


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
