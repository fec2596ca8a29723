"""Ten changes of a texture, of which every sample gets three (DRÆM, section 3.3).

The authors take them from imgaug, which no longer runs with NumPy 2. Here they are torchvision's functions,
or a few lines where torchvision has something else under the name. They take and give uint8 (3, h, w).
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V

Operation = Callable[[Tensor, np.random.Generator], Tensor]
CUT = 0.2  # most of a channel's pixels that autocontrast leaves out on either side
LUMA = (0.299, 0.587, 0.114)


def changed(image: Tensor, rng: np.random.Generator, number: int = 3) -> Tensor:
    """`number` of the ten, none of them twice, in an order that is drawn."""
    for which in rng.choice(len(OPERATIONS), number, replace=False):
        image = OPERATIONS[which](image, rng)
    return image


def rotated(image: Tensor, degrees: float) -> Tensor:
    """Turned about its centre, black where it does not reach; any dtype, (c, h, w)."""
    return V.rotate(image, degrees, V.InterpolationMode.BILINEAR)


def _gamma(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Every channel to a power of its own."""
    return _of_levels(image, lambda v: v ** _each(rng.uniform(0.5, 2.0, 3), image))


def _brightness(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Luma times m plus a, or (luma plus a) times m; colour differences stay."""
    m, a, first = rng.uniform(0.8, 1.2), rng.uniform(-30, 30), rng.random() < 0.5
    luma = (image * _each(np.array(LUMA), image)).sum(dim=0, keepdim=True)
    return _bytes(image + (luma * m + a if first else (luma + a) * m) - luma)


def _sharpness(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Between blurred and sharpened."""
    return V.adjust_sharpness(image, rng.uniform(0.1, 1.9))


def _hue_and_saturation(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Hue and saturation moved by up to 50 of 255 each; grey stays grey."""
    hue, saturation = rng.integers(-50, 51, 2) / 255
    turned = V.adjust_hue(image, hue).float()
    value, least = turned.amax(dim=0), turned.amin(dim=0)
    had = (value - least) / value.clamp(min=1)
    factor = (had + saturation).clamp(0, 1) / had.clamp(min=1e-6)
    return _bytes(value - (value - turned) * torch.where(had > 0, factor, 1.0))


def _solarise(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Every other time, bright values turned to dark ones."""
    threshold = int(rng.integers(32, 129))
    return V.solarize(image, threshold) if rng.random() < 0.5 else image


def _posterise(image: Tensor, rng: np.random.Generator) -> Tensor:
    """One to eight bits are left of a channel."""
    return V.posterize(image, int(rng.integers(1, 9)))


def _invert(image: Tensor, rng: np.random.Generator) -> Tensor:
    del rng
    return V.invert(image)


def _autocontrast(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Every channel stretched over 0 to 255, with a part of the darkest and brightest pixels left out."""
    left_out = int(rng.uniform(0, CUT) * image[0].numel())
    ordered = image.flatten(1).sort(dim=1).values
    low, high = (ordered[:, i, None, None].float() for i in (left_out, -1 - left_out))
    stretched = (image - low) * (255 / (high - low).clamp(min=1))
    return torch.where(high > low, _bytes(stretched), image)


def _equalise(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Every channel with a flat histogram."""
    del rng
    return V.equalize(image)


def _turn(image: Tensor, rng: np.random.Generator) -> Tensor:
    return rotated(image, rng.uniform(-45, 45))


OPERATIONS: Final[tuple[Operation, ...]] = (
    _gamma, _brightness, _sharpness, _hue_and_saturation, _solarise,
    _posterise, _invert, _autocontrast, _equalise, _turn,
)  # fmt: skip


def _of_levels(image: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A change of single values in [0, 1], by way of the 256 that there are: (levels, channels or 1)."""
    table = _bytes(255 * change(torch.arange(256, device=image.device)[:, None, None, None] / 255))
    return torch.stack([table[:, c, 0, 0][plane.int()] for c, plane in enumerate(image)])


def _each(values: np.ndarray, image: Tensor) -> Tensor:
    return torch.from_numpy(values).float().to(image.device)[:, None, None]


def _bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
