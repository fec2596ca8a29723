"""DeLong's test of two AUROCs measured on the same images."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.metrics.image import checked_scores

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class DeLong:
    """Two AUROCs of the same images compared.

    Attributes:
        first, second: the AUROCs; None with no normal or no anomalous image.
        difference: first - second.
        covariance: of (first, second), 2 x 2; None with fewer than two images of either kind.
        z, p: None where the difference has no variance, except p = 1 for equal AUROCs.
    """

    first: float | None
    second: float | None
    difference: float | None
    covariance: tuple[tuple[float, float], tuple[float, float]] | None
    z: float | None
    p: float | None


def delong(first: ArrayLike, second: ArrayLike, anomalous: ArrayLike) -> DeLong:
    """DeLong's test of two correlated AUROCs, ties counted one half, O(n log n).

    DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988), 837-845; sorting instead of all pairs as in
    Sun & Xu, IEEE Signal Processing Letters 21 (2014).

    Args:
        first: scores (n,) of one method.
        second: scores (n,) of the other on the same images.
        anomalous: bool (n,).

    Raises:
        DataError: lengths differ, or a score is not finite.
    """
    scores = [checked_scores(s, anomalous) for s in (first, second)]
    truth = scores[0][1]
    if truth.all() or not truth.any():
        return DeLong(None, None, None, None, None, None)
    parts = [_placements(s[truth], s[~truth]) for s, _ in scores]
    a, b = (float(of_anomalous.mean()) for of_anomalous, _ in parts)
    if min(truth.sum(), (~truth).sum()) < 2:
        return DeLong(a, b, a - b, None, None, None)
    of_anomalous, of_normal = (np.cov([p[k] for p in parts]) / parts[0][k].size for k in (0, 1))
    (s_aa, s_ab), (s_ba, s_bb) = (of_anomalous + of_normal).tolist()
    return DeLong(a, b, a - b, ((s_aa, s_ab), (s_ba, s_bb)), *z_test(a - b, s_aa + s_bb - 2 * s_ab))


def _placements(anomalous: Floats, normal: Floats) -> tuple[Floats, Floats]:
    """Per anomalous image the share of normal ones below it; per normal one of anomalous ones above."""
    return _share_below(normal, anomalous), 1 - _share_below(anomalous, normal)


def _share_below(reference: Floats, scores: Floats) -> Floats:
    ordered = np.sort(reference)
    return (ordered.searchsorted(scores, "left") + ordered.searchsorted(scores, "right")) / (2 * ordered.size)


def z_test(difference: float, variance: float) -> tuple[float | None, float | None]:
    """Score z and two-sided p of a difference of this variance."""
    # Rounding leaves variances of 1e-18 where the two rankings are the same.
    if variance <= 1e-15:
        return None, 1.0 if abs(difference) < 1e-12 else None
    z = difference / math.sqrt(variance)
    return z, math.erfc(abs(z) / math.sqrt(2))
