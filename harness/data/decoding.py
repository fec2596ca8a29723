"""From the bytes of an image file to pixels, by format, depth and orientation."""

import io
import struct
import warnings
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from harness.data.rule import Depth, Levels, PixelRule

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # none of them names a file
# Those that people keep images in; importing its module puts a reader into Pillow's table of them. (By itself
# Pillow tries all that it knows, also one that starts Ghostscript.)
_READERS = (
    PngImagePlugin,
    JpegImagePlugin,
    BmpImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    GifImagePlugin,
    PpmImagePlugin,
)
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what Pillow raises on damaged files
AS_STORED = 1  # the EXIF orientation that turns nothing
_ORIENTATION, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 262, 339  # tags of TIFF, the first also of EXIF
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
_Turn = Image.Transpose
TURNS = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
_BACK = TURNS | {6: _Turn.ROTATE_90, 8: _Turn.ROTATE_270}  # the other turns undo themselves


class Header(NamedTuple):
    """What an image file says of itself before it is decoded.

    Attributes:
        stored: (height, width) of the pixels in the file.
        depth: what a pixel is made of.
        orientation: EXIF, 1..8; 1 if there is none.
    """

    stored: tuple[int, int]
    depth: Depth
    orientation: int

    @property
    def shown(self) -> tuple[int, int]:
        """(height, width) once it is turned the right way up."""
        return turned_size(self.stored, self.orientation)


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(height, width) after an EXIF orientation was applied."""
    return (size[1], size[0]) if orientation >= 5 else size


def header(file: BinaryIO) -> Header:
    """Of an open image file, without decoding it.

    Raises:
        UNREADABLE: no image, a damaged one, one of several pictures, or one that has no meaning here.
    """
    return inspected(file)[1]


def rgb(data: bytes, rule: PixelRule) -> tuple[Image.Image, Header]:
    """The picture as it is meant to be seen, in mode RGB.

    Raises:
        UNREADABLE: see `header`; or the rule refuses it, or its values.
    """
    image, found = inspected(io.BytesIO(data))
    if problem := rule.problem(found.stored, found.depth):
        raise ValueError(problem)
    levels = rule.levels(found.depth)
    if levels is None:
        picture = as_stored(image, found).convert("RGB")
    else:
        picture = Image.fromarray(scaled(_values(image, found, data), levels)).convert("RGB")
    return turned(picture, TURNS.get(found.orientation)), found


def values(data: bytes) -> NDArray[Any]:
    """The numbers in a file as they are, (height, width) or (height, width, channels), not turned.

    Raises:
        UNREADABLE: see `header`.
    """
    image, found = inspected(io.BytesIO(data))
    return _values(image, found, data)


def scaled(numbers: NDArray[Any], levels: Levels) -> NDArray[np.uint8]:
    """Numbers on the scale of 8 bits, rounded to the nearest; 16 bits over their full range are value / 257.

    Raises:
        ValueError: a value is no number, or outside of levels that are exact.
    """
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise ValueError("holds values that are no numbers (NaN or infinite)")
    if levels.exact and numbers.size and numbers.max() > levels.high:
        raise ValueError(f"holds the value {numbers.max()}; {levels.high:g} is the largest of its `bits`")
    if numbers.dtype == np.uint16:
        return _table(levels.low, levels.high)[numbers]
    return _scaled(numbers, levels.low, levels.high)


@lru_cache(maxsize=4)
def _table(low: float, high: float) -> NDArray[np.uint8]:
    """The result of every 16-bit value: looking it up is faster than the arithmetic on a whole image."""
    return _scaled(np.arange(1 << 16), low, high)


def _scaled(numbers: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    # 255 first: integers stay exact in float64, so that ties are those of the numbers themselves
    share = (numbers.astype(np.float64) - low) * 255 / (high - low)
    return np.rint(share).clip(0, 255).astype(np.uint8)


def inspected(file: BinaryIO) -> tuple[Image.Image, Header]:
    """An opened file and what its header says; nothing is decoded."""
    image = opened(file)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # of a camera's MPO the first is the photograph
        raise ValueError(f"holds {frames} pictures (an animation, or pages); an image file holds one")
    depth = _depth(image)
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return image, Header((image.height, image.width), depth, _orientation(image, file))
    if depth != "8" and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow would show its negative
        raise ValueError("a TIFF of more than 8 bits in which 0 is white; save it with 0 as black")
    if depth == "16 colour" and tags.get(_ORIENTATION, 1) != 1:  # OpenCV turns some of them, Pillow all
        raise ValueError("a TIFF of 16-bit colours with an orientation tag; save it as PNG")
    stored = (int(tags[257]), int(tags[256]))  # Pillow's own size is that of the turned image
    return image, Header(stored, depth, _valid(tags.get(_ORIENTATION)))


def opened(file: BinaryIO) -> Image.Image:
    """As `Image.open` does it, but without its limit of pixels, which is global and a warning at first.

    Raises:
        UNREADABLE: of none of the formats.
    """
    start = file.read(16)
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(start) is not True:
            continue
        try:
            file.seek(0)
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # not of this format after all
            continue
    raise Image.UnidentifiedImageError("no image format recognised" if start else "an empty file")


def _depth(image: Image.Image) -> Depth:
    """What a pixel of the file is made of; Pillow's mode has one name for 8-bit and 16-bit colours."""
    raw = _raw_modes(image)
    if image.mode.startswith("I;16"):
        return "12" if any(mode.startswith("I;12") for mode in raw) else "16"
    if image.mode == "F":
        return "float"
    if image.mode == "I":
        return _integers(image, raw)
    return "16 colour" if any(";16" in mode for mode in raw) else "8"


