"""What a data set's sketcher draws on: a folder that takes pictures, masks and texts.

Pictures are a plate with six parts; a logical anomaly lacks one of them, a structural one has a scratch. They
depend on the names of scene and file only, so that the same sketch has the same bytes everywhere.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from harness.data.samples import GOOD, LOGICAL
from harness.errors import ConfigError, nearest
from harness.whole import whole

Mask = NDArray[np.bool_]
SIZE = (64, 80)  # height, width: not square, as hardly any data set is
_ROWS, _COLUMNS = 2, 3


@final
@dataclass(frozen=True)
class Easel:
    """Where a sketch is drawn, and how much of it.

    Attributes:
        root: folder of the sketch.
        train: training images per category.
        test: images of each other kind per category: validation, good, every defect.
        only: categories to be drawn; empty for all.
    """

    root: Path
    train: int = 6
    test: int = 3
    only: tuple[str, ...] = ()

    def categories(self, names: Iterable[str]) -> Iterator[str]:
        """Those of a data set's categories that are wanted.

        Raises:
            ConfigError: one is wanted that there is not.
        """
        known = list(names)
        for name in self.only:
            if name not in known:
                raise ConfigError(f"no category {name!r}{nearest(name, known)}; known: {', '.join(known)}")
        return (name for name in known if not self.only or name in self.only)

    def picture(
        self, path: str, scene: str, kind: str = GOOD, size: tuple[int, int] = SIZE, value: int = 0
    ) -> Mask:
        """Draw an image; what of it is anomalous, bool (h, w).

        Args:
            path: below the root; its suffix is the format.
            scene: pictures of one scene show the same parts; mostly the category.
            kind: "good", "logical", or anything else, which is drawn as a scratch.
            size: height and width.
            value: tells pictures of one name apart.
        """
        pixels, marked = plate(scene, f"{path}:{value}", kind, size)
        self.image(path, pixels)
        return marked

    def good(self, path: str, scene: str, splits: Sequence[str] = ("train", "test")) -> None:
        """Draw the good images of some splits.

        Args:
            path: below the root, with places for split and number: "{split}/good/{i:03d}.png".
            scene: see `picture`.
            splits: their names; "train" is that of training images.
        """
        for split in splits:
            for i in range(self.train if split == "train" else self.test):
                self.picture(path.format(split=split, i=i), scene)

    def image(self, path: str, pixels: NDArray[np.uint8]) -> None:
        """Write pixels, (h, w) or (h, w, 3), in the format of the suffix."""
        file = self.root / path
        form = Image.registered_extensions()[file.suffix.lower()]
        with whole(file, durable=False) as partial:  # drawn again where it is lost
            Image.fromarray(pixels).save(partial, format=form)

    def mask(self, path: str, marked: Mask, value: int = 255) -> None:
        """Write ground truth: `value` where something is marked."""
        self.image(path, marked.astype(np.uint8) * np.uint8(value))

    def masked(self, path: str, mask: str, scene: str, kind: str, value: int = 255) -> None:
        """Draw an anomalous image and its ground truth."""
        self.mask(mask, self.picture(path, scene, kind), value)

    def text(self, path: str, text: str) -> None:
        """Write a text file."""
        with whole(self.root / path, durable=False) as partial:
            partial.write_text(text, encoding="utf-8")

    def json(self, path: str, content: Any) -> None:
        """Write a JSON file."""
        self.text(path, json.dumps(content, indent=1) + "\n")


Sketcher = Callable[[Easel], None]


def plate(scene: str, name: str, kind: str, size: tuple[int, int] = SIZE) -> tuple[NDArray[np.uint8], Mask]:
    """One picture, uint8 (h, w, 3), and what of it is anomalous, bool (h, w).

    Args:
        scene: decides colours and forms.
        name: decides place, light and noise.
        kind: see `Easel.picture`.
        size: height and width.
    """
    parts, own = (np.random.default_rng(crc32(text.encode())) for text in (scene, name))
    height, width = size
    shift = own.integers(-1, 2, 2) * max(1, min(size) // 48)
    image = Image.new("RGB", (width, height), _colour(parts, 20, 90))
    pen = ImageDraw.Draw(image)
    pen.rectangle(_box((0.08, 0.08, 0.92, 0.92), size, shift), fill=_colour(parts, 150, 220))
    lacking = int(own.integers(_ROWS * _COLUMNS)) if kind == LOGICAL else -1
    marked = Image.new("1", (width, height))
    for number, box in enumerate(_places()):
        fill, form = _colour(parts, 0, 255), "ellipse" if parts.random() < 0.5 else "rectangle"
        pad = ImageDraw.Draw(marked) if number == lacking else pen
        getattr(pad, form)(_box(box, size, shift), fill=1 if number == lacking else fill)
    if kind not in (GOOD, LOGICAL):
        _scratch((pen, ImageDraw.Draw(marked)), own, size)
    noisy = np.asarray(image) * own.normal(1, 0.02) + own.normal(0, 2, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8), np.asarray(marked, bool)


def _places() -> Iterator[tuple[float, float, float, float]]:
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            x, y = 0.14 + 0.26 * column, 0.16 + 0.38 * row
            yield x, y, x + 0.18, y + 0.28


def _box(box: Sequence[float], size: tuple[int, int], shift: NDArray[np.int64]) -> list[int]:
    height, width = size
    return [round(v * (width, height)[i % 2]) + int(shift[i % 2]) for i, v in enumerate(box)]


def _colour(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    r, g, b = rng.integers(low, high, 3).tolist()
    return r, g, b


def _scratch(pens: Iterable[ImageDraw.ImageDraw], rng: np.random.Generator, size: tuple[int, int]) -> None:
    height, width = size
    x, y = rng.uniform(0.15, 0.45, 2) * (width, height)
    dx, dy = rng.uniform(0.2, 0.4, 2) * (width, height)
    line, broad = [x, y, x + dx, y + dy], max(2, min(size) // 20)
    pen, mark = pens
    pen.line(line, fill=(250, 30, 220) if rng.random() < 0.5 else (5, 5, 5), width=broad)
    mark.line(line, fill=1, width=broad)
