"""What stands in the files of a submission: written, and held against the rules."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.server.rules import MAPS, MASKS, Size

ON = 255
# What tifffile, Pillow and numpy raise over bytes that are something else.
_OTHER = (OSError, ValueError, LookupError, TypeError, EOFError, ArithmeticError, MemoryError, SyntaxError)
_OTHER += (tifffile.TiffFileError, NotImplementedError, RuntimeError)


def map_bytes(values: NDArray[np.float16]) -> bytes:
    """A map (h, w) as TIFF; not compressed, which every reader knows (the .tar.gz is)."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="minisblack", metadata=None)
    return buffer.getvalue()


def mask_bytes(flagged: NDArray[np.bool_]) -> bytes:
    """A mask (h, w) as PNG: 0, or 255 where a pixel is flagged."""
    buffer = io.BytesIO()
    Image.fromarray(flagged.astype(np.uint8) * np.uint8(ON)).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def wrong(kind: str, data: bytes, size: Size | None) -> str:
    """What is wrong with a file of a submission; empty if nothing is.

    Args:
        kind: "anomaly_images" or "anomaly_images_thresholded".
        data: its bytes.
        size: (height, width) that it must have, if that is known.
    """
    try:
        pixels = _READERS[kind](data)
    except UnidentifiedImageError:  # its own words are an address in memory
        return "is no PNG"
    except _OTHER as error:
        return f"cannot be read ({' '.join(str(error).split())[:100] or type(error).__name__})"
    if pixels.size == 0:
        return "holds no image"
    if pixels.ndim != 2:
        return f"has the shape {pixels.shape}; one channel is allowed"
    if size is not None and pixels.shape != size:
        return f"is {_sides(pixels.shape)}, its image {_sides(size)}"
    return _wrong_map(pixels) if kind == MAPS else _wrong_mask(pixels)


def _wrong_map(pixels: NDArray[Any]) -> str:
    if pixels.dtype != np.float16:
        return f"holds {pixels.dtype}; allowed: float16"
    bad = int(np.count_nonzero(~np.isfinite(pixels)))
    return f"has {bad} NaN or infinite values of {pixels.size}" if bad else ""


def _wrong_mask(pixels: NDArray[Any]) -> str:
    if pixels.dtype != np.uint8:
        return f"holds {pixels.dtype}; allowed: 8 bits"
    other = np.setdiff1d(np.unique(pixels), (0, ON))
    return f"has the value {other[0]}; allowed: 0 and {ON}" if other.size else ""


def _png(data: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image)


def _tiff(data: bytes) -> NDArray[Any]:
    return np.asarray(tifffile.imread(io.BytesIO(data)))


_READERS: dict[str, Callable[[bytes], NDArray[Any]]] = {MAPS: _tiff, MASKS: _png}


def _sides(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"
