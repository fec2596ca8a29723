"""How many anomaly-free pixels lie below each of many scores: integers, so that they add up in any order."""

from collections.abc import Iterable, Mapping
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Searches run over slices of this many thresholds, so that both sides of a search stay in cache and
# nothing of the size of all thresholds is made per chunk of pixels.
BLOCK = 1 << 16


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

    def add(self, part: slice, below: Array, up_to: Array) -> None:
        """Add counts, integers (k,), to the k thresholds of `part`."""
        self.below[part] += below.astype(self.below.dtype)
        self.up_to[part] += up_to.astype(self.up_to.dtype)


@final
class NormalCounts:
    """Counts of several subsets from one search: a subset's thresholds are some of all thresholds.

    Args:
        thresholds: (m,), sorted, distinct.
        places: subset -> which of them are its own, sorted indices.
    """

    def __init__(self, thresholds: Array, places: Mapping[str, Array]):
        self.thresholds = thresholds
        self._starts = np.arange(0, thresholds.size, BLOCK)
        self._places = {subset: at.astype(np.uint32) for subset, at in places.items()}
        self._cuts = {s: np.append(at.searchsorted(self._starts), at.size) for s, at in places.items()}
        self.subsets = {subset: Counts(at.size) for subset, at in places.items()}

    def of(self, subset: str) -> tuple[Array, Counts]:
        """The thresholds (m,) of a subset, and its counts; both empty for one without thresholds."""
        if subset not in self.subsets:
            return self.thresholds[:0], Counts(0)
        return self.thresholds[self._places[subset]], self.subsets[subset]

    def add(self, normals: Array, subsets: Iterable[str]) -> None:
        """Count pixels (k,), in any order (the array is sorted in place), in each of `subsets`."""
        known = [subset for subset in subsets if subset in self.subsets]
        for subset in known:
            self.subsets[subset].grow(normals.size)
        normals.sort()
        ends = np.minimum(self._starts + BLOCK, self.thresholds.size)
        first = normals.searchsorted(self.thresholds[self._starts], "left")
        last = normals.searchsorted(self.thresholds[ends - 1], "right")
        for b in range(self._starts.size) if known else ():
            inside = normals[first[b] : last[b]]
            below, up_to = count_sorted(self.thresholds[self._starts[b] : ends[b]], inside)
            self._share_out(b, known, below + first[b], up_to + first[b])

    def _share_out(self, b: int, subsets: Iterable[str], below: Array, up_to: Array) -> None:
        for subset in subsets:
            part = slice(*self._cuts[subset][b : b + 2])
            at = self._places[subset][part] - np.uint32(self._starts[b])
            self.subsets[subset].add(part, below[at], up_to[at])

    def merge(self, other: Self) -> None:
        """Add the counts that another worker made for the same thresholds."""
        for subset, theirs in other.subsets.items():
            self.subsets[subset].grow(theirs.n)
            self.subsets[subset].add(slice(None), theirs.below, theirs.up_to)


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
