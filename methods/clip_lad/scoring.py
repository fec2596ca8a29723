"""Anomaly scores (section 3.2): arithmetic on histograms and distance rows, nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
HistScore = Literal["rel_diff", "ratio_literal", "sym_ratio", "l2", "l1", "cosine"]
FEWEST = 3  # validation images for a covariance
RIDGE = 1e-6  # of the trace, added to the diagonal of a covariance
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
        eps: patches.
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
        sigma: their covariance (2, 2); with fewer than three images only its diagonal is used.
        maha: "inverse" takes Σ⁻¹, "literal" Σ as printed; "sum" adds z-scores.
        one_sided: whether a score below the mean counts as the mean.
    """

    mu: NDArray[np.float64]
    sigma: NDArray[np.float64]
    maha: Literal["inverse", "literal", "sum"]
    one_sided: bool

    @classmethod
    def of(cls, pairs: Floats, maha: Literal["inverse", "literal"], one_sided: bool) -> Self:
        """From the scores of at least two normal images, (n, 2): sample covariance.

        A part of the trace on the diagonal keeps a score that never varies from dividing by zero.
        """
        sigma = np.cov(np.asarray(pairs, float), rowvar=False)
        ridge = RIDGE * np.trace(sigma) + TINY
        reading = maha if len(pairs) >= FEWEST else "sum"
        return cls(np.mean(pairs, axis=0), sigma + ridge * np.eye(2), reading, one_sided)

    @classmethod
    def nothing(cls) -> Self:
        """The plain sum of both scores."""
        return cls(np.zeros(2), np.eye(2), "sum", False)

    def __call__(self, pairs: Floats) -> NDArray[np.float64]:
        """Scores (n,) of pairs (n, 2), each on its own."""
        x = np.asarray(pairs, float) - self.mu
        x = np.maximum(x, 0) if self.one_sided else x
        if self.maha == "sum":
            return (x / np.sqrt(np.diag(self.sigma))).sum(axis=1)
        matrix = self.sigma if self.maha == "literal" else np.linalg.inv(self.sigma)
        return np.sqrt(np.maximum((x[:, :, None] * matrix * x[:, None, :]).sum(axis=(1, 2)), 0))
