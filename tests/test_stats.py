"""Statistics against brute force, worked examples, SciPy, and simulation."""

import itertools
import math

import numpy as np
import pytest

from harness.errors import ConfigError, DataError
from harness.metrics.image import auroc
from reports.stats import (
    Bootstrap,
    delong,
    holm,
    interval,
    paired_interval,
    spread,
    t_interval,
    wilcoxon,
)


def test_spread_states_its_divisor():
    assert spread([1.0, 2.0, 4.0]).std == pytest.approx(math.sqrt(7 / 3))
    assert spread([1.0, 2.0, 4.0], ddof=0).std == pytest.approx(math.sqrt(14 / 9))
    one, none = spread([0.5]), spread([])
    assert (one.mean, one.std, one.n, one.ddof) == (0.5, None, 1, 1)
    assert (none.mean, none.std, none.n) == (None, None, 0)


def test_spread_over_an_undefined_cell_is_undefined():
    found = spread([0.5, None, 0.7])
    assert (found.mean, found.std, found.n) == (None, None, 2)


def test_t_interval():
    """Student's t with 4 degrees of freedom is 2.776445 at 97.5 %."""
    low, high = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (high - low) / 2 == pytest.approx(2.776445 * math.sqrt(2.5 / 5), abs=1e-6)
    assert t_interval([1.0, 2.0]) is None


def kernel(a: float, b: float) -> float:
    return (a > b) + (a == b) / 2


def brute_force_covariance(first, second, truth) -> np.ndarray:
    """DeLong's covariance from all pairs, by its definition."""
    by_anomalous, by_normal = [], []
    for scores in (first, second):
        bad, good = scores[truth], scores[~truth]
        by_anomalous.append([np.mean([kernel(x, y) for y in good]) for x in bad])
        by_normal.append([np.mean([kernel(x, y) for x in bad]) for y in good])
    return np.cov(by_anomalous) / truth.sum() + np.cov(by_normal) / (~truth).sum()


@pytest.mark.parametrize("seed", range(20))
def test_delong_equals_brute_force(seed: int):
    rng = np.random.default_rng(seed)
    truth = np.arange(30) < rng.integers(2, 28)
    first, second = rng.integers(0, (4, 1000)[seed % 2], (2, 30)).astype(float) + truth
    found = delong(first, second, truth)
    expected = brute_force_covariance(first, second, truth)
    assert np.allclose(found.covariance, expected, atol=1e-14)
    assert (found.first, found.second) == pytest.approx((auroc(first, truth), auroc(second, truth)))
    variance = expected[0, 0] + expected[1, 1] - 2 * expected[0, 1]
    z = (found.first - found.second) / math.sqrt(variance)
    assert found.z == pytest.approx(z) and found.p == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))


def test_delong_without_variance():
    truth = np.array([True, True, False, False])
    perfect, reverse = np.array([3.0, 2.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0, 3.0])
    assert delong(perfect, 2 * perfect, truth).p == 1.0
    assert delong(perfect, reverse, truth).p is None
    assert delong(perfect, reverse, truth).difference == 1.0


def test_delong_with_too_few_images():
    assert delong([1.0, 2.0], [2.0, 1.0], [True, False]).covariance is None
    assert delong([1.0, 2.0], [2.0, 1.0], [True, True]).first is None


def test_delong_keeps_its_level():
    """Two equally good methods: about 5 % of 400 simulated data sets are called different."""
    rng = np.random.default_rng(0)
    truth, called = np.arange(120) < 60, 0
    for _ in range(400):
        common = rng.normal(size=120) + truth
        called += delong(common + rng.normal(size=120), common + rng.normal(size=120), truth).p < 0.05
    assert 0.02 < called / 400 < 0.08


