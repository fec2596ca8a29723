"""Two methods on the same images: the difference of their AUROCs, seeds averaged.

What is resampled are images. Seeds are nested in images: five seeds on 200 images are not 1000 independent
samples. So the images are drawn once for all seeds and both methods, and inside each resample the AUROC is
averaged over the seeds. The AUROC being a mean over pairs of an anomalous and a normal image, the mean over
seeds is one too, which makes a resample one product of matrices and gives DeLong's variance of the mean
over seeds. All of it is about other images of the same kind; that other seeds might come out differently
is what the standard deviation over seeds is for.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import DataError
from harness.metrics.bootstrap import GOOD, LOGICAL, STRUCTURAL, Bootstrap, interval_of, strata
from reports.stats.delong import z_test
from reports.stats.families import holm

Floats = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)
DEFAULT = Bootstrap()
EXACT = 1 << 24  # whole numbers below are exact in float32


@final
@dataclass(frozen=True)
class Difference:
    """First - second AUROC.

    Attributes:
        value: on the images themselves, the mean over seeds.
        low, high: ends of the bootstrap interval.
        p: two-sided, of "the difference is 0" (DeLong); None where the difference has no variance, and with
            fewer than two images of a kind.
    """

    value: float
    low: float
    high: float
    p: float | None


@final
@dataclass(frozen=True)
class Area:
    """The AUROC of one method on resampled images, seeds averaged.

    Attributes:
        value: on the images themselves.
        drawn: on each resample, (resamples,).
        influence: jackknife influence of every image.
        placements: the samples, independent of each other, whose means make up the value: DeLong's
            structural components.
    """

    value: float
    drawn: Floats
    influence: Floats
    placements: tuple[Floats, ...]


@final
class ResampledImages:
    """The images of one category, drawn once for every method, seed and subset.

    Args:
        labels: per image "good", "logical", "structural", or anything else that is anomalous. Strata are
            these, all other labels together being one.
        bootstrap: how to resample; categories whose areas get averaged need different seeds.
    """

    def __init__(self, labels: Sequence[str], bootstrap: Bootstrap = DEFAULT):
        self.bootstrap = bootstrap
        self.strata = strata(labels)
        found = np.array(self.strata, object)
        self.members = {s: np.flatnonzero(found == s) for s in dict.fromkeys(self.strata)}
        weights = bootstrap.weights(self.strata).astype(np.float32)
        self._weights = {s: np.ascontiguousarray(weights[:, at]) for s, at in self.members.items()}

    @property
    def kinds(self) -> list[str]:
        """Strata of anomalous images."""
        return [s for s in self.members if s != GOOD]

    def areas(self, scores: ArrayLike, times: Sequence[int] | None = None) -> dict[str, Area]:
        """AUROC by subset: "all", and "logical", "structural" and "mean" where there are such images.

        Args:
            scores: (seeds, n) or (n,) of one method.
            times: how often each seed counts in the mean, once by default.

        Returns:
            Only subsets with normal and anomalous images.

        Raises:
            DataError: not as many scores as images.
        """
        table = np.atleast_2d(np.asarray(scores, np.float64))
        if table.shape[1] != len(self.strata):
            raise DataError(f"{table.shape[1]} scores for {len(self.strata)} images")
        if GOOD not in self.members or not self.kinds:
            return {}
        parts = {s: self._part(table, s, times or [1] * len(table)) for s in self.kinds}
        areas = {s: _area([parts[s]], [1.0]) for s in (LOGICAL, STRUCTURAL) if s in parts}
        if len(areas) == 2:
            areas["mean"] = _area([parts[LOGICAL], parts[STRUCTURAL]], [0.5, 0.5], pooled=False)
        sizes = np.array([self.members[s].size for s in parts])
        return {**areas, "all": _area(list(parts.values()), (sizes / sizes.sum()).tolist())}

    def _part(self, table: Floats, stratum: str, times: Sequence[int]) -> "_Part":
        normal, anomalous = self.members[GOOD], self.members[stratum]
        wins = _wins(table[:, anomalous], table[:, normal], times)
        total = 2.0 * sum(times) * wins.size
        # Everything is a whole number until it is divided, so the outcome is the same on every machine.
        dtype = np.float32 if total < EXACT else np.float64
        rows = self._weights[stratum].astype(dtype, copy=False) @ wins.astype(dtype)
        drawn = np.sum(rows * self._weights[GOOD].astype(dtype, copy=False), axis=1, dtype=np.float64)
        above, below = wins.sum(1) * (anomalous.size / total), wins.sum(0) * (normal.size / total)
        return _Part(np.asarray(drawn / total), above, below)


@final
@dataclass(frozen=True)
class _Part:
    """The AUROC of one stratum of anomalous images against the normal ones.

    Attributes:
        drawn: on each resample, (resamples,).
        above: per anomalous image the share of normal ones below it.
        below: per normal image the share of anomalous ones above it.
    """

    drawn: Floats
    above: Floats
    below: Floats


def _wins(anomalous: Floats, normal: Floats, times: Sequence[int]) -> NDArray[np.int32]:
    """Twice how often each anomalous image is above each normal one, over the seeds; ties are halves."""
    found = np.zeros((anomalous.shape[1], normal.shape[1]), np.int32)
    for a, n, count in zip(anomalous, normal, times, strict=True):
        found += count * ((a[:, None] > n).astype(np.int32) + (a[:, None] >= n))
    return found


def _area(parts: Sequence[_Part], shares: Sequence[float], pooled: bool = True) -> Area:
    """The mean of strata, in these shares; `pooled`: those of one AUROC over all their images."""
    below = sum((c * p.below for p, c in zip(parts, shares, strict=True)), np.zeros(1))
    drawn = sum((c * p.drawn for p, c in zip(parts, shares, strict=True)), np.zeros(1))
    n = sum(p.above.size for p in parts)
    above = [p.above * c for p, c in zip(parts, shares, strict=True)]
    found = [
        _influence(p, (p.above.size - 1) / max(p.above.size * (n - 1), 1) if pooled else c / p.above.size)
        for p, c in zip(parts, shares, strict=True)
    ]
    value = float(below.mean())
    samples = [np.concatenate([p.above for p in parts])] if pooled else above
    normal = (below - value) / below.size if below.size > 1 else np.zeros(1)
    return Area(value, drawn, np.concatenate([*found, normal]), (*samples, below))


def _influence(part: _Part, scale: float) -> Floats:
    """Of each anomalous image; none of the only one of its stratum, which is in every resample."""
    return (part.above - part.above.mean()) * scale


def mean_area(areas: Sequence[Area]) -> Area:
    """The mean over categories, whose images are drawn independently of each other.

    The categories are taken as given: the interval says what other images of theirs would change.
    """
    n = len(areas)
    return Area(
        sum(a.value for a in areas) / n,
        np.mean([a.drawn for a in areas], axis=0),
        np.concatenate([a.influence for a in areas]) / n,
        tuple(sample / n for a in areas for sample in a.placements),
    )


def difference(first: Area, second: Area, bootstrap: Bootstrap) -> Difference:
    """First - second, both drawn from the same images.

    Args:
        first: area of a subset of some `ResampledImages`, or a mean of such.
        second: that of the other method on the same ones.
        bootstrap: how they were drawn.
    """
    value = first.value - second.value
    drawn = first.drawn - second.drawn
    found = interval_of(value, drawn, bootstrap, lambda: first.influence - second.influence)
    assert found.low is not None and found.high is not None  # areas are never undefined
    return Difference(value, found.low, found.high, _p(first, second))


def _p(first: Area, second: Area) -> float | None:
    differences = [a - b for a, b in zip(first.placements, second.placements, strict=True)]
    if any(d.size < 2 for d in differences):
        return None
    variance = sum(float(np.var(d, ddof=1)) / d.size for d in differences)
    return z_test(first.value - second.value, variance)[1]


def paired_auroc(
    first: ArrayLike,
    second: ArrayLike,
    labels: Sequence[str],
    subset: str = "all",
    bootstrap: Bootstrap = DEFAULT,
) -> Difference | None:
    """The difference of two methods' AUROCs with its interval and p-value, seeds averaged.

    The images are resampled once for all seeds, and the seeds' differences averaged inside each resample:
    seeds are nested in images and never count as further samples. p is DeLong's, from the placements
    averaged over seeds; with one seed it is DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988), itself.
    Unlike a bootstrap p it has no smallest value, below which no correction for many comparisons can go.

    Args:
        first: scores (seeds, n) or (n,) of one method, of `score_table`.
        second: of the other, on the same images in the same order; numbers of seeds may differ.
        labels: per image "good", "logical", "structural" or another defect.
        subset: "all", "logical", "structural" or "mean" of the latter two.
        bootstrap: how to resample.

    Returns:
        None where the subset has no normal or no anomalous images.

    Raises:
        DataError: not as many scores as images.
    """
    images = ResampledImages(labels, bootstrap)
    areas = [images.areas(scores).get(subset) for scores in (first, second)]
    if areas[0] is None or areas[1] is None:
        return None
    return difference(areas[0], areas[1], bootstrap)


def family(found: Mapping[Key, Difference | None]) -> dict[Key, float | None]:
    """Holm-adjusted p-values of comparisons that are looked at together, by their keys."""
    adjusted = holm([None if d is None else d.p for d in found.values()])
    return dict(zip(found, adjusted, strict=True))
