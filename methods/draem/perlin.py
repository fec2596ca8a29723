"""Perlin noise: gradients at the corners of a lattice, blended between them."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class _Axis(NamedTuple):
    """What the corners of a lattice weigh along one axis, both (pixels, corners).

    Attributes:
        weights: how much of a corner a pixel takes.
        ramps: that times the way from the corner to the pixel, in cells.
    """

    weights: Tensor
    ramps: Tensor


def noise(gradients: Tensor, height: int, width: int) -> Tensor:
    """Noise (height, width), about in [-1, 1], 0 at the corners of the lattice.

    The four corners around a pixel share in it as products of weights along the axes, so that the sum over
    corners is two products of matrices, whatever the resolution.

    Args:
        gradients: (rows + 1, columns + 1, 2), unit vectors (down, right) at the corners.
        height: in pixels; the first pixel lies on the first corner.
        width: likewise.
    """
    rows, columns = gradients.shape[0] - 1, gradients.shape[1] - 1
    y, x = _axis(height, rows, gradients.device), _axis(width, columns, gradients.device)
    down = y.ramps @ gradients[..., 0] @ x.weights.T
    right = y.weights @ gradients[..., 1] @ x.ramps.T
    return 2**0.5 * (down + right)


@lru_cache(maxsize=32)
def _axis(pixels: int, cells: int, device: torch.device) -> _Axis:
    at = torch.arange(pixels, dtype=torch.float64) * cells / pixels
    apart = at[:, None] - torch.arange(cells + 1)  # signed, from each corner
    near = (1 - apart.abs()).clamp(min=0)
    weights = near**3 * (near * (6 * near - 15) + 10)  # Perlin's 6t⁵ - 15t⁴ + 10t³
    return _Axis(weights.float().to(device), (weights * apart).float().to(device))
