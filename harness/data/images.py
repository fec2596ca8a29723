"""Images as methods see them: lazily decoded RGB, without labels."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data import decoding
from harness.data.digest import array_digest
from harness.data.files import content, reason, stamp_of
from harness.data.index import image_facts, known_facts, same
from harness.data.litter import is_litter, without_litter
from harness.data.rule import PLAIN, PixelRule
from harness.data.samples import Sample
from harness.errors import DataError


def decode(path: Path, rule: PixelRule = PLAIN) -> NDArray[np.uint8]:
    """An image file as native-size RGB, the right way up, uint8 (height, width, 3).

    Raises:
        DataError: the file is missing, truncated, no image, or one that the rule refuses.
    """
    return np.asarray(picture(path, rule)[0])


def picture(path: Path, rule: PixelRule) -> tuple[Image.Image, str, str]:
    """An image file in mode RGB, the sha256 of its bytes, and its key (`PixelRule.key`).

    Raises:
        DataError: see `decode`.
    """
    try:
        data = content(path, rule.most_bytes)
        image, head = decoding.rgb(data, rule)
    except decoding.UNREADABLE as error:
        raise DataError(f"{path}: not a readable image ({reason(error)})") from error
    sha256 = hashlib.sha256(data).hexdigest()
    return image, sha256, rule.key(sha256, head.depth, head.orientation)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file the right way up, from its header.

    Raises:
        DataError: the file is missing or no image.
    """
    try:
        facts = known_facts(path, stamp_of(path), ("image",))
        if facts is not None and facts.shown is not None:
            return facts.shown
        with path.open("rb") as file:
            return decoding.header(file).shown
    except decoding.UNREADABLE as error:
        raise DataError(f"{path}: not a readable image ({reason(error)})") from error


@final
@dataclass(frozen=True)
class ImageSet:
    """An ordered set of images; nothing is decoded before it is asked for.

    Attributes:
        ids: one name per image.
        sources: a file, or an RGB array uint8 (height, width, 3), per image.
        rule: how the files are read.
        planned: sha256 of each file when its data set was read; empty where nobody has looked.
        whole, places: the set that this one was taken from, and which of its images these are. Who asks for
            some of them will ask for those that follow (see `following`). Forgotten when it is pickled.
        digests: of arrays that are scored again and again, if they are known; hashing a large image takes as
            long as a small network.
    """

    ids: tuple[str, ...]
    sources: tuple[Path | NDArray[np.uint8], ...]
    rule: PixelRule = PLAIN
    planned: tuple[str, ...] = ()
    whole: "ImageSet | None" = field(default=None, repr=False, compare=False)
    places: tuple[int, ...] = field(default=(), repr=False, compare=False)
    digests: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @staticmethod
    def of_samples(samples: Sequence[Sample]) -> "ImageSet":
        """The images of samples of one data set, in their order."""
        planned = tuple(s.planned(s.path) for s in samples)
        rule = samples[0].rule if samples else PLAIN
        paths = tuple(s.path for s in samples)
        return ImageSet(tuple(s.id for s in samples), paths, rule, planned if all(planned) else ())

    @staticmethod
    def of_arrays(arrays: Sequence[NDArray[np.uint8]], digests: Sequence[str] = ()) -> "ImageSet":
        """Images in memory, each uint8 (height, width, 3), with their `array_digest` if it is known."""
        ids = tuple(f"{i:06d}" for i in range(len(arrays)))
        return ImageSet(ids, tuple(arrays), digests=tuple(digests))

    @staticmethod
    def of_folder(folder: str | Path, rule: PixelRule = PLAIN) -> "ImageSet":
        """Every image file directly inside `folder`, by name.

        Raises:
            DataError: no such folder, or no image in it.
        """
        paths = image_files(Path(folder))
        if not paths:
            raise DataError(f"{folder}: no images here (allowed: {', '.join(IMAGE_SUFFIXES)})")
        return ImageSet(tuple(p.name for p in paths), tuple(paths), rule)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        source = self.sources[index]
        return np.asarray(self.picture(index)) if isinstance(source, Path) else source

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[i] for i in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageSet, (self.ids, self.sources, self.rule, self.planned)

    def picture(self, index: int, key: str = "") -> Image.Image:
        """One image in mode RGB.

        Args:
            index: which.
            key: what `key` has said of it, if that matters: its bytes must still be the same.

        Raises:
            DataError: see `decode`; or the bytes are others than those that were planned with.
        """
        source = self.sources[index]
        if not isinstance(source, Path):
            return Image.fromarray(source)
        image, sha256, found = picture(source, self.rule)
        same(source, self._planned(index) or sha256, sha256)
        if key and found != key:
            raise DataError(f"{source}: the file was changed while it was in use")
        return image

    def subset(self, indices: Sequence[int]) -> "ImageSet":
        """The images at `indices`, in that order."""
        chosen = [range(len(self))[i] for i in indices]
        planned = tuple(self.planned[i] for i in chosen) if self.planned else ()
        ids, sources = tuple(self.ids[i] for i in chosen), tuple(self.sources[i] for i in chosen)
        if not planned:  # only those of a data set are asked for in order
            digests = tuple(self.digests[i] for i in chosen) if self.digests else ()
            return ImageSet(ids, sources, self.rule, digests=digests)
        places = tuple(self.places[i] for i in chosen) if self.whole else tuple(chosen)
        return ImageSet(ids, sources, self.rule, planned, self.whole or self, places)

    def key(self, index: int) -> str:
        """Stands for the pixels of one image: sha256 of the array, or see `PixelRule.key`.

        Raises:
            DataError: see `picture`.
        """
        source = self.sources[index]
        if not isinstance(source, Path):
            return self.digests[index] if self.digests else array_digest(source)
        facts = image_facts(source, self.rule)
        same(source, self._planned(index) or facts.sha256, facts.sha256)
        return self.rule.key(facts.sha256, facts.depth, facts.orientation)

    def keys(self) -> list[str]:
        """`key` of every image."""
        return [self.key(i) for i in range(len(self))]

    def _planned(self, index: int) -> str:
        return self.planned[index] if self.planned else ""


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


def image_files(folder: Path) -> list[Path]:
    """Image files directly inside `folder`, sorted by name; hidden ones are none.

    Raises:
        DataError: the folder does not exist or cannot be read.
    """
    try:
        return [path for path in without_litter(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder ({error.strerror})") from error


def image_files_below(folder: Path) -> list[Path]:
    """Image files in a folder and below, sorted by path and nothing hidden; none where it is absent."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(p for p in found if not any(map(is_litter, map(Path, p.relative_to(folder).parts))))


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
