"""The vector of a position: some of the channels of all layers (Defard et al., 2020, section III-A)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.shared.backbones.features import Maps

Grid = tuple[int, int]


def position_vectors(
    maps: Maps, dimension: int | None, seed: int, device: str = "cpu"
) -> tuple[Tensor, Grid]:
    """One vector per position of the largest layer, row by row.

    Args:
        maps: layer -> (channels, height, width). A position of a smaller layer stands for all that it
            covers (nearest), as in the authors' description of a patch and the patches around it.
        dimension: how many channels; None for all.
        seed: of their choice.
        device: torch device name.

    Returns:
        float32 (height * width, channels) and (height, width).
    """
    chosen = chosen_channels([len(array) for array in maps.values()], dimension, seed)
    grid = max((array.shape[1:] for array in maps.values()), key=lambda g: g[0] * g[1])
    layers = [
        torch.from_numpy(np.array(array[own], np.float32))[None].to(device)
        for array, own in zip(maps.values(), chosen, strict=True)
        if len(own)
    ]
    sized = [F.interpolate(layer, grid, mode="nearest")[0].flatten(1).T for layer in layers]
    return torch.cat(sized, dim=1).contiguous(), (grid[0], grid[1])


def chosen_channels(channels: Sequence[int], dimension: int | None, seed: int) -> list[list[int]]:
    """For each layer the indices of its channels that are looked at, in order.

    Args:
        channels: of each layer.
        dimension: how many in all; None, or more than there are, for all.
        seed: of the choice, which depends on nothing else.
    """
    drawn = np.random.default_rng(seed).permutation(sum(channels))[:dimension]
    starts = np.cumsum([0, *channels])
    return [np.sort(drawn[(drawn >= a) & (drawn < b)] - a).tolist() for a, b in pairwise(starts)]
