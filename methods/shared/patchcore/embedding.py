"""Locally aware patch features (Roth et al., 2022, section 3.1)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from methods.shared.backbones.features import Maps

Grid = tuple[int, int]


def patch_features(
    maps: Maps, neighbourhood: int, dimension: int | None, device: str = "cpu"
) -> tuple[NDArray[np.float32], Grid]:
    """One vector per patch of an image, on the grid of the largest layer.

    Args:
        maps: layer -> (channels, height, width).
        neighbourhood: p, the side of the square over which features are aggregated (Eq. 1, 2).
        dimension: None concatenates the layers, each averaged over the neighbourhood. A number
            does as the authors' code: channels and neighbourhood together are averaged down to that
            many values per layer, and the layers once more down to that many.
        device: torch device name.

    Returns:
        float32 (height * width, dimension) and (height, width).
    """
    with torch.inference_mode():
        layers = [_tensor(array, device) for array in maps.values()]
        grid = _largest(layers)
        if dimension is None:
            vectors = torch.cat([_averaged(layer, neighbourhood, grid) for layer in layers], dim=1)
        else:
            vectors = _adapted(layers, neighbourhood, dimension, grid)
        return vectors.contiguous().cpu().numpy(), grid


def _tensor(array: NDArray[np.floating], device: str) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))[None].to(device)  # a copy: the store's is read-only


def _largest(layers: Sequence[Tensor]) -> Grid:
    height, width = max((tuple(layer.shape[-2:]) for layer in layers), key=lambda s: s[0] * s[1])
    return height, width


def _averaged(layer: Tensor, neighbourhood: int, grid: Grid) -> Tensor:
    """(h * w, channels): mean over the neighbourhood (zero outside the map), on the common grid."""
    pooled = F.avg_pool2d(layer, neighbourhood, stride=1, padding=neighbourhood // 2)
    return _upsampled(pooled, grid)[0].flatten(1).T


def _adapted(layers: Sequence[Tensor], neighbourhood: int, dimension: int, grid: Grid) -> Tensor:
    per_layer = []
    for layer in layers:
        unfolded = F.unfold(layer, neighbourhood, padding=neighbourhood // 2)
        vectors = _upsampled(unfolded.view(1, -1, *layer.shape[-2:]), grid)[0].flatten(1).T
        per_layer.append(F.adaptive_avg_pool1d(vectors[:, None], dimension)[:, 0])
    return F.adaptive_avg_pool1d(torch.cat(per_layer, dim=1)[:, None], dimension)[:, 0]


def _upsampled(maps: Tensor, grid: Grid) -> Tensor:
    if maps.shape[-2:] == grid:
        return maps
    return F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
