"""Decoded and resized images, each computed once per node (the shared room of every method)."""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from harness.errors import ConfigError

RGB = NDArray[np.uint8]
LARGEST_SIDE = 8192  # 200 MB as uint8; a slip of the keyboard is larger
Side = Annotated[int, Field(gt=0, le=LARGEST_SIDE)]
"""Side in pixels of what an image is resized to; for hyper-parameters."""


class Geometry(NamedTuple):
    """How an image of any size becomes the input of a network.

    Attributes:
        height, width: size after resizing; the aspect ratio is not kept, as in all of the papers.
        crop: side of a centred square cut out afterwards, or None.
    """

    height: int
    width: int
    crop: int | None = None

    @staticmethod
    def square(size: int, crop: int | None = None) -> "Geometry":
        """Resize to size × size, then cut out the centre if `crop` is given.

        Raises:
            ConfigError: the crop is larger than the image.
        """
        if crop is not None and crop > size:
            raise ConfigError(f"crop {crop} is larger than the image size {size}")
        return Geometry(size, size, crop)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return (self.crop, self.crop) if self.crop else (self.height, self.width)


def resized(images: ImageSet, geometry: Geometry, store: ArtifactStore) -> list[RGB]:
    """Every image as RGB, uint8 (height, width, 3), read-only.

    Resampling is Pillow's bilinear filter, which averages over more pixels where it shrinks an
    image (antialiasing).

    Raises:
        DataError: an image cannot be read.
    """
    return store.get_many(
        _op(geometry),
        images.keys(),
        lambda missing: [_resize(images[i], geometry) for i in missing],
    )


def batches(images: ImageSet, size: int) -> Iterator[ImageSet]:
    """`images` in runs of at most `size`, in order."""
    for start in range(0, len(images), size):
        yield images.subset(range(start, min(start + size, len(images))))


def _op(geometry: Geometry) -> Op:
    params: dict[str, Any] = {"filter": "bilinear-antialiased", **geometry._asdict()}
    return Op("resized", params)


def _resize(image: RGB, geometry: Geometry) -> RGB:
    picture = Image.fromarray(image)
    size = (geometry.width, geometry.height)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=None))
    if geometry.crop is None:
        return pixels
    top = (geometry.height - geometry.crop) // 2
    left = (geometry.width - geometry.crop) // 2
    return pixels[top : top + geometry.crop, left : left + geometry.crop].copy()
