"""Bootstrap over images, stratified by label: intervals for any statistic, and for paired differences."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Statistic = Callable[[Indices], float | None]


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
    value = statistic(np.arange(len(strata)))
    drawn = [statistic(indices) for indices in bootstrap.draw(strata)]
    known = np.array([x for x in drawn if x is not None], np.float64)
    if value is None or known.size < len(drawn):
        return Interval(value, None, None, None, bootstrap), known
    tails = np.array([(1 - bootstrap.level) / 2, (1 + bootstrap.level) / 2])
    if bootstrap.kind == "bca":
        tails = _bca_tails(tails, known, value, statistic, strata)
    low, high = np.quantile(known, tails)
    return Interval(value, float(low), float(high), None, bootstrap), known


def _bca_tails(
    tails: Floats, drawn: Floats, value: float, statistic: Statistic, strata: Sequence[Hashable]
) -> Floats:
    """Corrected quantiles (Efron & Tibshirani, eq. 14.10)."""
    from scipy.special import ndtr, ndtri

    # Ties count one half: metrics of a few hundred images are coarse.
    share = (np.sum(drawn < value) + np.sum(drawn == value) / 2) / drawn.size
    edge = 1 / (drawn.size + 1)
    bias = ndtri(np.clip(share, edge, 1 - edge))
    shifted = bias + ndtri(tails)
    return ndtr(bias + shifted / (1 - _acceleration(statistic, strata) * shifted))


def _acceleration(statistic: Statistic, strata: Sequence[Hashable]) -> float:
    """Skewness of the jackknife influence over all strata (Efron & Tibshirani, eq. 14.15)."""
    everyone = np.arange(len(strata))
    influence = np.zeros(len(strata))
    for at in _members(strata):
        left_out = [statistic(np.delete(everyone, i)) if at.size > 1 else None for i in at]
        if any(x is None for x in left_out):
            continue
        without = np.array(left_out, np.float64)
        influence[at] = (at.size - 1) * (without.mean() - without) / at.size
    scale = np.sum(influence**2) ** 1.5
    return float(np.sum(influence**3) / (6 * scale)) if scale > 0 else 0.0


def _members(strata: Sequence[Hashable]) -> list[Indices]:
    found: dict[Hashable, list[int]] = {}
    for i, stratum in enumerate(strata):
        found.setdefault(stratum, []).append(i)
    return [np.array(at, np.intp) for at in found.values()]
