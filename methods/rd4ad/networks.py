"""The trained networks: what condenses features of three levels, and what makes them again of that."""

from collections.abc import Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

Change = Literal["none", "half", "double"]
CONDENSED = 3  # blocks
STAGES = (3, 4, 6)  # blocks, from the smallest grid to the largest: as in a ResNet-50, and not mirrored


@final
class Block(nn.Module):
    """A residual bottleneck block whose grid stays, is halved, or doubled.

    Args:
        inputs, outputs: channels.
        width: channels in between.
        change: of the grid.
    """

    def __init__(self, inputs: int, outputs: int, width: int, change: Change = "none") -> None:
        super().__init__()
        middle = (
            _double(width, width) if change == "double" else _conv(width, width, 3, 1 + (change == "half"))
        )
        self.branch = nn.Sequential(
            *_rectified(_conv(inputs, width)),
            *_rectified(middle),
            _conv(width, outputs),
            nn.BatchNorm2d(outputs),
        )
        if change == "none":
            self.skip = None
        else:
            resize = _double(inputs, outputs) if change == "double" else _conv(inputs, outputs, 1, 2)
            self.skip = nn.Sequential(resize, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, …)."""
        skipped = x if self.skip is None else self.skip(x)
        return torch.relu_(self.branch(x) + skipped)


@final
class Embedding(nn.Module):
    """Multi-scale fusion and one-class bottleneck embedding.

    Args:
        channels: c₁, c₂, c₃ of the levels, whose grids halve.
        width: part of the channels of a block that it has inside.
    """

    def __init__(self, channels: Sequence[int], width: float) -> None:
        super().__init__()
        first, second, third = channels
        self.first = nn.Sequential(
            *_rectified(_conv(first, second, 3, 2)), *_rectified(_conv(second, third, 3, 2))
        )
        self.second = nn.Sequential(*_rectified(_conv(second, third, 3, 2)))
        inside = round(2 * third * width)
        rest = [Block(2 * third, 2 * third, inside) for _ in range(CONDENSED - 1)]
        self.blocks = nn.Sequential(Block(3 * third, 2 * third, inside, "half"), *rest)
        _initialise(self)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """φ, (n, 2 c₃, h₃ / 2, w₃ / 2), of the levels' features."""
        first, second, third = levels
        return self.blocks(torch.cat([self.first(first), self.second(second), third], dim=1))


@final
class Decoder(nn.Module):
    """Makes the features of the levels of their embedding, the smallest grid first.

    Args:
        channels, width: as of `Embedding`.
    """

    def __init__(self, channels: Sequence[int], width: float) -> None:
        super().__init__()
        first, second, third = channels
        self.stages = nn.ModuleList(
            nn.Sequential(
                Block(inputs, outputs, round(outputs * width), "double"),
                *(Block(outputs, outputs, round(outputs * width)) for _ in range(number - 1)),
            )
            for number, inputs, outputs in zip(
                STAGES, (2 * third, third, second), (third, second, first), strict=True
            )
        )
        _initialise(self)

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """Features of the levels, the largest grid first."""
        found = []
        for stage in self.stages:
            embedding = stage(embedding)
            found.insert(0, embedding)
        return found


def _conv(inputs: int, outputs: int, side: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)


def _double(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 2, 2, bias=False)


def _rectified(convolution: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)


def _initialise(network: nn.Module) -> None:
    """He's normal numbers by outputs; those that double a grid keep torch's, as in the authors' code."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
