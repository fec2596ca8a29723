"""A generated data set of thirty tiny images, on which the battery tries methods within seconds."""

from dataclasses import dataclass, replace
from functools import cache
from typing import final

import numpy as np
from numpy.typing import NDArray

from harness.data import FitData, ImageSet

SIDE = 64  # two rows and columns are left of it after the five halvings of a backbone
PARTS = ("background", "disc", "bar")


@final
@dataclass(frozen=True)
class Plates:
    """Generated images: training, validation, test, and which of the test images are anomalous.

    Attributes:
        train, validation, test: the images.
        anomalous: which of the test images are.
        parts: label maps of the training images, values as in `PARTS`.
    """

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    anomalous: tuple[bool, ...]
    parts: tuple[NDArray[np.uint8], ...]

    def copied(self) -> "Plates":
        """The same with arrays of its own, which nobody else misses when they are written to."""
        own = {name: _copy(getattr(self, name)) for name in ("train", "validation", "test")}
        return replace(self, **own, parts=tuple(labels.copy() for labels in self.parts))

    def fit_data(self, train: ImageSet | None = None, validation: bool = True) -> FitData:
        """What a method may learn from: these training images or the first of them, with part masks."""
        images = train or self.train
        masks = dict(enumerate(self.parts[: len(images)]))
        return FitData(images, self.validation if validation else ImageSet((), ()), "plate", masks, PARTS)


def _copy(images: ImageSet) -> ImageSet:
    return ImageSet(images.ids, tuple(np.array(image) for image in images))


@cache
def plates() -> Plates:
    """A tiny data set with both kinds of anomalies: a disc too few or too many, and scratches."""
    # a generator of its own, so that the plates are the same whatever ran before
    rng = np.random.default_rng(0)
    drawn = [_drawn(rng) for _ in range(18)]
    good = [image for image, _ in drawn]
    # fewer and more than two, none at all: a method that only sees what is added fails
    logical = [plate(rng, discs=discs) for discs in (1, 3, 1, 3, 0, 4)]
    structural = [_scratched(plate(rng), rng) for _ in range(6)]
    # good[6:10] validate: no test image is seen in fit
    test = ImageSet.of_arrays([*good[10:], *logical, *structural])
    anomalous = (False,) * 8 + (True,) * 12
    parts = tuple(labels for _, labels in drawn[:6])
    return Plates(ImageSet.of_arrays(good[:6]), ImageSet.of_arrays(good[6:10]), test, anomalous, parts)


def plate(rng: np.random.Generator, discs: int = 2) -> NDArray[np.uint8]:
    """A striped plate with discs in a row and a bar below, slightly shifted and noisy."""
    return _drawn(rng, discs)[0]


def _drawn(rng: np.random.Generator, discs: int = 2) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A plate and its part labels."""
    # up to a pixel of shift, so that no two images are the same and no difference map is empty
    y, x = np.mgrid[:SIDE, :SIDE] - rng.integers(-1, 2, (2, 1, 1))
    # stripes, so that flat areas have a texture
    image = np.full((SIDE, SIDE, 3), (110.0, 120.0, 130.0)) + 8 * np.sin(x / 2)[..., None]
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for i in range(discs):
        labels[(x - 12 - 13 * i) ** 2 + (y - 20) ** 2 < 25] = 1
    labels[(np.abs(y - 46) < 4) & (np.abs(x - 32) < 20)] = 2
    image[labels == 1], image[labels == 2] = (190, 60, 50), (40, 60, 160)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8), labels


def _scratched(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The plate with a bright scratch across it."""
    row, slope = rng.integers(25, 40), rng.uniform(-0.3, 0.3)
    columns = np.arange(14, 50)
    rows = (row + slope * (columns - 14)).astype(int)
    scratched = image.copy()
    # two pixels wide: it survives resizing to half
    scratched[rows, columns] = scratched[rows + 1, columns] = 235
    return scratched
