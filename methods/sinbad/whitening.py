"""Squared distance to the nearest of a few vectors after whitening with their shrunk covariance."""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

Whiten = Literal["inverse", "inverse_root"]
NEGLIGIBLE = 1e-10  # of the largest variance: rounding (the deviations of n vectors span n - 1 directions)

ALIKE = 1e-20  # variance beside the squared length of vectors that are all the same but for rounding


@final
@dataclass(frozen=True)
class Whitened:
    """n vectors of d dimensions, n mostly far below d; nothing of size d × d is made.

    The shrunk covariance is λI on all that the vectors' deviations do not span, and diagonal in a basis V of
    what they do span; there each of them has coordinates, and outside of it none.

    Attributes:
        mean: float64 (d,).
        basis: V, float64 (r, d), orthonormal rows, r < n.
        scales: what whitening divides a coordinate by, float64 (r,).
        outside: what it divides the rest by.
        coordinates: of the vectors, whitened, float64 (n, r).
    """

    mean: NDArray[np.float64]
    basis: NDArray[np.float64]
    scales: NDArray[np.float64]
    outside: float
    coordinates: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: NDArray[np.floating], shrinkage: float, whiten: Whiten) -> "Whitened":
        """The covariance (of n) is shrunk towards its mean variance; none at all is taken for the identity.

        Args:
            vectors: (n, d).
            shrinkage: of the covariance, above 0: (1 - shrinkage) Σ + shrinkage · tr(Σ) / d · I.
            whiten: by Σ⁻¹, or by its root.
        """
        exact = vectors.astype(np.float64)
        number, d = exact.shape
        mean = exact.mean(axis=0)
        deviations = exact - mean
        values, left = np.linalg.eigh(deviations @ deviations.T / number)
        total = float(values.clip(0).sum())
        kept = values > NEGLIGIBLE * values[-1]
        if total <= ALIKE * float((exact**2).sum()) / number:
            return cls(mean, np.empty((0, d)), np.empty(0), 1.0, np.empty((number, 0)))
        basis = (left[:, kept] / np.sqrt(values[kept] * number)).T @ deviations
        floor = shrinkage * total / d
        power = 1.0 if whiten == "inverse" else 0.5
        scales = ((1 - shrinkage) * values[kept] + floor) ** power
        return cls(mean, basis, scales, floor**power, deviations @ basis.T / scales)

    def nearest(self, vector: NDArray[np.floating]) -> float:
        """The squared distance of a vector (d,) to the nearest of the n."""
        deviation = vector.astype(np.float64) - self.mean
        inside = self.basis @ deviation
        rest = (deviation - inside @ self.basis) / self.outside
        distances = ((self.coordinates - inside / self.scales) ** 2).sum(axis=1)
        return float(rest @ rest + distances.min())
