"""Values of positions as an anomaly map in pixels of the network's input."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Grid = tuple[int, int]


def pixel_map(layers: Sequence[NDArray[np.floating[Any]]], size: Grid, sigma: float) -> NDArray[np.float32]:
    """Mean over layers of their values, interpolated to pixels and smoothed.

    Args:
        layers: (rows, columns) each; bilinear, half-pixel centres.
        size: (height, width) in pixels.
        sigma: standard deviation of the Gaussian in pixels; 0 smoothes nothing.

    Returns:
        float32 (height, width).
    """
    import torch
    from torch.nn import functional as F

    grids = [torch.from_numpy(np.array(values, np.float32))[None, None] for values in layers]
    large = torch.stack([F.interpolate(grid, size, mode="bilinear")[0, 0] for grid in grids]).mean(dim=0)
    return gaussian_filter(large.numpy(), sigma).astype(np.float32, copy=False)


def around(inner: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A map of the centre of a square of `side` pixels as one of all of it: 0 where nobody has looked."""
    before = [(side - n) // 2 for n in inner.shape]
    return np.pad(inner, [(b, side - n - b) for b, n in zip(before, inner.shape, strict=True)])
