"""Bootstrap over images, stratified by label: intervals for any statistic, and for paired differences."""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigError

GOOD, LOGICAL, STRUCTURAL, OTHER = "good", "logical", "structural", "anomalous"

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Statistic = Callable[[Indices], float | None]
Weighted = Callable[[Floats], Floats]

ROUNDING = 1e-12


@final
@dataclass(frozen=True)
class Bootstrap:
    """How to resample.

    Attributes:
        resamples: 2000 or more for figures that get published.
        level: nominal coverage, in (0, 1).
        seed: the same seed and strata give the same resamples to every statistic.
        kind: "bca" corrects bias and skewness and costs one more evaluation per image.

    Raises:
        ConfigError: a value that makes no sense.
    """

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0
    kind: Literal["percentile", "bca"] = "bca"

    def __post_init__(self):
        if not 0 < self.level < 1 or self.resamples < 1:
            raise ConfigError(f"bootstrap level must be in (0, 1) and resamples at least 1, got {self}")
        if self.kind not in ("percentile", "bca"):
            raise ConfigError(f"bootstrap kind must be percentile or bca, got {self.kind!r}")

    def draw(self, strata: Sequence[Hashable]) -> Iterator[Indices]:
        """Indices (n,) of each resample: as many images of each stratum as there are."""
        rng = np.random.default_rng(self.seed)
        members = _members(strata)
        for _ in range(self.resamples):
            yield np.concatenate([at[rng.integers(at.size, size=at.size)] for at in members])

    def weights(self, strata: Sequence[Hashable]) -> Floats:
        """How often each image is in each resample of `draw`, whole numbers (resamples, n)."""
        counts = [np.bincount(indices, minlength=len(strata)) for indices in self.draw(strata)]
        return np.array(counts, np.float64)


@final
@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval.

    Attributes:
        value: on the images themselves.
        low, high: ends of the interval; None where the value or that of a resample is not defined.
        p: two-sided p-value of "the difference is 0"; only for differences.
        bootstrap: how it was made.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    bootstrap: Bootstrap


def interval(
    statistic: Statistic, strata: Sequence[Hashable], bootstrap: Bootstrap = Bootstrap()
) -> Interval:
    """Interval of any statistic over images, resampled within strata.

    Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), 13.3 (percentile) and 14.3 (BCa).
    In simulations with 100 normal and 90 anomalous images, nominal 95 % intervals covered the truth as
    follows, BCa (percentile): AUROC 94 (95), AP 93 (94), F1-max 93 (82) %, the last because a maximum is
    biased upwards; with 40 and 20 images and AUROC 0.94: 92 (90), 92 (90), 91 (78) %. AU-sPRO of 40 normal
    and 40 anomalous images: 94 (96) % up to a false-positive rate of 0.05, 91 (94) % up to 0.3.
    A statistic that never changes (AUROC of a perfect separation) has an interval of width 0.

    Args:
        statistic: indices of images (n,), with repeats -> value. From scores:
            `lambda i: auroc(scores[i], anomalous[i])`; for AU-sPRO: `lambda i: curves.area(i, limit)`
            of `harness.metrics.curves.ImageCurves`, which resamples images and not pixels.
        strata: per image its stratum, usually its label (good, logical, structural).
        bootstrap: how to resample.
    """
    return _interval(statistic, strata, bootstrap)[0]


def weighted_interval(
    statistic: Weighted,
    strata: Sequence[Hashable],
    bootstrap: Bootstrap = Bootstrap(),
    weights: Floats | None = None,
) -> Interval:
    """The same as `interval`, for a statistic that takes all resamples at once.

    Args:
        statistic: how often each image counts (b, n) -> value of each row (b,), NaN where not defined.
        strata: per image its stratum.
        bootstrap: how to resample.
        weights: `bootstrap.weights(strata)`, if it is there already.
    """
    n = len(strata)
    value = float(statistic(np.ones((1, n)))[0])
    drawn = statistic(bootstrap.weights(strata) if weights is None else weights)
    return interval_of(value, drawn, bootstrap, lambda: influences(statistic(1 - np.eye(n)), strata))


