"""How many anomaly-free pixels lie below each of many scores: integers, so that they add up in any order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from harness.metrics.sieve import Sieve

Array = NDArray[Any]
Subsets = tuple[str, ...] | None

# Searches run over slices of this many thresholds, so that both sides of a search stay in cache.
BLOCK = 1 << 16

# Pixels that the sieve leaves over are held back before they are sorted and searched for: the more
# thresholds, the more pixels a walk over them should serve.
CHUNK_PIXELS = 1 << 22
LARGEST_CHUNK_PIXELS = 1 << 24
CHUNK_PER_THRESHOLD = 8


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
@dataclass(frozen=True)
class Sifted:
    """Normal pixels ready to be counted.

    Attributes:
        subsets: that they count in; None for all.
        bins: of the pixels in the sieve, in pieces.
        rest: those of them that share a bin with a threshold, (r,).
    """

    subsets: Subsets
    bins: list[Array]
    rest: Array


@final
class NormalCounts:
    """Counts of several subsets from one search: a subset's thresholds are some of all thresholds.

    Args:
        thresholds: (m,), sorted, distinct.
        places: subset -> which of them are its own, sorted indices.
    """

    def __init__(self, thresholds: Array, places: Mapping[str, Array]):
        self._thresholds = thresholds
        self._places = {subset: at.astype(np.uint32) for subset, at in places.items()}
        self._counts = {subset: Counts(at.size) for subset, at in places.items()}
        self._sieve = Sieve(thresholds)
        wanted = CHUNK_PER_THRESHOLD * thresholds.size
        self._chunk = int(np.clip(wanted, CHUNK_PIXELS, LARGEST_CHUNK_PIXELS))
        # Of one set of subsets at a time: what is sifted and not yet in their counts.
        self._subsets: Subsets = None
        self._tally = self._sieve.tally()
        self._n_tally = 0
        self._rest: list[Array] = []
        self._n_rest = 0

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

    def sift(self, normals: Array, subsets: Subsets) -> Sifted:
        """Prepare pixels (k,), in any order, to be counted in `subsets`; changes nothing."""
        return Sifted(subsets, *self._sieve.sift(normals))

    def count(self, sifted: Sifted) -> None:
        """Count what `sift` prepared."""
        n = sum(some.size for some in sifted.bins)
        if sifted.subsets != self._subsets or self._n_tally + n >= 2**32:
            self._finish()
        self._subsets = sifted.subsets
        self._sieve.count(sifted.bins, self._tally)
        self._n_tally += n
        self._rest.append(sifted.rest)
        self._n_rest += sifted.rest.size
        if self._n_rest >= self._chunk:
            self._count_rest()

    def merge(self, other: Self) -> None:
        """Add the counts that another worker made for the same thresholds."""
        self._finish()
        other._finish()
        for subset, theirs in other._counts.items():
            self._counts[subset].grow(theirs.n)
            self._counts[subset].add(theirs.below, theirs.up_to)

    def _finish(self) -> None:
        if self._n_tally:
            self._share_out(*self._sieve.counts(self._tally))
            self._tally[:] = 0
            self._n_tally = 0
        if self._n_rest:
            self._count_rest()

    def _count_rest(self) -> None:
        rest = np.concatenate(self._rest)
        rest.sort()
        self._share_out(*count_in_blocks(self._thresholds, rest), rest.size)
        self._rest.clear()
        self._n_rest = 0

    def _share_out(self, below: Array, up_to: Array, n: int) -> None:
        """Add the counts of n pixels, for each of all thresholds (m,), to those of their subsets."""
        for subset, counts in self._counts.items():
            if self._subsets is None or subset in self._subsets:
                at = self._places[subset]
                counts.grow(n)
                counts.add(below[at], up_to[at])


def count_in_blocks(u: Array, v: Array) -> tuple[Array, Array]:
    """`count_sorted`, a block of thresholds at a time."""
    below, up_to = np.empty(u.size, np.intp), np.empty(u.size, np.intp)
    for start in range(0, u.size, BLOCK):
        part = slice(start, start + BLOCK)
        first, last = v.searchsorted(u[part][0], "left"), v.searchsorted(u[part][-1], "right")
        below[part], up_to[part] = count_sorted(u[part], v[first:last])
        below[part] += first
        up_to[part] += first
    return below, up_to


def count_sorted(u: Array, v: Array) -> tuple[Array, Array]:
    """(#(v < u), #(v <= u)) for sorted distinct u (m,) and sorted v (k,)."""
    # A search costs by what is looked up, so the shorter is looked up in the longer.
    return _search_u_in_v(u, v) if u.size <= v.size else _search_v_in_u(u, v)


def _search_u_in_v(u: Array, v: Array) -> tuple[Array, Array]:
    below = v.searchsorted(u, "left")
    up_to = below.copy()
    tied = v[np.minimum(below, v.size - 1)] == u
    up_to[tied] = v.searchsorted(u[tied], "right")
    return below, up_to


def _search_v_in_u(u: Array, v: Array) -> tuple[Array, Array]:
    # v <= u_j exactly if at most j thresholds are < v, and v < u_j exactly if at most j are <= v.
    smaller = u.searchsorted(v, "left")
    not_larger = smaller + (u[np.minimum(smaller, u.size - 1)] == v)
    below = np.cumsum(np.bincount(not_larger, minlength=u.size)[: u.size])
    return below, np.cumsum(np.bincount(smaller, minlength=u.size)[: u.size])
