"""The teacher, a normalizing flow, and its student, which is none (Rudolph et al., section 3)."""

from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.636  # 2 / π, as the authors write it: the logarithm of a scale stays within ±CLAMP
BOUND = 1e6  # of what a block gives
KERNELS = (3, 3, 3, 5)


def positions(width: int, height: int, columns: int) -> Tensor:
    """Sines and cosines of a position's place: (width, height, columns).

    Args:
        width: a multiple of 4; one half says the column, the other the row.
        height: rows of the grid.
        columns: of the grid.
    """
    half = width // 2
    rates = torch.exp(torch.arange(0.0, half, 2) * -(np.log(1e4) / half))
    x, y = (torch.arange(float(n))[:, None] * rates for n in (columns, height))
    across = torch.stack([x.sin(), x.cos()], dim=2).flatten(1).T[:, None, :].expand(-1, height, -1)
    down = torch.stack([y.sin(), y.cos()], dim=2).flatten(1).T[:, :, None].expand(-1, -1, columns)
    return torch.cat([across, down])


@final
class Subnet(nn.Module):
    """Scale and shift of one half, of the other half and the position; nothing before the first step."""

    def __init__(self, inputs: int, outputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.body = nn.Sequential(_conv(inputs, hidden, kernel), nn.ReLU(), _conv(hidden, outputs, kernel))

    def forward(self, x: Tensor, clamp: float) -> tuple[Tensor, Tensor]:
        """(n, inputs, h, w) -> logarithm of the scale, and shift, (n, outputs / 2, h, w) each."""
        scale, shift = (self.body(x) * self.gamma).chunk(2, dim=1)
        return clamp * SLOPE * torch.atan(scale / clamp), shift


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="replicate")


@final
class Coupling(nn.Module):
    """An affine coupling of both halves under a fixed order of the channels.

    Args:
        channels: of the features.
        position: channels of the position.
        hidden: channels inside the subnets.
        kernel: of their convolutions.
        clamp: bounds the logarithm of the scale.
        seed: of the order.
    """

    order: Tensor

    def __init__(
        self, channels: int, position: int, hidden: int, kernel: int, clamp: float, seed: int
    ) -> None:
        super().__init__()
        # the authors' order: NumPy's old generator, seeded with the number of the block
        order = np.random.RandomState(seed).permutation(channels)
        self.register_buffer("order", torch.from_numpy(order))
        self.clamp, self.first = clamp, channels // 2
        second = channels - self.first
        self.of_second = Subnet(second + position, 2 * self.first, hidden, kernel)
        self.of_first = Subnet(self.first + position, 2 * second, hidden, kernel)

    def forward(self, x: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c, h, w) and positions (n, p, h, w) -> the same shape, and log |det| of every position."""
        one, two = x[:, self.order].split([self.first, x.shape[1] - self.first], dim=1)
        scale, shift = self.of_second(torch.cat([two, where], dim=1), self.clamp)
        one = scale.exp() * one + shift
        again, shift = self.of_first(torch.cat([one, where], dim=1), self.clamp)
        two = again.exp() * two + shift
        joined = torch.cat([one, two], dim=1).clamp(-BOUND, BOUND)
        return joined, scale.sum(dim=1) + again.sum(dim=1)


@final
class Teacher(nn.Module):
    """A conditional normalizing flow (Real-NVP with Glow's coupling) over the features of a position's field.

    Args:
        channels: of the features.
        position: channels of the position encoding.
        hidden: of the subnets.
        clamp: of the scales.
    """

    def __init__(self, channels: int, position: int, hidden: int, clamp: float) -> None:
        super().__init__()
        blocks = (Coupling(channels, position, hidden, k, clamp, n) for n, k in enumerate(KERNELS))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c, h, w) and positions -> z, and log |det| of every position (n, h, w)."""
        total = torch.zeros_like(x[:, 0])
        for block in self.blocks:
            x, volume = block(x, where)
            total = total + volume
        return x, total


@final
class Residual(nn.Module):
    """Two convolutions and what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = ((nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)) for _ in range(2))
        self.body = nn.Sequential(*(m for pair in layers for m in (*pair, nn.LeakyReLU())))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> the same."""
        return x + self.body(x)


@final
class Student(nn.Module):
    """A convolutional network of another kind than its teacher: it need not generalise as that does.

    Args:
        channels: of the features.
        position: channels of the position encoding.
        hidden: channels inside.
        blocks: residual ones.
    """

    def __init__(self, channels: int, position: int, hidden: int, blocks: int = 4) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels + position, hidden, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(hidden) for _ in range(blocks)))
        self.leave = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        """(n, c, h, w) and positions -> (n, c, h, w)."""
        return self.leave(self.blocks(F.leaky_relu(self.enter(torch.cat([where, x], dim=1)))))


def unlikelihood(z: Tensor, volume: Tensor) -> Tensor:
    """Negative log-likelihood of every position without its constant, (n, h, w) (Eq. 3)."""
    return 0.5 * z.square().sum(dim=1) - volume


def distance(taught: Tensor, learned: Tensor) -> Tensor:
    """Mean squared difference over channels of every position, (n, h, w) (Eq. 4)."""
    return (taught - learned).square().mean(dim=1)
