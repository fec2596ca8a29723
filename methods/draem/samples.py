"""What a step is shown: normal images, half of them spoiled by a texture in a mask (DRÆM, section 3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from methods.draem.operations import changed, rotated
from methods.draem.perlin import noise
from methods.draem.textures import Textures

OCTAVES = 6  # resolutions of the noise along an axis: 1, 2, 4, … 32 cells
THRESHOLD = 0.5


class Sample(NamedTuple):
    """One image, or several stacked.

    Attributes:
        clean: (3, h, w) in [0, 1], what the autoencoder is to make of it.
        spoiled: the same, with a texture where `mask` is 1.
        mask: (1, h, w), 0 or 1.
    """

    clean: Tensor
    spoiled: Tensor
    mask: Tensor


@final
@dataclass(frozen=True)
class Spoiling:
    """How images are changed.

    Attributes:
        anomalous: share of samples that are spoiled.
        opacity: β, the part of the image that is left, is uniform between 0 and this.
        turned: share of images that are turned before anything else.
        degrees: by how much at most, to either side.
    """

    anomalous: float
    opacity: float
    turned: float
    degrees: float


def batch(
    images: Sequence[Tensor], textures: Textures, how: Spoiling, number: int, rng: np.random.Generator
) -> Sample:
    """`number` samples of images drawn with replacement, which the authors' loader does too.

    Args:
        images: uint8 (3, h, w) each.
        textures: to spoil them with.
        how: to change them.
        number: of samples.
        rng: of everything that is drawn.
    """
    chosen = rng.integers(len(images), size=number)
    samples = [sample(images[i], textures, how, rng) for i in chosen]
    return Sample(*(torch.stack(parts) for parts in zip(*samples, strict=True)))


def sample(image: Tensor, textures: Textures, how: Spoiling, rng: np.random.Generator) -> Sample:
    """One sample of an image (3, h, w)."""
    if rng.random() < how.turned:
        image = rotated(image, rng.uniform(-how.degrees, how.degrees))
    clean = image / 255
    if rng.random() >= how.anomalous:
        return Sample(clean, clean, clean.new_zeros(1, *clean.shape[1:]))
    texture = changed(textures.drawn(rng), rng) / 255
    place = mask(image.shape[-2:], rng, image.device)
    beta = rng.uniform(0, how.opacity)
    return Sample(clean, torch.where(place > 0, (1 - beta) * texture + beta * clean, clean), place)


def mask(size: Sequence[int], rng: np.random.Generator, device: torch.device) -> Tensor:
    """Where Perlin noise of a drawn resolution, turned, exceeds its threshold: (1, h, w), 0 or 1."""
    rows, columns = (2 ** rng.integers(OCTAVES, size=2)).tolist()
    angles = rng.uniform(0, 2 * np.pi, (rows + 1, columns + 1))
    gradients = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=-1)).float()
    found = noise(gradients.to(device), size[0], size[1])[None]
    return (rotated(found, rng.uniform(-90, 90)) > THRESHOLD).float()