@pytest.mark.parametrize(
    "values", [[1, 2, 3, 4, 5], [1, -2, 3, 3, -3, 6], [0, 0, 1, -1, 2], [0.1, 0.2 - 0.1, -0.4]]
)
def test_wilcoxon_equals_all_sign_patterns(values):
    used = np.round([v for v in values if v], 12)
    ranks = [np.mean([np.sum(np.abs(used) < a), np.sum(np.abs(used) <= a) - 1]) + 1 for a in np.abs(used)]
    middle, seen = sum(ranks) / 2, sum(r for r, v in zip(ranks, used, strict=True) if v > 0)
    sums = [
        sum(r for r, s in zip(ranks, signs, strict=True) if s)
        for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    assert wilcoxon(values).p == pytest.approx(np.mean([abs(s - middle) >= abs(seen - middle) for s in sums]))


def test_wilcoxon_equals_scipy():
    from scipy import stats

    rng = np.random.default_rng(0)
    for n in (5, 9, 15):
        values = rng.normal(0.3, 1, n)
        assert wilcoxon(values).p == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def test_five_categories_cannot_reach_five_percent():
    found = wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.p == found.smallest_p == 0.0625
    assert found.warning == "5 differences: no p below 0.0625 is possible, so none below 0.05"
    assert (found.wins, found.ties, found.losses) == (5, 0, 0)
    assert wilcoxon([1, 2, 3, 4, 5, 6]).warning is None and wilcoxon([1, 2, 3, 4, 5, 6]).p == 2 / 64


def test_wilcoxon_of_equal_methods_and_wrong_input():
    found = wilcoxon([0.0, 0.0])
    assert (found.p, found.n, found.ties, found.smallest_p) == (None, 0, 2, 1.0)
    for wrong in ([], [1.0, float("nan")]):
        with pytest.raises(DataError, match="finite differences"):
            wilcoxon(wrong)


def test_holm_worked_example():
    """Sorted 0.01, 0.03, 0.04 times 3, 2, 1, made monotone; an undefined test is no test."""
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]
    with pytest.raises(DataError, match="must be in"):
        holm([1.2])


def test_resamples_keep_the_strata_and_are_shared():
    strata = ["good"] * 7 + ["logical"] * 3 + ["structural"] * 2
    first, again = (list(Bootstrap(resamples=20, seed=5).draw(strata)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for indices in first:
        assert sorted(strata[i] for i in indices) == sorted(strata)
    assert not np.array_equal(first[0], next(iter(Bootstrap(seed=6).draw(strata))))


def test_the_interval_of_a_mean_is_near_students():
    values = np.random.default_rng(0).normal(size=80)
    for kind in ("percentile", "bca"):
        found = interval(lambda i: float(values[i].mean()), [0] * 80, Bootstrap(kind=kind))
        assert (found.low, found.high) == pytest.approx(t_interval(values.tolist()), abs=0.03)
        assert found.value == pytest.approx(values.mean()) and found.p is None


def test_bca_of_a_skewed_mean_equals_scipys():
    from scipy import stats

    values = np.random.default_rng(1).exponential(size=40)
    found = interval(lambda i: float(values[i].mean()), [0] * 40, Bootstrap(resamples=5000))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=5000, rng=np.random.default_rng(0)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_a_perfect_separation_has_no_width():
    scores, truth = np.arange(10.0), np.arange(10) > 4
    found = interval(lambda i: auroc(scores[i], truth[i]), truth.tolist())
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_an_undefined_statistic_has_no_interval():
    found = interval(lambda i: None if 0 in i else 1.0, ["good"] * 5)
    assert (found.value, found.low, found.high) == (None, None, None)


def test_paired_interval_sees_what_two_intervals_do_not():
    rng = np.random.default_rng(0)
    truth = np.arange(100) < 50
    common = rng.normal(size=100) + truth
    better, worse = common + 0.35 * truth, common + 0.02 * rng.normal(size=100)
    a, b = (lambda i, s=s: auroc(s[i], truth[i]) for s in (better, worse))
    options = Bootstrap(resamples=500)
    difference = paired_interval(a, b, truth.tolist(), options)
    assert difference.low > 0 and difference.p < 0.05
    assert interval(a, truth.tolist(), options).low < interval(b, truth.tolist(), options).high
    assert paired_interval(a, a, truth.tolist(), options).p == 1.0


@pytest.mark.parametrize("wrong", [{"level": 1.0}, {"resamples": 0}, {"kind": "normal"}])
def test_wrong_bootstrap_options_are_refused(wrong):
    with pytest.raises(ConfigError, match="bootstrap"):
        Bootstrap(**wrong)


@pytest.mark.parametrize("kind", ["percentile", "bca"])
def test_intervals_cover_the_truth(kind):
    """80 % intervals from 120 simulated data sets; the truth is that of a very large one."""
    rng = np.random.default_rng(0)
    sample = np.arange(80) < 40
    large = np.arange(200_000) < 100_000
    truth = auroc(rng.normal(size=large.size) + 1.2 * large, large)
    covered = 0
    for seed in range(120):
        scores = rng.normal(size=80) + 1.2 * sample
        options = Bootstrap(resamples=200, level=0.8, seed=seed, kind=kind)
        found = interval(lambda i, s=scores: auroc(s[i], sample[i]), sample.tolist(), options)
        covered += found.low <= truth <= found.high
    assert 0.7 < covered / 120 < 0.9
