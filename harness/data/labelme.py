"""LabelMe's files, and those of tools that write the same (X-AnyLabeling): shapes, and their pixels.

What an annotator may have meant is read; what has no area, no place or no name is refused with the number
of the shape, counted from 1, and its label.
"""

import base64
import binascii
import io
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from harness.errors import DataError, nearest

Labels = NDArray[np.uint8]
Point = tuple[float, float]
Size = tuple[int, int]  # (height, width)
IGNORED = 255  # label of pixels that count nowhere
POINTS: Mapping[str, Sequence[int]] = {  # how many a kind of shape has
    "polygon": range(3, 10**9),
    "rectangle": (2, 4),  # two corners; X-AnyLabeling writes all four
    "oriented_rectangle": (4,),
    "rotation": (4,),
    "quadrilateral": (4,),
    "circle": (2,),  # centre, and a point of its rim
    "mask": (2,),  # corners of the box that its picture fills
}
THIN = ("line", "linestrip", "point", "points")
COCO = {"images", "annotations", "categories"}


@final
@dataclass(frozen=True)
class Shape:
    """One shape of a file.

    Attributes:
        number: its place in the list, from 1.
        label: as it is written, but for spaces.
        kind: LabelMe's `shape_type`.
        points: (x, y) in pixels of the image; pixel 0 has its centre at 0.
        mask: of a mask, its picture as PNG.
    """

    number: int
    label: str
    kind: str
    points: tuple[Point, ...]
    mask: bytes = b""

    def __str__(self) -> str:
        return f"shape {self.number} ({self.label!r})"


@final
@dataclass(frozen=True)
class Drawing:
    """What a LabelMe file says.

    Attributes:
        path: the file.
        size: (height, width) of the image that was labelled; None where it does not say.
        shapes: later ones lie on top.
    """

    path: Path
    size: Size | None
    shapes: tuple[Shape, ...]


def clean(name: str) -> str:
    """A name without spaces around it, single ones inside, letters composed (NFC)."""
    return unicodedata.normalize("NFC", " ".join(name.split()))


def json_in(path: Path) -> Any:
    """What a JSON file holds, in any of Unicode's encodings, with a byte order mark or without.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        what = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise DataError(f"{path}: not readable as JSON: not UTF-8 ({what}); save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from error


def drawing(path: Path) -> Drawing | None:
    """The drawing in a file; None if it is another tool's, for many images (COCO).

    Raises:
        DataError: it cannot be read, or has shapes that cannot be meant; every one of them is named.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return _drawing(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)  # planning asks once per trial
def _drawing(path: Path, *stamp: int) -> Drawing | None:
    del stamp  # part of the cache's key only
    content = json_in(path)
    if isinstance(content, dict) and "shapes" not in content and COCO & content.keys():
        return None
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DataError(f"{path}: not a LabelMe file (no list `shapes`)")
    shapes, problems = [], []
    for number, given in enumerate(content["shapes"], 1):
        try:
            shapes.append(_shape(number, given))
        except DataError as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise DataError("\n".join(problems))
    return Drawing(path, _size(path, content), tuple(shapes))


