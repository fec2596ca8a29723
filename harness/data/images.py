"""Images as methods see them: lazily decoded RGB, without labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.data.digest import array_digest, file_digest
from harness.data.samples import Sample
from harness.errors import DataError


def decode(path: Path) -> NDArray[np.uint8]:
    """An image file as native-size RGB, uint8 (height, width, 3).

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: not a readable image ({error})") from error


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file, from its header.

    Raises:
        DataError: the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: not a readable image ({error})") from error


@final
@dataclass(frozen=True)
class ImageSet:
    """An ordered set of images; nothing is decoded before it is asked for.

    Attributes:
        ids: one name per image.
        sources: a file, or an RGB array uint8 (height, width, 3), per image.
    """

    ids: tuple[str, ...]
    sources: tuple[Path | NDArray[np.uint8], ...]

    @staticmethod
    def of_samples(samples: Sequence[Sample]) -> "ImageSet":
        """The images of samples, in their order."""
        return ImageSet(tuple(s.id for s in samples), tuple(s.path for s in samples))

    @staticmethod
    def of_arrays(arrays: Sequence[NDArray[np.uint8]]) -> "ImageSet":
        """Images already in memory, each uint8 (height, width, 3)."""
        return ImageSet(tuple(f"{i:06d}" for i in range(len(arrays))), tuple(arrays))

    @staticmethod
    def of_folder(folder: str | Path) -> "ImageSet":
        """Every image file directly inside `folder`, by name.

        Raises:
            DataError: no such folder, or no image in it.
        """
        paths = image_files(Path(folder))
        if not paths:
            raise DataError(f"{folder}: no images here (allowed: {', '.join(IMAGE_SUFFIXES)})")
        return ImageSet(tuple(p.name for p in paths), tuple(paths))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        source = self.sources[index]
        return decode(source) if isinstance(source, Path) else source

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[i] for i in range(len(self)))

    def subset(self, indices: Sequence[int]) -> "ImageSet":
        """The images at `indices`, in that order."""
        return ImageSet(tuple(self.ids[i] for i in indices), tuple(self.sources[i] for i in indices))

    def key(self, index: int) -> str:
        """sha256 of the content of one image: of the file's bytes, or of the array."""
        source = self.sources[index]
        return file_digest(source) if isinstance(source, Path) else array_digest(source)

    def keys(self) -> list[str]:
        """`key` of every image."""
        return [self.key(i) for i in range(len(self))]


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def image_files(folder: Path) -> list[Path]:
    """Image files directly inside `folder`, sorted by name.

    Raises:
        DataError: the folder does not exist or cannot be read.
    """
    try:
        return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder ({error.strerror})") from error


@final
@dataclass(frozen=True)
class FitData:
    """Everything a method may learn from; never a test image, never a label.

    Attributes:
        train: the normal training images (the k support images in a few-shot trial).
        validation: further normal images, possibly none; two of the papers calibrate with them.
        category: name of the category, for methods with prompts or settings per category.
        part_masks: index of a training image -> its part labels at native size, an index PNG or an array
            uint8 (height, width); may be empty.
        part_classes: names of the part labels; index 0 is the background.
    """

    train: ImageSet
    validation: ImageSet = ImageSet((), ())
    category: str = ""
    part_masks: Mapping[int, Path | NDArray[np.uint8]] = field(default_factory=dict)
    part_classes: tuple[str, ...] = ()
