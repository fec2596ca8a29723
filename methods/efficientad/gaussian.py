"""A Gaussian of few vectors in many dimensions, and how far others are from it."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Gaussian:
    """A mean and the pseudo-inverse of a covariance.

    Attributes:
        mean: (d,).
        precision: (d, d), symmetric.
    """

    mean: Rows
    precision: Rows

    @staticmethod
    def of(rows: Rows) -> "Gaussian":
        """That of vectors (n, d), with Ledoit and Wolf's covariance."""
        return Gaussian(
            rows.mean(axis=0), np.asarray(np.linalg.pinv(ledoit_wolf(rows), hermitian=True), float)
        )

    def distance(self, row: Rows) -> float:
        """Mahalanobis' distance of a vector (d,), at least 0."""
        difference = row - self.mean
        # rounding may leave a square just below 0
        return float(np.sqrt(max(difference @ self.precision @ difference, 0.0)))


def ledoit_wolf(rows: Rows) -> Rows:
    """The sample covariance, drawn towards a multiple of the identity (Ledoit and Wolf, 2004).

    Args:
        rows: vectors (n, d).

    Returns:
        (1 - s) S + s tr(S)/d I, (d, d), where s is the part of S that is expected to be chance. Of one vector
        it is 0, of two S itself: both lie equally far from their mean, so that there is no chance to be seen.
    """
    n, d = rows.shape
    centred = rows - rows.mean(axis=0)
    S = centred.T @ centred / n
    target = np.trace(S) / d * np.eye(d)
    distance = np.square(S - target).sum()
    # mean of |x x' - S|² over the vectors, without forming their products
    chance = (np.square(centred).sum(axis=1) @ np.square(centred).sum(axis=1) / n - np.square(S).sum()) / n
    s = min(max(chance, 0.0) / distance, 1.0) if distance > 0 else 0.0
    return (1 - s) * S + s * target
