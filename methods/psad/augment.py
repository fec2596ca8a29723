"""Labelled images as the segmenter is shown them: turned, then changed in colour (albumentations).

A part that is turned out of its picture teaches a size that no normal image has. So on a canvas that is no
larger than the image, the picture is given as much room as its parts need.
"""

import os
from collections.abc import Sequence
from functools import cache
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.labels import IGNORED
from methods.shared.pixels import RGB

Labels = NDArray[np.uint8]
Coordinates = NDArray[np.float32]
FULL_TURN = 180  # degrees to either side
SMALL_TURN = 20
LYING_FREELY = ("breakfast_box", "screw_bag")  # categories that the released code turns all the way round
ROOM = 8  # pixels: steps by which a canvas grows on either side
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


def augmented(sample: Sample, rotation: int, room: bool, rng: np.random.Generator) -> Sample:
    """A labelled image turned by -rotation … rotation - 1 degrees, coordinates with it; colours changed.

    What turns into the picture from outside is black, background, and at (0, 0).

    Args:
        sample: the image.
        rotation: 0 for none.
        room: enlarge the canvas as far as is needed to lose no labelled pixel.
        rng: of everything that is drawn.
    """
    changed = turned(sample, rotation, room, rng)
    changes = _colour_changes()
    changes.set_random_seed(int(rng.integers(2**31)))
    return changed._replace(image=changes(image=changed.image)["image"])


def flipped(sample: Sample, rng: np.random.Generator) -> Sample:
    """Mirrored at random in either direction; the coordinates are not (second stage, released code)."""
    axes = tuple(axis for axis in (0, 1) if rng.random() < 0.5)
    return sample._replace(image=np.flip(sample.image, axes), labels=np.flip(sample.labels, axes))


def turned(sample: Sample, rotation: int, room: bool, rng: np.random.Generator) -> Sample:
    """Only the rotation of `augmented`."""
    if not rotation:
        return sample
    degrees = int(rng.integers(-rotation, rotation))
    sample = enlarged(sample, *missing_room(sample.labels, degrees)) if room else sample
    image = _rotate(sample.image, degrees, Image.Resampling.BILINEAR)
    labels = _rotate(sample.labels, degrees, Image.Resampling.NEAREST)
    planes = [
        _rotate(np.ascontiguousarray(plane), degrees, Image.Resampling.BILINEAR)
        for plane in np.moveaxis(sample.coordinates, -1, 0)
    ]
    return Sample(image, labels, np.stack(planes, axis=-1))


def missing_room(labels: Labels, degrees: float) -> tuple[int, int]:
    """Rows and columns to add on either side, so that no labelled pixel is turned out of the picture."""
    mask = (labels > 0) & (labels < IGNORED)
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return 0, 0
    height, width = labels.shape
    # the outermost of every row: no other turns farther
    first, last = mask[rows].argmax(axis=1), width - 1 - mask[rows, ::-1].argmax(axis=1)
    x = np.concatenate([first, last]) - (width - 1) / 2
    y = np.tile(rows, 2) - (height - 1) / 2
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    down, across = np.abs(y * cos - x * sin).max(), np.abs(x * cos + y * sin).max()
    return _steps(down + 1 - height / 2), _steps(across + 1 - width / 2)  # a pixel reaches half of one on


def _steps(pixels: float) -> int:
    """Few sizes, or every step of the training would allocate anew."""
    return max(0, ceil(pixels / ROOM)) * ROOM


def enlarged(sample: Sample, rows: int, columns: int) -> Sample:
    """A sample with so much black background at (0, 0) on either side."""
    if not rows and not columns:
        return sample
    sides, deep = ((rows, rows), (columns, columns)), ((rows, rows), (columns, columns), (0, 0))
    image, labels = np.pad(sample.image, deep), np.pad(sample.labels, sides)
    return Sample(image, labels, np.pad(sample.coordinates, deep))


def stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays of any height and width, one behind the other; zeros on the right and below."""
    shape = np.max([a.shape for a in arrays], axis=0)
    found = np.zeros((len(arrays), *shape), arrays[0].dtype)
    for out, array in zip(found, arrays, strict=True):
        out[: array.shape[0], : array.shape[1]] = array
    return found


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
