"""One Gaussian per position of a grid, of fewer samples than dimensions or of more."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

BLOCK_BYTES = 1 << 26  # of float64 samples at a time
NEGLIGIBLE = 1e-12  # of the largest variance: what rounding in float64 leaves of none (centred samples)


@final
@dataclass(frozen=True)
class FewSamples:
    """N(μ, λI + VᵀSV) with orthonormal rows V: the covariance of no more samples than dimensions.

    The inverse is that of Woodbury's identity, (I - VᵀV) / λ + Vᵀ(λ + S)⁻¹V, with the part outside the
    samples' span taken as what is left of a vector, not as the difference of two large squares: λ is small,
    and in float32 the difference would lose three digits of a distance.

    Attributes:
        mean: μ, float32 (positions, dimensions).
        basis: V, float32 (positions, samples, dimensions); rows of zeros where the samples span less.
        variances: the diagonal of S, float32 (positions, samples).
        floor: λ.
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor
    floor: float

    def distances(self, vectors: Tensor) -> Tensor:
        """Mahalanobis distances (positions,) of one vector per position, (positions, dimensions)."""
        delta = vectors - self.mean
        inside = torch.bmm(self.basis, delta[:, :, None])[:, :, 0]
        outside = delta - torch.bmm(inside[:, None], self.basis)[:, 0]
        within = (inside**2 / (self.floor + self.variances)).sum(dim=1)
        return ((outside**2).sum(dim=1) / self.floor + within).sqrt()


@final
@dataclass(frozen=True)
class ManySamples:
    """N(μ, LLᵀ): more samples than dimensions.

    Attributes:
        mean: μ, float32 (positions, dimensions).
        factor: L, float32 (positions, dimensions, dimensions), lower triangular.
    """

    mean: Tensor
    factor: Tensor

    def distances(self, vectors: Tensor) -> Tensor:
        """Mahalanobis distances (positions,) of one vector per position, (positions, dimensions)."""
        delta = (vectors - self.mean)[:, :, None]
        return torch.linalg.solve_triangular(self.factor, delta, upper=False).norm(dim=1)[:, 0]


def gaussians(samples: Tensor, floor: float) -> FewSamples | ManySamples:
    """The Gaussian of every position: mean, and sample covariance (of n - 1) plus λI; of one sample λI.

    Args:
        samples: float32 (positions, samples, dimensions); taken over, its memory may be used.
        floor: λ.
    """
    number, dimensions = samples.shape[1:]
    return _few(samples, floor) if number <= dimensions else _many(samples, floor)


def _few(samples: Tensor, floor: float) -> FewSamples:
    """From the Gram matrix of the samples, (samples, samples): never a matrix of dimensions squared."""
    mean = samples.new_empty(samples.shape[0], samples.shape[2])
    variances = samples.new_empty(samples.shape[:2])
    for part in _blocks(samples):
        mean[part], scaled = _scaled(samples[part])
        values, vectors = torch.linalg.eigh(scaled @ scaled.mT)
        kept = values > NEGLIGIBLE * values.amax(dim=1, keepdim=True)
        lengths = torch.where(kept, values, torch.inf).rsqrt()
        variances[part] = torch.where(kept, values, 0).to(samples.dtype)
        samples[part] = ((vectors * lengths[:, None]).mT @ scaled).to(
            samples.dtype
        )  # as many rows as samples
    return FewSamples(mean, samples, variances, floor)


def _many(samples: Tensor, floor: float) -> ManySamples:
    positions, _, dimensions = samples.shape
    mean = samples.new_empty(positions, dimensions)
    factor = samples.new_empty(positions, dimensions, dimensions)
    identity = torch.eye(dimensions, dtype=torch.float64, device=samples.device)
    for part in _blocks(samples):
        mean[part], scaled = _scaled(samples[part])
        factor[part] = torch.linalg.cholesky(scaled.mT @ scaled + floor * identity).to(samples.dtype)
    return ManySamples(mean, factor)


def _blocks(samples: Tensor) -> Iterator[slice]:
    positions, number, dimensions = samples.shape
    size = max(1, BLOCK_BYTES // (8 * dimensions * max(number, dimensions if number > dimensions else 1)))
    return (slice(i, i + size) for i in range(0, positions, size))


def _scaled(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Means, and deviations from them over √(n - 1) in float64; of a single sample there are none."""
    exact = samples.double()
    mean = exact.mean(dim=1)
    return mean.to(samples.dtype), (exact - mean[:, None]) / max(1, samples.shape[1] - 1) ** 0.5
