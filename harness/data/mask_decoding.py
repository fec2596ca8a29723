"""Mask files as arrays: which channel is read, which values are marked (`harness.data.rule`)."""

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.decoding import TURNS, as_stored, inspected, turned
from harness.data.rule import PLAIN, PixelRule


def mask(data: bytes, orientation: int | None = None, rule: PixelRule = PLAIN) -> NDArray[np.uint8]:
    """A mask as uint8 (height, width), zero where nothing is marked.

    Args:
        data: the file.
        orientation: EXIF orientation to be applied; None for the mask's own.
        rule: of the data set: which channel, above which value, whether black is marked.

    Raises:
        UNREADABLE: see `header`; or it is not of one channel with values 0..255.
    """
    image, found = inspected(io.BytesIO(data))
    image = as_stored(image, found)
    image = turned(image, TURNS.get(found.orientation if orientation is None else orientation))
    return _marked(_one_channel(_mask_channel(image, rule)), rule)


def _mask_channel(image: Image.Image, rule: PixelRule) -> NDArray[Any]:
    if rule.mask_channel == "alpha":
        if "A" not in image.getbands():
            raise ValueError("has no alpha channel, which `mask_channel: alpha` asks for")
        return np.asarray(image.getchannel("A"))
    if rule.mask_threshold is not None and image.mode in ("RGB", "RGBA", "YCbCr"):
        return np.asarray(image.convert("L"))  # colours of noise; what counts is how bright it is
    return np.asarray(image.convert("RGB") if image.mode in ("LA", "RGBA") else image)


def _marked(pixels: NDArray[np.uint8], rule: PixelRule) -> NDArray[np.uint8]:
    if rule.mask_threshold is None and not rule.mask_invert:
        return pixels
    above = pixels > (rule.mask_threshold or 0)
    return (above ^ bool(rule.mask_invert)).astype(np.uint8) * 255


class MaskForm(NamedTuple):
    """What a mask file is, besides its values.

    Attributes:
        lossy: its format changes pixels when it is saved.
        in_alpha: its colours are the same everywhere while its transparency is not.
    """

    lossy: bool
    in_alpha: bool


def mask_form(data: bytes) -> MaskForm:
    """What a mask file is.

    Raises:
        UNREADABLE: see `header`.
    """
    image, _ = inspected(io.BytesIO(data))
    lossy = image.format in ("JPEG", "MPO", "JPEG2000")
    if "A" not in image.getbands():
        return MaskForm(lossy, False)
    extremes: Any = image.getextrema()  # one pair per channel; alpha is the last
    constant = [low == high for low, high in extremes]
    return MaskForm(lossy, all(constant[:-1]) and not constant[-1])


def _one_channel(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise ValueError("a mask has one channel, this image has colours")
        pixels = pixels[..., 0]
    if pixels.dtype.kind == "f" and (pixels != np.floor(pixels)).any():  # NaN is not itself either
        raise ValueError("a mask has whole numbers 0..255, this one has fractions")
    if pixels.dtype != bool and pixels.size and (pixels.max() > 255 or pixels.min() < 0):
        raise ValueError(f"a mask has values 0..255, this one {pixels.min()}..{pixels.max()}")
    return pixels.astype(np.uint8) * (255 if pixels.dtype == bool else 1)
