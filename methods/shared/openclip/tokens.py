"""Patch tokens as vectors on a grid of any fineness."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Array = NDArray[np.floating[Any]]


def on_grid(tokens: Array, grid: int, device: str = "cpu") -> Tensor:
    """Tokens (side², width) -> float32 (grid², width): bilinear, corners aligned, row by row."""
    values = torch.from_numpy(np.array(tokens, np.float32)).to(device)  # a copy: the store's are read-only
    side = round(len(values) ** 0.5)
    if grid == side:
        return values
    maps = values.T.reshape(1, -1, side, side)
    return F.interpolate(maps, size=(grid, grid), mode="bilinear", align_corners=True)[0].flatten(1).T


def unit(vectors: Tensor) -> Tensor:
    """Rows of length 1."""
    return F.normalize(vectors, dim=-1)
