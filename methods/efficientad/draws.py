"""Every random choice of a training, drawn from (seed, stream, step): any step can be taken anew."""

import numpy as np
import torch
from torch import Tensor

from methods.shared.training.draws import torch_seed

IMAGES, PENALTY, JITTER, GREY, DROPOUT, WEIGHTS = range(6)  # streams of a seed
STRENGTH = 0.2
GREY_PROBABILITY = 0.3
GREY_WEIGHTS = (0.2989, 0.587, 0.114)  # ITU-R 601


def jitter(seed: int, step: int) -> tuple[float, float, float]:
    """(factor, share of the mean grey, share of the grey image) for `jittered`.

    Brightness, contrast or saturation, one of them, by a factor in [0.8, 1.2].
    """
    rng = np.random.default_rng([seed, JITTER, step])
    towards = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))[rng.integers(3)]
    return (float(rng.uniform(1 - STRENGTH, 1 + STRENGTH)), *towards)


def jittered(images: Tensor, how: Tensor) -> Tensor:
    """Images (n, 3, h, w) in [0, 1], each blended with black, its mean grey or its grey image.

    Args:
        images: to be changed.
        how: a row of `jitter` each, (n, 3).
    """
    factor, mean, grey_image = how.view(-1, 3, 1, 1, 1).unbind(1)
    luminance = grey(images)
    base = mean * luminance.mean(dim=(-3, -2, -1), keepdim=True) + grey_image * luminance
    return (factor * images + (1 - factor) * base).clamp(0, 1)


def grey(images: Tensor) -> Tensor:
    """Images (..., 3, h, w) without colour, all channels equal."""
    (r, g, b), (red, green, blue) = GREY_WEIGHTS, images.split(1, dim=-3)
    return (r * red + g * green + b * blue).expand_as(images)


def is_grey(seed: int, step: int) -> bool:
    """Whether the penalty's image of a step is made grey."""
    return bool(np.random.default_rng([seed, GREY, step]).random() < GREY_PROBABILITY)


def uniform(seed: int, step: int, out: Tensor, generator: torch.Generator) -> None:
    """Fill `out` with the numbers in [0, 1) that decide a step's dropout."""
    generator.manual_seed(torch_seed(seed, DROPOUT, step))
    out.uniform_(generator=generator)
