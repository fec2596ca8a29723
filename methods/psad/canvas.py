"""The frame in which PSAD's networks see an image, and the way from there back to the whole image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from harness.data.labels import Labels
from harness.errors import DataError
from methods.shared.pixels import RGB, Geometry, native_size

Frame = Literal["native", "square"]
Size = tuple[int, int]  # (height, width)
CROPPED = "screw_bag"  # the category that the released code cuts off


@final
@dataclass(frozen=True)
class Canvas:
    """How images are cut, resized and padded.

    Attributes:
        side: of the longer side, in pixels.
        square: pad with black on the right or below to side × side, as the released code does.
        border: pixels of the stored image that are cut off every side before.
        first: (height, width) of the first training image as it is stored; gives the aspect ratio.
    """

    side: int
    square: bool
    border: int
    first: Size

    @classmethod
    def of(cls, images: ImageSet, category: str, side: int, canvas: Frame, screw_bag_border: int) -> Self:
        """The canvas of a category, by its images and the hyper-parameters of `PSAD`."""
        border = screw_bag_border if category.partition("/")[0] == CROPPED else 0
        return cls(side, canvas == "square", border, native_size(images, 0))

    @property
    def plain(self) -> bool:
        """Whether the canvas shows the whole image and nothing else."""
        return not self.square and not self.border

    @property
    def geometry(self) -> Geometry:
        """Size of the networks' input."""
        return Geometry.square(self.side) if self.square else Geometry(*self._picture(self.first))

    def framed(self, images: ImageSet, store: ArtifactStore) -> ImageSet:
        """Images as they lie on the canvas; the images themselves, where it shows nothing else.

        Raises:
            DataError: an image cannot be read, or nothing is left of it.
        """
        if self.plain:
            return images
        params = {"side": self.side, "square": self.square, "border": self.border}

        def compute(missing: list[int]) -> list[RGB]:
            return [self._framed(images[i], images.ids[i]) for i in missing]

        found = store.get_many(Op("psad_framed", params), images.keys(), compute)
        return ImageSet(images.ids, tuple(found))

    def labels(self, native: Labels) -> Labels:
        """A label map as it lies on the canvas; as it is, where the canvas shows nothing else."""
        return native if self.plain else self._placed(native, Image.Resampling.NEAREST, "labels")

    def _framed(self, image: RGB, name: str) -> RGB:
        return self._placed(image, Image.Resampling.BILINEAR, name)

    def _placed(self, array: NDArray[Any], how: Image.Resampling, name: str) -> NDArray[Any]:
        b, (height, width) = self.border, array.shape[:2]
        if min(height, width) <= 2 * b:
            raise DataError(f"{name}: screw_bag_border {b} leaves nothing of {width} × {height} pixels")
        rows, columns = self._picture((height, width))
        inner = Image.fromarray(array[b : height - b, b : width - b])
        picture = np.asarray(inner.resize((columns, rows), how))
        if not self.square:
            return picture
        padding = (self.side - rows, self.side - columns)
        return np.pad(picture, [(0, n) for n in padding] + [(0, 0)] * (array.ndim - 2))

    def _picture(self, native: Size) -> Size:
        """(height, width) that an image takes of the canvas."""
        height, width = (max(n - 2 * self.border, 1) for n in native)
        return Geometry.longer(self.side, (height, width)).shape

    # Back: what is known on the canvas as it lies on the whole image.

    def whole_labels(self, seen: Sequence[Labels], images: ImageSet) -> list[Labels]:
        """Label maps over whole images, longer side `side`; background where the canvas does not reach."""
        if self.plain:
            return list(seen)
        shape = Geometry.longer(self.side, self.first).shape
        sizes = (native_size(images, i) for i in range(len(images)))
        return [self._back(m, size, shape, nearest=True) for m, size in zip(seen, sizes, strict=True)]

    def whole_maps(self, seen: NDArray[np.float32], images: ImageSet) -> NDArray[np.float32]:
        """Maps (n, h, w) over whole images, of the same size; 0 where the canvas does not reach."""
        if self.plain:
            return seen
        return np.stack([self._back(m, native_size(images, i), m.shape) for i, m in enumerate(seen)])

    def _back(
        self, seen: NDArray[Any], native: Size, shape: tuple[int, ...], nearest: bool = False
    ) -> NDArray[Any]:
        rows, columns = (self._weights(axis, seen.shape, native, shape, nearest) for axis in (0, 1))
        return (rows @ seen @ columns.T).astype(seen.dtype)

    def _weights(
        self, axis: int, seen: tuple[int, ...], native: Size, shape: tuple[int, ...], nearest: bool
    ) -> NDArray[np.float64]:
        """How much of every place along an axis of the canvas is in one of the whole image."""
        inner = native[axis] - 2 * self.border
        places = (np.arange(shape[axis]) + 0.5) / shape[axis] * native[axis] - self.border
        part = self._picture(native)[axis] / self.side if self.square else 1.0  # of the canvas
        at = (places / inner * part * seen[axis] - 0.5).clip(0, seen[axis] - 1)
        at = np.floor(at + 0.5) if nearest else at
        weights = np.maximum(1 - np.abs(at[:, None] - np.arange(seen[axis])), 0)
        return weights * ((places >= 0) & (places <= inner))[:, None]
