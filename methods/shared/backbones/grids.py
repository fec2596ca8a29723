"""Feature maps as one vector per patch, and values of patches as a map of the whole picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, map_coordinates
from scipy.special import ndtr

if TYPE_CHECKING:
    from torch import Tensor

Grid = tuple[int, int]


def patch_vectors(
    maps: Mapping[str, NDArray[np.floating[Any]]], device: str = "cpu"
) -> tuple[list["Tensor"], Grid]:
    """The vectors of every layer on the grid of the largest one.

    Args:
        maps: layer -> (channels, height, width); smaller ones are interpolated, half-pixel centres.
        device: torch device name.

    Returns:
        For each layer float32 (height * width, channels), row by row; and (height, width).
    """
    import torch
    from torch.nn import functional as F

    # a copy: the store's arrays are read-only
    layers = [torch.from_numpy(np.array(array, np.float32))[None].to(device) for array in maps.values()]
    grid = _largest([(layer.shape[-2], layer.shape[-1]) for layer in layers])
    sized = [
        layer if layer.shape[-2:] == grid else F.interpolate(layer, grid, mode="bilinear") for layer in layers
    ]
    return [layer[0].flatten(1).T for layer in sized], grid


def _largest(grids: Sequence[Grid]) -> Grid:
    return max(grids, key=lambda grid: grid[0] * grid[1])


def whole_map(values: NDArray[np.floating[Any]], size: Grid, sigma: float) -> NDArray[np.float32]:
    """Values of patches, enlarged and smoothed, as a map that covers the whole picture.

    What bilinear enlargement to the network's input and a Gaussian over its pixels give at the centre of
    every patch, without the enlarged map. Vision transformers leave out what is over at the right or at the
    bottom (`frozen.whole_patches`); there the map repeats the nearest patch.

    Args:
        values: (rows, columns), one per patch.
        size: (height, width) in pixels of what the network was given.
        sigma: standard deviation of the Gaussian in pixels of that.

    Returns:
        float32 (rows, columns).
    """
    patch = min(size) / min(values.shape)
    weights = _weights(sigma / patch)
    smooth = correlate1d(correlate1d(np.asarray(values, np.float64), weights, 0), weights, 1)
    # centres of the map's cells, in patches
    axes = [
        (np.arange(n) + 0.5) * max(1.0, side / (n * patch)) - 0.5
        for n, side in zip(values.shape, size, strict=True)
    ]
    return map_coordinates(smooth, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest").astype(
        np.float32
    )


def _weights(sigma: float) -> NDArray[np.float64]:
    """How much each neighbour counts at the centre of a patch: E tent(k + g), g ~ N(0, σ), σ in patches.

    The tent is bilinear interpolation; its second antiderivative has one kink each at -1, 0 and 1.
    """
    if sigma == 0:
        return np.ones(1)
    reach = int(np.ceil(4 * sigma)) + 1
    t = np.arange(-reach - 1, reach + 2) / sigma
    ramp = sigma * (t * ndtr(t) + np.exp(-t * t / 2) / np.sqrt(2 * np.pi))  # E max(t - g, 0)
    weights = np.diff(ramp, 2)
    return weights / weights.sum()
