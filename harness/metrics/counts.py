"""How many anomaly-free pixels lie below each of many scores: integers, so that they add up in any order."""

from collections.abc import Mapping
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from harness.metrics.sieve import Sieve

Array = NDArray[Any]
Subsets = tuple[str, ...] | None


@final
class Counts:
    """For every threshold u of one subset of images: how many of its normal pixels are < u and <= u.

    Attributes:
        below: #(normal < u), unsigned integers (m,).
        up_to: #(normal <= u).
        n: number of normal pixels.
    """

    def __init__(self, m: int):
        # Half the memory of int64, which takes over before the first overflow is possible.
        self.below: Array = np.zeros(m, np.uint32)
        self.up_to: Array = np.zeros(m, np.uint32)
        self.n = 0

    def grow(self, more: int) -> None:
        """Announce `more` normal pixels, which `add` may then count."""
        self.n += more
        if self.n >= 2**32 and self.below.dtype == np.uint32:
            self.below, self.up_to = self.below.astype(np.int64), self.up_to.astype(np.int64)

    def add(self, below: Array, up_to: Array) -> None:
        """Add counts, integers (m,)."""
        self.below += below.astype(self.below.dtype, copy=False)
        self.up_to += up_to.astype(self.up_to.dtype, copy=False)


@final
class NormalCounts:
    """Counts of several subsets from one look: a subset's thresholds are some of all thresholds.

    Args:
        thresholds: (m,), sorted, distinct.
        places: subset -> which of them are its own, sorted indices.
    """

    def __init__(self, thresholds: Array, places: Mapping[str, Array]):
        self._thresholds = thresholds
        self._places = {subset: at.astype(np.uint32) for subset, at in places.items()}
        self._counts = {subset: Counts(at.size) for subset, at in places.items()}
        self._sieve = Sieve(thresholds)
        # What the sieve holds, of one set of subsets at a time, and is not yet in their counts.
        self._subsets: Subsets = None
        self._n = 0

    def of(self, subset: str) -> tuple[Array, Counts]:
        """The thresholds (m,) of a subset, and its counts; both empty for one without thresholds."""
        self._finish()
        if subset not in self._counts:
            return self._thresholds[:0], Counts(0)
        return self._thresholds[self._places[subset]], self._counts[subset]

    def rank(self, subset: str) -> Array:
        """How many of a subset's thresholds are below each of all thresholds that it has, uint32 (m,)."""
        ranks = np.zeros(self._thresholds.size, np.uint32)
        places = self._places.get(subset, ranks[:0])
        ranks[places] = np.arange(places.size, dtype=np.uint32)
        return ranks

    def sift(self, normals: Array) -> list[Array]:
        """Prepare pixels (k,), in any order, to be counted; changes nothing, so threads may do it."""
        return self._sieve.sift(normals)

    def count(self, sifted: list[Array], n: int, subsets: Subsets) -> None:
        """Count n pixels in some subsets.

        Args:
            sifted: what `sift` made of them.
            n: at most 2**31.
            subsets: None for all. Least is to be done where the same follow each other.
        """
        if subsets != self._subsets or self._n + n >= 2**32:
            self._finish()
        self._subsets = subsets
        self._n += n
        self._sieve.count(sifted)

    def merge(self, other: Self) -> None:
        """Add the counts that another worker made for the same thresholds."""
        self._finish()
        other._finish()
        for subset, theirs in other._counts.items():
            self._counts[subset].grow(theirs.n)
            self._counts[subset].add(theirs.below, theirs.up_to)

    def _finish(self) -> None:
        if self._n == 0:
            return
        below, up_to, n = self._sieve.counts()
        for subset, counts in self._counts.items():
            if self._subsets is None or subset in self._subsets:
                at = self._places[subset]
                counts.grow(n)
                counts.add(below[at], up_to[at])
        self._n = 0