def paired_interval(
    first: Statistic,
    second: Statistic,
    strata: Sequence[Hashable],
    bootstrap: Bootstrap = Bootstrap(),
) -> Interval:
    """Interval and p-value of first - second, both on the same resampled images.

    The p-value is twice the smaller share of resampled differences beyond 0, the data themselves counted
    as one resample (Davison & Hinkley, "Bootstrap Methods and their Application" (1997), ch. 4).
    """

    def difference(indices: Indices) -> float | None:
        a, b = first(indices), second(indices)
        return None if a is None or b is None else a - b

    found, drawn = _interval(difference, strata, bootstrap)
    if found.low is None:
        return found
    beyond = min(int(np.sum(drawn <= 0)), int(np.sum(drawn >= 0)))
    return replace(found, p=min(1.0, 2 * (beyond + 1) / (drawn.size + 1)))


def _interval(
    statistic: Statistic, strata: Sequence[Hashable], bootstrap: Bootstrap
) -> tuple[Interval, Floats]:
    def known(indices: Indices) -> float:
        found = statistic(indices)
        return math.nan if found is None else found

    everyone = np.arange(len(strata))
    drawn = np.array([known(indices) for indices in bootstrap.draw(strata)])

    def influence() -> Floats:
        return influences(np.array([known(np.delete(everyone, i)) for i in everyone]), strata)

    return interval_of(known(everyone), drawn, bootstrap, influence), drawn


def interval_of(
    value: float, drawn: Floats, bootstrap: Bootstrap, influence: Callable[[], Floats]
) -> Interval:
    """The interval that resampled values give.

    Args:
        value: on the images themselves, NaN where not defined.
        drawn: on each resample, (resamples,); one NaN, and there is no interval.
        bootstrap: how they were made.
        influence: of each image on the value; asked for by "bca" only.
    """
    if math.isnan(value) or np.isnan(drawn).any():
        return Interval(None if math.isnan(value) else value, None, None, None, bootstrap)
    tails = np.array([(1 - bootstrap.level) / 2, (1 + bootstrap.level) / 2])
    if bootstrap.kind == "bca":
        tails = _bca_tails(tails, drawn, value, _acceleration(influence()))
    low, high = np.quantile(drawn, tails)
    return Interval(value, float(low), float(high), None, bootstrap)


def influences(left_out: Floats, strata: Sequence[Hashable]) -> Floats:
    """Jackknife influence of each image within its stratum (Efron & Tibshirani, eq. 14.15).

    Args:
        left_out: the statistic without each image, (n,); NaN where not defined.
        strata: per image its stratum.

    Returns:
        (n,); 0 in strata of one image, and where the statistic is not defined without one of them.
    """
    found = np.zeros(len(strata))
    for at in _members(strata):
        if at.size > 1 and not np.isnan(left_out[at]).any():
            found[at] = (at.size - 1) * (left_out[at].mean() - left_out[at]) / at.size
    return found


def _bca_tails(tails: Floats, drawn: Floats, value: float, acceleration: float) -> Floats:
    """Corrected quantiles (Efron & Tibshirani, eq. 14.10)."""
    from scipy.special import ndtr, ndtri

    # Ties count one half: metrics of a few hundred images are coarse, and equal up to rounding.
    share = (np.sum(drawn < value - ROUNDING) + np.sum(drawn <= value + ROUNDING)) / (2 * drawn.size)
    edge = 1 / (drawn.size + 1)
    bias = ndtri(np.clip(share, edge, 1 - edge))
    shifted = bias + ndtri(tails)
    return ndtr(bias + shifted / (1 - acceleration * shifted))


def _acceleration(influence: Floats) -> float:
    """Skewness of the influences over all strata."""
    scale = np.sum(influence**2) ** 1.5
    return float(np.sum(influence**3) / (6 * scale)) if scale > 0 else 0.0


def _members(strata: Sequence[Hashable]) -> list[Indices]:
    found: dict[Hashable, list[int]] = {}
    for i, stratum in enumerate(strata):
        found.setdefault(stratum, []).append(i)
    return [np.array(at, np.intp) for at in found.values()]


def strata(labels: Sequence[str]) -> list[str]:
    """Per image what it is resampled with: good, logical, structural, or any other defect."""
    return [label if label in (GOOD, LOGICAL, STRUCTURAL) else OTHER for label in labels]