def _integers(image: Image.Image, raw: list[str]) -> Depth:
    tags = getattr(image, "tag_v2", None)
    if tags is None:  # PNG and PPM: Pillow's older name for 16 bits
        return "16"
    if any(mode.startswith("I;16") for mode in raw):
        return "int16"
    formats = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
    return "uint32" if formats in (_UNSIGNED, (_UNSIGNED,)) else "int32"


def _raw_modes(image: Image.Image) -> list[str]:
    tiles = [tile[3] for tile in getattr(image, "tile", ())]
    firsts = [args[0] if isinstance(args, tuple) and args else args for args in tiles]
    return [mode for mode in firsts if isinstance(mode, str)]


def _orientation(image: Image.Image, file: BinaryIO) -> int:
    try:
        if image.format == "PNG" and _late_text(file, image):
            image.load()  # only then Pillow sees what comes after the pixels
        return _valid(Image.Image.getexif(image).get(_ORIENTATION))  # PNG's own would always decode
    except (*UNREADABLE, KeyError, TypeError):  # damaged EXIF: viewers ignore it, too
        return 1


def _valid(orientation: Any) -> int:
    return orientation if orientation in TURNS else 1


def _late_text(file: BinaryIO, image: Image.Image) -> bool:
    """Whether something that may hold an orientation follows the pixels of a PNG."""
    place = image.tile[0][2] - 8  # type: ignore[attr-defined]
    while True:
        file.seek(place)
        start = file.read(8)
        kind = start[4:]
        if len(start) < 8 or kind == b"IEND":
            return False
        if kind in (b"eXIf", b"iTXt", b"zTXt", b"tEXt"):
            return True
        place += 12 + int.from_bytes(start[:4])


def as_stored(image: Image.Image, found: Header) -> Image.Image:
    """Decoded, and not turned: of all formats, Pillow turns TIFF alone by itself."""
    image.load()
    return turned(image, _BACK.get(found.orientation)) if image.format == "TIFF" else image


def turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """A picture the right way up; itself where nothing turns it."""
    return image if turn is None else image.transpose(turn)


def _values(image: Image.Image, found: Header, data: bytes) -> NDArray[Any]:
    if found.depth == "16 colour":
        return _colours(data, found)
    array = np.asarray(as_stored(image, found))
    if found.depth == "uint32":
        return array.view(np.uint32)  # Pillow has signed ones only
    return array.astype(np.uint16) if found.depth in ("12", "16") else array


def _colours(data: bytes, found: Header) -> NDArray[np.uint16]:
    """16-bit colours: Pillow would drop the lower 8 bits, OpenCV does not."""
    import cv2  # here alone: few data sets need it

    array: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.shape[:2] != found.stored:
        raise ValueError("16-bit colours in a form that is not read; save them as PNG")
    return array[..., 2::-1] if array.ndim == 3 else array  # blue, green, red(, alpha)
