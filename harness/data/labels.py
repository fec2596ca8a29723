"""Part labels in a folder: index PNGs or LabelMe files, drawn by a person or proposed by a method.

    <folder>/<category>/part_classes.json     names of the labels, background first
    <folder>/<category>/labels.json           optional: {"by": "clip_lad", "marks": ["stand-in labels"]}
    <folder>/<category>/000.png | 000.json    of the image whose id ends so: train/good/000.png

A PNG holds label numbers at the native size of its image. Beside a LabelMe file of the same name a PNG is
taken for the picture that was labelled; a LabelMe file without shapes is a draft and does not count.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError

from harness.data.digest import file_digest
from harness.errors import DataError, nearest

CLASSES, ABOUT = "part_classes.json", "labels.json"
BACKGROUND = "background"
STAND_IN = "stand-in labels"
Labels = NDArray[np.uint8]


@final
@dataclass(frozen=True)
class LabelFolder:
    """The labels of one category.

    Attributes:
        folder: where they lie.
        files: path below the folder without suffix -> index PNG or LabelMe file.
        classes: names of the labels; 0 is the background.
        marks: what tables must say of numbers made with them.
    """

    folder: Path
    files: Mapping[str, Path]
    classes: tuple[str, ...]
    marks: tuple[str, ...] = ()

    def of(self, image: str) -> Path | None:
        """The file that labels the image with this id (a path below the category), or None."""
        steps = Path(image).with_suffix("").parts
        names = ("/".join(steps[i:]) for i in range(len(steps)))
        return next((self.files[name] for name in names if name in self.files), None)

    @property
    def sha256(self) -> str:
        """Content hash over names, classes and files.

        Raises:
            DataError: a file cannot be read.
        """
        lines = [[name, file_digest(path)] for name, path in sorted(self.files.items())]
        return hashlib.sha256(json.dumps([self.classes, lines]).encode()).hexdigest()


def find_labels(root: Path, category: str) -> LabelFolder | None:
    """The labels of a category below `root`; None if there are none.

    A sub-type ("juice_bottle/cherry") without a folder of its own shares that of its category.

    Raises:
        DataError: a file that says nothing usable, or index PNGs without names.
    """
    folder = next((f for f in (root / category, root / category.partition("/")[0]) if f.is_dir()), None)
    if folder is None:
        return None
    drawn = [p for p in sorted(folder.rglob("*.json")) if p.name not in (CLASSES, ABOUT)]
    pictures = sorted(folder.rglob("*.png"))
    files = {_name(folder, p): p for p in pictures}
    files = {name: p for name, p in files.items() if not p.with_suffix(".json").is_file()}
    files |= {_name(folder, p): p for p in drawn if _shapes(p)}
    if not files:
        return None
    return LabelFolder(folder, files, _classes(folder, files.values()), _marks(folder / ABOUT))


def read_labels(path: Path, classes: Sequence[str], size: tuple[int, int]) -> Labels:
    """One label map at native size, uint8 (height, width).

    Args:
        path: index PNG, or LabelMe file (polygons, rectangles, circles; later shapes lie on top).
        classes: names of the labels.
        size: (height, width) of the image.

    Raises:
        DataError: unreadable, of another size, or with labels that have no name.
    """
    labels = _drawn(path, classes) if path.suffix == ".json" else _indexed(path)
    if labels.shape != size:
        raise DataError(f"{path}: {labels.shape[::-1]} pixels, but its image has {size[::-1]}")
    return check_labels(labels, classes, str(path))


def check_labels(labels: Labels, classes: Sequence[str], what: str) -> Labels:
    """`labels` as they are.

    Raises:
        DataError: a value without a name.
    """
    if (highest := int(labels.max(initial=0))) >= len(classes):
        raise DataError(f"{what}: label {highest}, but only {len(classes)} labels have names ({CLASSES})")
    return labels


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from error


def _shapes(path: Path) -> list[Any]:
    content = _json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DataError(f"{path}: not a LabelMe file (no list `shapes`)")
    return content["shapes"]


def _classes(folder: Path, files: Any) -> tuple[str, ...]:
    if (path := folder / CLASSES).is_file():
        names = _json(path)
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise DataError(f"{path}: must be a list of the names of the labels, background first")
        return tuple(names)
    if indexed := [p for p in files if p.suffix == ".png"]:
        raise DataError(f"{path}: missing; it names the label numbers of {indexed[0].name} and others")
    named = {str(shape.get("label")) for p in files for shape in _shapes(p)}
    return (BACKGROUND, *sorted(named - {BACKGROUND}))


def _marks(path: Path) -> tuple[str, ...]:
    about = _json(path) if path.is_file() else {}
    return tuple(about.get("marks", ())) if isinstance(about, dict) else ()


def _indexed(path: Path) -> Labels:
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1"):
                raise DataError(
                    f"{path}: an index PNG has one channel of label numbers, this is {image.mode}"
                )
            return np.asarray(image).astype(np.uint8)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: not a readable image ({error})") from error


def _drawn(path: Path, classes: Sequence[str]) -> Labels:
    content = _json(path)
    try:
        canvas = Image.new("L", (int(content["imageWidth"]), int(content["imageHeight"])))
        for shape in _shapes(path):
            _draw(ImageDraw.Draw(canvas), shape, _number(shape["label"], classes, path), path)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a LabelMe file ({error!r})") from error
    return np.asarray(canvas)


def _number(name: str, classes: Sequence[str], path: Path) -> int:
    if name not in classes:
        known = ", ".join(classes)
        raise DataError(f"{path}: no label is called {name!r}{nearest(name, classes)}; there are: {known}")
    return classes.index(name)


def _draw(draw: ImageDraw.ImageDraw, shape: Mapping[str, Any], value: int, path: Path) -> None:
    kind, points = shape.get("shape_type") or "polygon", [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "polygon":
        draw.polygon(points, fill=value, outline=value)
    elif kind == "rectangle":
        (x0, y0), (x1, y1) = points
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=value)
    elif kind == "circle":
        (x, y), rim = points
        radius = float(np.hypot(rim[0] - x, rim[1] - y))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)
    else:
        raise DataError(f"{path}: shape_type {kind!r}; allowed: polygon, rectangle, circle")
