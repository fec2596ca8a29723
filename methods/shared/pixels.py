"""Decoded and resized images, each computed once per node (the shared room of every method).

Decoding is by far the dearest part (40 ms for an image of LOCO's size, 6 ms per size that is made of it):
an image is decoded once for all sizes that the methods of a sweep want, by as many threads as the trial has
cores, and while a network works on the images before it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet, image_size
from harness.errors import ConfigError
from methods.shared.ahead import Ahead

RGB = NDArray[np.uint8]
LARGEST_SIDE = 8192  # 200 MB as uint8; a slip of the keyboard is larger
Side = Annotated[int, Field(gt=0, le=LARGEST_SIDE)]
"""Side in pixels of what an image is resized to; for hyper-parameters."""
MOST_THREADS = 8  # outside of a trial, which says how many it has


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

    @staticmethod
    def longer(side: int, native: tuple[int, int]) -> "Geometry":
        """Resize the longer side of an image of size (height, width) to `side`; the aspect ratio is kept."""
        scale = side / max(native)
        return Geometry(max(1, round(scale * native[0])), max(1, round(scale * native[1])))

    @staticmethod
    def shorter(side: int, native: tuple[int, int]) -> "Geometry":
        """Resize the shorter side of an image of size (height, width) to `side`; the aspect ratio is kept."""
        scale = side / min(native)
        return Geometry(round(scale * native[0]), round(scale * native[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return (self.crop, self.crop) if self.crop else (self.height, self.width)


def native_size(images: ImageSet, index: int) -> tuple[int, int]:
    """(height, width) of an image as it is stored.

    Raises:
        DataError: the file is missing or no image.
    """
    source = images.sources[index]
    return image_size(source) if isinstance(source, Path) else (source.shape[0], source.shape[1])


def square_input(params: Mapping[str, Any], native: tuple[int, int]) -> Sequence[Geometry]:
    """The `Card.sizes` of a method whose `image_size` is the side of what it looks at."""
    del native
    return (Geometry.square(params["image_size"]),)


@final
@dataclass(frozen=True)
class Work:
    """How images are decoded here; changes no pixel.

    Attributes:
        threads: images decoded at a time.
        sizes: what else images of the data set are wanted at, by whatever method of the sweep.
    """

    threads: int
    sizes: tuple[Geometry, ...] = ()


_WORK: ContextVar[Work | None] = ContextVar("work", default=None)
_AHEAD = Ahead()
# The background thread of `_AHEAD` and the caller may want different images at the same time; the store
# has to cope with other processes, not with threads.
_READING = Lock()


@contextmanager
def working(threads: int, sizes: Sequence[tuple[int, int, int | None]] = ()) -> Iterator[None]:
    """Until the block ends, images are decoded by so many threads and for all of these sizes."""
    token = _WORK.set(Work(threads, tuple(Geometry(*size) for size in sizes)))
    try:
        yield
    finally:
        _WORK.reset(token)
        _AHEAD.forget()


def resized(images: ImageSet, geometry: Geometry, store: ArtifactStore) -> list[RGB]:
    """Every image as RGB, uint8 (height, width, 3), read-only.

    Resampling is Pillow's bilinear filter, which averages over more pixels where it shrinks an
    image (antialiasing).

    The counter "decodes" of the store counts images that were decoded.

    Raises:
        DataError: an image cannot be read, or is not the one that was planned with.
    """
    work = _WORK.get() or Work(min(MOST_THREADS, os.cpu_count() or 1))

    def load(part: ImageSet) -> list[RGB]:
        with _READING:
            return _Request(part, store, work).at(geometry)

    if images.whole is None:  # arrays, files of no data set, or all that there is
        return load(images)
    return _AHEAD.fetch(images, (geometry, store.root), load)


def batches(images: ImageSet, size: int) -> Iterator[ImageSet]:
    """`images` in runs of at most `size`, in order."""
    for start in range(0, len(images), size):
        yield images.subset(range(start, min(start + size, len(images))))


class _Request:
    """Some images that are wanted at one size; those that have to be decoded are stored at all sizes.

    Locks of the store are taken in one order of sizes everywhere, and those of the next size while those of
    this one are held: otherwise two processes could wait for each other, or both decode.
    """

    def __init__(self, images: ImageSet, store: ArtifactStore, work: Work):
        self.images, self.store, self.work = images, store, work
        self.keys = images.keys()
        self.made: dict[tuple[Geometry, int], RGB] = {}  # not handed over yet
        self.known: set[tuple[Geometry, int]] = set()  # stored, by us or somebody else
        self.found: dict[int, RGB] = {}  # at the size that is asked for

    def at(self, geometry: Geometry) -> list[RGB]:
        everything, sizes = range(len(self.images)), self._sizes(geometry)
        lacking = everything if len(sizes) == 1 else self._lacking(geometry)
        for n, size in enumerate(sizes):
            self._store(sizes[n:], [i for i in lacking if (size, i) not in self.known], geometry)
        return [self.found[i] for i in everything]

    def _sizes(self, geometry: Geometry) -> list[Geometry]:
        """What is made of an image once it is decoded; of images of the data set alone others want some."""
        shared = self.images.planned and self.store.root is not None
        sizes = {geometry, *self.work.sizes} if shared else {geometry}
        return sorted(sizes, key=lambda g: (g.height, g.width, g.crop or 0))

    def _lacking(self, geometry: Geometry) -> list[int]:
        """Images that are not stored at this size; the others are found at once, without a lock."""
        op = _op(geometry)
        stored = {i: self.store.read(op, op.key(key)) for i, key in enumerate(self.keys)}
        self.found = {i: array for i, array in stored.items() if array is not None}
        self.store.counters["resized.hits"] += len(self.found)
        return [i for i in stored if i not in self.found]

    def _store(self, sizes: Sequence[Geometry], indices: Sequence[int], geometry: Geometry) -> None:
        """Find or make the first of `sizes`; where it has to be made, the others as well."""
        size, *others = sizes

        def compute(missing: list[int]) -> list[RGB]:
            chosen = [indices[m] for m in missing]
            self._make([i for i in chosen if (size, i) not in self.made], sizes)
            if others:
                self._store(others, chosen, geometry)
            made = [self.made[size, i] for i in chosen]
            for item in [(size, i) for size in sizes for i in chosen]:
                self.made.pop(item, None)
            return made

        keys = [self.keys[i] for i in indices]
        arrays = self.store.get_many(_op(size), keys, compute) if indices else []
        self.known.update((size, i) for i in indices)
        if size == geometry:
            self.found.update(zip(indices, arrays, strict=True))

    def _make(self, indices: Sequence[int], sizes: Sequence[Geometry]) -> None:
        def small(index: int) -> list[RGB]:
            picture = self.images.picture(index, self.keys[index])
            return [_resize(picture, size) for size in sizes]

        spread = _pool(self.work.threads).map if min(self.work.threads, len(indices)) > 1 else map
        for i, pictures in zip(indices, spread(small, indices), strict=True):
            self.made |= {(size, i): pixels for size, pixels in zip(sizes, pictures, strict=True)}
        self.store.counters["decodes"] += len(indices)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Pillow lets go of the interpreter while it decodes and resizes."""
    return ThreadPoolExecutor(threads, "decode")


def _op(geometry: Geometry) -> Op:
    params: dict[str, Any] = {"filter": "bilinear-antialiased", **geometry._asdict()}
    return Op("resized", params)


def _resize(picture: Image.Image, geometry: Geometry) -> RGB:
    size = (geometry.width, geometry.height)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=None))
    if geometry.crop is None:
        return pixels
    top = (geometry.height - geometry.crop) // 2
    left = (geometry.width - geometry.crop) // 2
    return pixels[top : top + geometry.crop, left : left + geometry.crop].copy()
