"""The global branch: what sees a whole picture through a narrow code, and what imitates it without one."""

from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.shared.descriptors.networks import SLOPE
from methods.shared.descriptors.plans import OUTPUT

STRIDE = 4  # of the grid on which the global branch describes a picture
SMALLEST = 8  # side of the smallest grid before the code


def _sides(side: int) -> list[int]:
    """Grids of the encoders, halved from the picture's until 8 × 8 or what is next above."""
    found = [side]
    while found[-1] // 2 >= SMALLEST:
        found.append(found[-1] // 2)
    return found


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE))


@final
class Bottleneck(nn.Module):
    """E and U: a picture as a code of g numbers, and the code as descriptions on a grid of a fourth.

    Args:
        side: of the picture, in pixels.
        code: g.
        hidden: channels inside.
    """

    def __init__(self, side: int, code: int, hidden: int) -> None:
        super().__init__()
        sides = _sides(side)
        channels = [3] + [hidden] * (len(sides) - 1)
        self.encoder = nn.Sequential(*(_halving(a, b) for a, b in pairwise(channels)))
        self.inner, self.grid = sides[-1], side // STRIDE
        self.to_code = nn.Linear(hidden * self.inner**2, code)
        self.from_code = nn.Linear(code, hidden * self.inner**2)
        larger = sum(1 for s in sides if self.inner < s <= self.grid)
        self.decoder = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(larger))
        self.leave = nn.Conv2d(hidden, OUTPUT, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, 128, s / 4, s / 4)."""
        code = self.to_code(self.encoder(images).flatten(1))
        x = F.leaky_relu(self.from_code(code), SLOPE).unflatten(1, (-1, self.inner, self.inner))
        for convolution in self.decoder:
            larger = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = F.leaky_relu(convolution(larger), SLOPE)
        return F.interpolate(self.leave(x), (self.grid, self.grid), mode="bilinear")


@final
class Regressor(nn.Module):
    """R_glo: sees as much, and hands every grid on to the decoder: no code holds it back.

    Args:
        side: of the picture, in pixels.
        hidden: channels inside.
    """

    def __init__(self, side: int, hidden: int) -> None:
        super().__init__()
        sides = _sides(side)
        channels = [3] + [hidden] * (len(sides) - 1)
        self.encoder = nn.ModuleList(_halving(a, b) for a, b in pairwise(channels))
        self.grid = side // STRIDE
        larger = sum(1 for s in sides if sides[-1] < s <= self.grid)
        self.decoder = nn.ModuleList(nn.Conv2d(2 * hidden, hidden, 3, padding=1) for _ in range(larger))
        self.leave = nn.Conv2d(hidden, OUTPUT, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, 128, s / 4, s / 4)."""
        grids = [images]
        for halving in self.encoder:
            grids.append(halving(grids[-1]))
        x = grids.pop()
        for convolution in self.decoder:
            beside = grids.pop()
            larger = F.interpolate(x, beside.shape[-2:], mode="bilinear")
            x = F.leaky_relu(convolution(torch.cat([larger, beside], dim=1)), SLOPE)
        return F.interpolate(self.leave(x), (self.grid, self.grid), mode="bilinear")
