"""The two networks: an autoencoder without shortcuts, and a U-Net that compares with its output.

Zavrtanik et al., DRÆM, section 3.1 and 3.2; widths and depth as in the authors' code. Modules are made in the
order of theirs, so that parameters of either can be paired in order.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEVIATION = 0.02  # of first weights
HALVINGS = 5  # of the U-Net; sides of images are multiples of two to this power


class Autoencoder(nn.Module):
    """Images (n, 3, h, w) in [0, 1] -> reconstructions of the same shape, unbounded.

    Args:
        width: channels at full resolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.down = nn.ModuleList(
            [
                _block(3, w, w),
                _block(w, 2 * w, 2 * w),
                _block(2 * w, 4 * w, 4 * w),
                _block(4 * w, 8 * w, 8 * w),
            ]
        )
        self.down.append(_block(8 * w, 8 * w, 8 * w))
        self.up = nn.ModuleList()
        for wide, narrow in pairwise((8 * w, 4 * w, 2 * w, w, w)):
            self.up.extend([_block(wide, wide), _block(wide, wide, narrow)])
        self.out = nn.Conv2d(w, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Through a bottleneck of a sixteenth of the side."""
        for number, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if number else x)
        for after, blocks in zip(self.up[::2], self.up[1::2], strict=True):
            x = blocks(after(_doubled(x)))
        return self.out(x)


class Discriminator(nn.Module):
    """Reconstruction and image, (n, 6, h, w) -> logits (n, 2, h, w): normal, spoiled.

    Args:
        width: channels at full resolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        widths = (w, 2 * w, 4 * w, 8 * w, 8 * w, 8 * w)
        self.down = nn.ModuleList(_block(a, b, b) for a, b in pairwise((6, *widths)))
        self.up = nn.ModuleList()
        below = widths[-1]
        for beside, narrow in zip(widths[-2::-1], (8 * w, 4 * w, 2 * w, w, w), strict=True):
            self.up.extend([_block(below, narrow), _block(narrow + beside, narrow, narrow)])
            below = narrow
        self.out = nn.Conv2d(w, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Down five times, and up with what was seen at each size."""
        seen: list[Tensor] = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if seen else x)
            seen.append(x)
        for after, blocks, beside in zip(self.up[::2], self.up[1::2], seen[-2::-1], strict=True):
            x = blocks(torch.cat([after(_doubled(x)), beside], dim=1))
        return self.out(x)


class Pair(nn.Module):
    """Both networks.

    Args:
        width: of the autoencoder.
        discriminator_width: of the discriminator.
    """

    def __init__(self, width: int, discriminator_width: int) -> None:
        super().__init__()
        self.autoencoder, self.discriminator = Autoencoder(width), Discriminator(discriminator_width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(reconstruction (n, 3, h, w), logits (n, 2, h, w)) of images (n, 3, h, w) in [0, 1]."""
        reconstruction = self.autoencoder(x)
        return reconstruction, self.discriminator(torch.cat([reconstruction, x], dim=1))


def begin(network: nn.Module, generator: torch.Generator) -> None:
    """First weights: convolutions N(0, 0.02), normalisations N(1, 0.02) with bias 0; biases of convolutions
    uniform over ± 1/√(inputs), which is the library's own and which the authors leave.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, DEVIATION, generator=generator)
            assert module.bias is not None
            limit = module.weight[0].numel() ** -0.5
            nn.init.uniform_(module.bias, -limit, limit, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, DEVIATION, generator=generator)
            nn.init.zeros_(module.bias)


def _block(*channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(channels):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
