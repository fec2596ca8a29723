"""The principal subspace of normal patches, and what of a vector lies outside of it."""

from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@final
@dataclass(frozen=True)
class Subspace:
    """An affine subspace.

    Attributes:
        mean: float32 (d,), a point of it.
        outside: float32 (d, d - r), an orthonormal basis of what is orthogonal to it.
    """

    mean: Vectors
    outside: Vectors

    @classmethod
    def of(cls, moments: NDArray[np.float64], explained: float) -> Self:
        """The principal components that explain a part of the variance.

        Args:
            moments: (d + 1, d + 1), see `moments.total_moments`.
            explained: part of the variance that they hold at least; r is the smallest such number.
        """
        number, mean = moments[-1, -1], moments[-1, :-1] / moments[-1, -1]
        covariance = moments[:-1, :-1] / number - np.outer(mean, mean)
        values, directions = np.linalg.eigh(covariance)
        # of fewer vectors than dimensions some values are 0, give or take a rounding
        held = np.cumsum(values[::-1].clip(min=0))
        r = int(np.searchsorted(held, explained * held[-1])) + 1 if held[-1] > 0 else 0
        outside = directions[:, : max(0, len(mean) - r)]
        return cls(mean.astype(np.float32), np.ascontiguousarray(outside, np.float32))

    def residuals(self, vectors: Vectors) -> NDArray[np.float32]:
        """Squared length of what lies outside, (n,), at least 0.

        Not the length of the vector less that of its projection: the difference would be lost in rounding.
        """
        return (((vectors - self.mean) @ self.outside) ** 2).sum(axis=1)