def _size(path: Path, content: Mapping[str, Any]) -> Size | None:
    height, width = (content.get(key) for key in ("imageHeight", "imageWidth"))
    if height is None or width is None:
        return None
    if not all(isinstance(n, int | float) and n == n // 1 and n > 0 for n in (height, width)):
        raise DataError(f"{path}: imageHeight {height!r} and imageWidth {width!r} are no size of an image")
    return int(height), int(width)


def _shape(number: int, given: Any) -> Shape:
    if not isinstance(given, dict):
        raise DataError(f"shape {number}: not a mapping, but {given!r:.50}")
    label = given.get("label")
    if not isinstance(label, str | int) or not clean(str(label)):
        raise DataError(f"shape {number}: it has no label")
    kind = given.get("shape_type") or "polygon"
    shape = Shape(number, clean(str(label)), str(kind), _points(number, label, given), _picture(given))
    if problem := _problem(shape):
        raise DataError(f"{shape}: {problem}")
    return shape


def _points(number: int, label: Any, given: Mapping[str, Any]) -> tuple[Point, ...]:
    try:
        found = tuple((float(x), float(y)) for x, y in given["points"])
    except (KeyError, TypeError, ValueError, OverflowError):
        found = ((math.nan, math.nan),)
    if not all(math.isfinite(v) for point in found for v in point):
        raise DataError(f"shape {number} ({label!r}): `points` must be a list of [x, y] in pixels")
    return found


def _picture(given: Mapping[str, Any]) -> bytes:
    mask = given.get("mask")
    try:
        return base64.b64decode(mask) if isinstance(mask, str) else b""
    except (binascii.Error, ValueError):
        return b""


def _problem(shape: Shape) -> str | None:
    """Why a shape cannot be meant, or None."""
    if shape.kind in THIN:
        return f"a {shape.kind} has no area; draw a polygon"
    if shape.kind not in POINTS:
        return f"shape_type {shape.kind!r}{nearest(shape.kind, POINTS)}; allowed: {', '.join(POINTS)}"
    wanted, n = POINTS[shape.kind], len(shape.points)
    if n not in wanted:
        least = f"{wanted[0]} or more" if isinstance(wanted, range) else " or ".join(map(str, wanted))
        return f"a {shape.kind} of {n} point{'s' * (n != 1)}; it has {least}"
    if shape.kind == "mask":
        return None if shape.mask else "a mask without its picture (`mask`, a PNG in base64)"
    return None if _has_area(shape) else f"a {shape.kind} without area"


def _has_area(shape: Shape) -> bool:
    (x0, y0), *others = shape.points
    if shape.kind == "circle":
        return others[0] != (x0, y0)
    if len(others) == 1:
        return x0 != others[0][0] and y0 != others[0][1]
    pairs = combinations(others, 2)  # not all on one line; the first pair of most shapes shows it
    return any((ax - x0) * (by - y0) != (bx - x0) * (ay - y0) for (ax, ay), (bx, by) in pairs)


def painted(found: Drawing, numbers: Mapping[str, int], size: Size) -> Labels:
    """The label of every pixel, uint8 (height, width); 0 where nothing is drawn.

    Args:
        found: the drawing.
        numbers: label -> value of its pixels.
        size: of the image. Nothing is allocated for the size that the file states.

    Raises:
        DataError: the file states another size, or a shape lies outside, or a mask is no picture of its box.
    """
    if found.size not in (None, size):
        what = f"{_sized(found.size)}, but its image has {_sized(size)}{_turned(found.size, size)}"
        raise DataError(f"{found.path}: {what}")
    canvas = Image.new("L", (size[1], size[0]))
    for shape in found.shapes:
        try:
            _paint(canvas, shape, numbers[shape.label])
        except DataError as error:
            raise DataError(f"{found.path}: {shape}: {error}") from error
    return np.asarray(canvas)


def _sized(size: Size | None) -> str:
    return "no size" if size is None else f"{size[1]} × {size[0]} pixels"


def _turned(stated: Size | None, size: Size) -> str:
    if stated != size[::-1]:
        return ""
    return ": one of them is turned (EXIF orientation); label the picture as it is read here"


def _paint(canvas: Image.Image, shape: Shape, value: int) -> None:
    draw, box = ImageDraw.Draw(canvas), _box(shape)
    if box[2] < 0 or box[3] < 0 or box[0] > canvas.width - 0.5 or box[1] > canvas.height - 0.5:
        raise DataError(f"it lies outside of the image of {_sized((canvas.height, canvas.width))}")
    if shape.kind == "mask":
        corner, stencil = _stencil(shape)
        canvas.paste(value, corner, stencil)
    elif shape.kind == "circle":
        draw.ellipse(box, fill=value)
    elif shape.kind == "rectangle" and _upright(shape.points):
        draw.rectangle(box, fill=value)
    else:
        draw.polygon(shape.points, fill=value, outline=value)


def _box(shape: Shape) -> tuple[float, float, float, float]:
    """Left, top, right, bottom."""
    if shape.kind == "circle":
        (x, y), rim = shape.points
        radius = math.hypot(rim[0] - x, rim[1] - y)
        return x - radius, y - radius, x + radius, y + radius
    xs, ys = zip(*shape.points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _upright(corners: Sequence[Point]) -> bool:
    return all(len({round(v, 3) for v in values}) == 2 for values in zip(*corners, strict=True))


def _stencil(shape: Shape) -> tuple[tuple[int, int], Image.Image]:
    """Where the picture of a mask begins, (x, y), and the picture, 255 where the part is."""
    left, top, right, bottom = (int(v) for v in _box(shape))
    wanted = {(right - left + n, bottom - top + n) for n in (0, 1)}  # LabelMe counts both corners in
    try:
        with Image.open(io.BytesIO(shape.mask)) as picture:
            if picture.size not in wanted:
                raise DataError(f"its picture has {picture.size} pixels, its box {max(wanted)}")
            return (left, top), picture.convert("L").point(lambda v: 255 if v else 0)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"its picture cannot be read ({error})") from error
