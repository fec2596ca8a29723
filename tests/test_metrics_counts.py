"""Normal pixels below every threshold: the sieve and its bins against counting them one by one."""

from typing import Literal

import metrics_twin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import sieve
from harness.metrics.counts import NormalCounts

HUGE = np.finfo(np.float32).max


def floats(width: Literal[32, 64]):
    """Any finite float; ties and near ties; the ends of the range and both zeros."""
    kind = np.float32 if width == 32 else np.float64
    near = st.integers(-3, 3).map(lambda k: float(np.nextafter(kind(1), kind(k)) if k else kind(1)))
    coarse = st.integers(-4, 4).map(lambda k: k / 4)
    ends = st.sampled_from([0.0, -0.0, float(HUGE), -float(HUGE), 1e-45, -1e-45])
    return coarse | near | ends | st.floats(allow_nan=False, allow_infinity=False, width=width)


@st.composite
def cases(draw):
    """Sorted different thresholds, and three arrays of normal pixels, some of another dtype."""
    width = draw(st.sampled_from([32, 64]))
    kind, scores = np.float32 if width == 32 else np.float64, floats(width)
    u = np.unique(np.array(draw(st.lists(scores, max_size=20)), kind))
    normals = [np.array(draw(st.lists(scores, max_size=30)), kind) for _ in range(3)]
    if draw(st.booleans()):
        normals[1] = normals[1].astype(np.float64)
    return u, normals


@given(cases(), st.sampled_from([8, 64, 1 << 12]), st.sampled_from([0, 1, 8]))
def test_any_floats_in_any_bins(case, bins: int, steps: int):
    u, normals = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sieve, "FEWEST_BINS", bins)
        patch.setattr(sieve, "MOST_BINS", bins)
        patch.setattr(sieve, "BLOCK", 8)
        patch.setattr(sieve, "STEPS", steps)
        counted = NormalCounts(u, {"all": np.arange(u.size), "odd": np.arange(1, u.size, 2)})
        for values, subsets in zip(normals, (None, ("odd",), ("all", "nowhere")), strict=True):
            counted.count(counted.sift(values), values.size, subsets)
        check(counted, "all", u, [normals[0], normals[2]])
        check(counted, "odd", u[1::2], normals[:2])


def check(counted: NormalCounts, subset: str, thresholds: np.ndarray, normals: list[np.ndarray]) -> None:
    u, found = counted.of(subset)
    pooled = [x for values in normals for x in values.tolist()]
    assert np.array_equal(u, thresholds) and found.n == len(pooled)
    below, up_to = metrics_twin.counts(u.tolist(), pooled)
    assert (found.below.tolist(), found.up_to.tolist()) == (below, up_to)


def by_value(u: np.ndarray, most: int) -> sieve.Bins:
    bins = sieve.bins_of_value(u, most)
    assert bins is not None
    return bins


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_bins_rise_and_part_neighbours_where_they_can(kind):
    ends = np.array([1, 1 + 40 * np.finfo(kind).eps], kind)
    every = np.unique(np.linspace(ends[0], ends[1], 200).astype(kind))
    fine = sieve.chosen_bins(ends)
    assert np.unique(fine.of(every)).size == every.size == 41
    wide = np.sort(np.random.default_rng(0).normal(size=500).astype(kind) ** 5)
    for bins in (sieve.bins_of_bits(wide, 4096), by_value(wide, 4096)):
        found = bins.of(np.concatenate([[-1e30], wide, [1e30]]).astype(kind))
        assert (np.diff(found) >= 0).all() and found[0] >= 0 and found[-1] < bins.n


def test_the_bins_that_part_the_thresholds_best_are_taken():
    """Equal steps of the score where it crosses zero, of its logarithm where it spans many decades."""
    rng = np.random.default_rng(0)
    linear, decades = np.unique(rng.normal(size=900)), np.unique(10 ** rng.uniform(-30, 30, 900))
    for scores, best in ((linear, by_value), (decades, sieve.bins_of_bits)):
        u = scores.astype(np.float32)
        shared = [np.unique(bins.of(u)).size for bins in (sieve.chosen_bins(u), best(u, 1 << 12))]
        assert shared[0] == shared[1] > 500


def test_scores_that_no_bins_are_made_for_are_searched_for():
    """What is not float32 or float64, or not of the thresholds' type, goes the slow way."""
    for kind, other in ((np.longdouble, np.longdouble), (np.float32, np.float64), (np.float64, np.float32)):
        u, values = np.arange(5).astype(kind), np.array([0, 2, 2, 9]).astype(other)
        counted = NormalCounts(u, {"all": np.arange(5)})
        counted.count(counted.sift(values), 4, None)
        check(counted, "all", u, [values])
