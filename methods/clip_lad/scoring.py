"""Anomaly scores (section 3.2): arithmetic on histograms and distance rows, nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
HistScore = Literal["rel_diff", "ratio_literal", "sym_ratio", "l2", "l1", "cosine"]
FEWEST = 3  # validation images for a covariance
RIDGE = 1e-6  # of its variance, added to that of every score
FLAT = 1e-6  # of its mean: a score that varies less than this does so by rounding
TINY = 1e-12


def histogram_distances(
    h_test: Floats,
    bank: Floats,
    score: HistScore,
    eps: float = 1.0,
    norm: Literal["count", "fraction"] = "count",
) -> Floats:
    """How far histograms are from each of those in the memory bank; s_log is the least (Eq. 2).

    Args:
        h_test: counts of patches per part (n, C).
        bank: M_hist, counts (k, C).
        score: reading of Eq. 2. rel_diff: Σ|a − b| / max(b, eps). ratio_literal: Σ a / max(b, eps), as
            printed. sym_ratio: Σ (max(a/b, b/a) − 1), both at least eps. l1, l2: of a − b.
            cosine: 1 − cos.
        eps: the least denominator, in patches: a part that no support image has counts as so many.
        norm: "fraction" divides every histogram by the number of patches in it, and eps by the larger
            of both numbers.

    Returns:
        (n, k).
    """
    a, b = np.asarray(h_test, float)[:, None], np.asarray(bank, float)[None]
    least: Floats = np.array(float(eps))
    if norm == "fraction":
        sizes = _total(a), _total(b)
        a, b, least = a / sizes[0], b / sizes[1], least / np.maximum(*sizes)
    return _READINGS[score](a, b, least)


def _total(h: Floats) -> Floats:
    return np.maximum(h.sum(axis=2, keepdims=True), 1)


def _rel_diff(a: Floats, b: Floats, eps: Floats) -> Floats:
    return (np.abs(a - b) / np.maximum(b, eps)).sum(axis=2)


def _ratio_literal(a: Floats, b: Floats, eps: Floats) -> Floats:
    return (a / np.maximum(b, eps)).sum(axis=2)


def _sym_ratio(a: Floats, b: Floats, eps: Floats) -> Floats:
    a, b = np.maximum(a, eps), np.maximum(b, eps)
    return (np.maximum(a / b, b / a) - 1).sum(axis=2)


def _l1(a: Floats, b: Floats, eps: Floats) -> Floats:
    del eps
    return np.abs(a - b).sum(axis=2)


def _l2(a: Floats, b: Floats, eps: Floats) -> Floats:
    del eps
    return np.sqrt(((a - b) ** 2).sum(axis=2))


def _cosine(a: Floats, b: Floats, eps: Floats) -> Floats:
    """Two empty histograms are alike; an empty one and another are not at all."""
    del eps
    lengths = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
    both_empty = (a.sum(axis=2) == 0) & (b.sum(axis=2) == 0)
    return np.where(both_empty, 0.0, np.maximum(0, 1 - (a * b).sum(axis=2) / np.maximum(lengths, TINY)))


_READINGS: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "rel_diff": _rel_diff,
    "ratio_literal": _ratio_literal,
    "sym_ratio": _sym_ratio,
    "l1": _l1,
    "l2": _l2,
    "cosine": _cosine,
}


def patch_map(rows: Floats, fuse: Literal["mean", "sum", "concat"]) -> NDArray[np.float64]:
    """Anomaly map of one image: per stage the nearest support patch, then the stages together (Eq. 3).

    Args:
        rows: least distance of every query patch to each support image, (stages, k, patches).
        fuse: "concat" expects distances of concatenated stages, hence one row of stages.

    Returns:
        (patches,); s_str is its maximum.
    """
    nearest = np.asarray(rows, float).min(axis=1)
    return nearest.sum(axis=0) if fuse == "sum" else nearest.mean(axis=0)


@final
@dataclass(frozen=True)
class Normalisation:
    """How (s_log, s_str) become one score (Eq. 4).

    Attributes:
        mu: mean of the normal images' scores, (2,).
        unit: in which their distance from it is measured, (2,).
        matrix: (2, 2), of the quadratic form of those distances; None to add them instead.
        one_sided: whether a score below the mean counts as the mean.
    """

    mu: NDArray[np.float64]
    unit: NDArray[np.float64]
    matrix: NDArray[np.float64] | None
    one_sided: bool

    @classmethod
    def of(cls, pairs: Floats, maha: Literal["inverse", "literal"], one_sided: bool) -> Self:
        """From the scores of at least two normal images, (n, 2).

        Whatever the units of the two scores, the result is the same: each is measured in its own
        standard deviations before the (sample) covariance is inverted, and so is the ridge that keeps
        two scores that say the same from dividing by zero. Two images allow no covariance, z-scores are
        added then.

        Args:
            pairs: their scores.
            maha: "inverse" takes Σ⁻¹; "literal" Σ as printed, which is of the scores' units squared.
            one_sided: see the class.
        """
        x = np.asarray(pairs, float)
        mu, sigma = x.mean(axis=0), np.cov(x, rowvar=False)
        if len(x) >= FEWEST and maha == "literal":
            return cls(mu, np.ones(2), sigma, one_sided)
        unit = _units(mu, np.sqrt(np.diag(sigma)))
        if len(x) < FEWEST:
            return cls(mu, unit, None, one_sided)
        correlation = sigma / np.outer(unit, unit)
        np.fill_diagonal(correlation, 1 + RIDGE)
        return cls(mu, unit, np.linalg.inv(correlation).astype(float), one_sided)

    @classmethod
    def nothing(cls) -> Self:
        """The plain sum of both scores."""
        return cls(np.zeros(2), np.ones(2), None, False)

    def __call__(self, pairs: Floats) -> NDArray[np.float64]:
        """Scores (n,) of pairs (n, 2), each on its own."""
        x = (np.asarray(pairs, float) - self.mu) / self.unit
        x = np.maximum(x, 0) if self.one_sided else x
        if self.matrix is None:
            return x.sum(axis=1)
        return np.sqrt(np.maximum((x[:, :, None] * self.matrix * x[:, None, :]).sum(axis=(1, 2)), 0))


def _units(mu: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard deviations; of a score that never varies its mean, and 1 if that is 0 as well."""
    fallback = np.where(mu == 0, 1.0, np.abs(mu))
    return np.where(deviation <= FLAT * np.abs(mu), fallback, deviation)
