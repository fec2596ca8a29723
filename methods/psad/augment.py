"""Labelled images as the segmenter is shown them: turned, then changed in colour (albumentations)."""

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.shared.pixels import RGB

Labels = NDArray[np.uint8]
Coordinates = NDArray[np.float32]
FULL_TURN = 180  # degrees to either side
SMALL_TURN = 20
LYING_FREELY = ("breakfast_box", "screw_bag")  # categories that the released code turns all the way round
P = 0.2  # of each change of colour


class Sample(NamedTuple):
    """What the network learns from: image (h, w, 3), labels (h, w), coordinates (h, w, 2)."""

    image: RGB
    labels: Labels
    coordinates: Coordinates


def rotation_of(category: str) -> int:
    """By how many degrees, to either side, the released code turns the labelled images of a category."""
    return FULL_TURN if category.partition("/")[0] in LYING_FREELY else SMALL_TURN


def coordinates(height: int, width: int) -> Coordinates:
    """c: x and y of every pixel in [0, 1], float32 (height, width, 2)."""
    y, x = np.linspace(0, 1, height, dtype=np.float32), np.linspace(0, 1, width, dtype=np.float32)
    return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)


def augmented(sample: Sample, rotation: int, rng: np.random.Generator) -> Sample:
    """A labelled image turned by -rotation … rotation - 1 degrees, coordinates with it; colours changed.

    What turns into the picture from outside is black, background, and at (0, 0).
    """
    changed = turned(sample, rotation, rng)
    changes = _colour_changes()
    changes.set_random_seed(int(rng.integers(2**31)))
    return changed._replace(image=changes(image=changed.image)["image"])


def flipped(sample: Sample, rng: np.random.Generator) -> Sample:
    """Mirrored at random in either direction; the coordinates are not (second stage, released code)."""
    axes = tuple(axis for axis in (0, 1) if rng.random() < 0.5)
    return sample._replace(image=np.flip(sample.image, axes), labels=np.flip(sample.labels, axes))


def turned(sample: Sample, rotation: int, rng: np.random.Generator) -> Sample:
    """Only the rotation of `augmented`."""
    if not rotation:
        return sample
    degrees = int(rng.integers(-rotation, rotation))
    image = _rotate(sample.image, degrees, Image.Resampling.BILINEAR)
    labels = _rotate(sample.labels, degrees, Image.Resampling.NEAREST)
    planes = [
        _rotate(np.ascontiguousarray(plane), degrees, Image.Resampling.BILINEAR)
        for plane in np.moveaxis(sample.coordinates, -1, 0)
    ]
    return Sample(image, labels, np.stack(planes, axis=-1))


def _rotate(array: NDArray[Any], degrees: int, how: Image.Resampling) -> NDArray[Any]:
    return np.asarray(Image.fromarray(array).rotate(degrees, how))


@cache
def _colour_changes() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for news
    import albumentations as A

    kinds: Sequence[Any] = (
        A.ToGray, A.Posterize, A.Equalize, A.Sharpen, A.RandomBrightnessContrast, A.Solarize, A.ColorJitter,
    )  # fmt: skip
    return A.Compose([kind(p=P) for kind in kinds])
