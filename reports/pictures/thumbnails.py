"""Small pictures for a page: images, masks, part labels and anomaly maps as data URIs."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.inspection.drawing import part_colour

SIZE = (256, 176)  # width and height that no picture exceeds; the page shows it a little smaller
QUALITY = 78
MASK_COLOUR = (255, 0, 200)
TINT = 0.3  # of the mask's colour over the image
PART_OPACITY = 0.62
HEAT_OPACITY = 0.8  # at the upper end of the scale; falls to 0 at the lower end
# Dark violet over red to light yellow: lightness rises all the way, so it survives grey printing.
RAMP = ((38, 8, 92), (140, 22, 120), (222, 54, 70), (250, 140, 20), (252, 246, 150))

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Limits = tuple[float, float]


def thumbnail(image: Pixels) -> Pixels:
    """An RGB image (height, width, 3) made to fit `SIZE`; a smaller one is enlarged."""
    height, width = image.shape[:2]
    scale = min(SIZE[0] / width, SIZE[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def data_uri(picture: Pixels) -> str:
    """A picture as WebP inside its own address."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def small_mask(mask: Mask, like: Pixels) -> Mask:
    """A mask at the size of a picture; a region of a few pixels does not vanish."""
    share = Image.fromarray(mask.astype(np.uint8) * 255).resize(_size(like), Image.Resampling.BOX)
    covered = np.asarray(share)
    return covered >= min(128, max(1, int(covered.max())))


def with_mask(picture: Pixels, mask: Mask) -> Pixels:
    """A picture with a mask of its size as a tint with an outline."""
    tinted = _blend(picture, np.array(MASK_COLOUR), TINT * mask)
    return with_outline(tinted, mask, MASK_COLOUR)


def with_outline(picture: Pixels, mask: Mask, colour: tuple[int, int, int] = (255, 255, 255)) -> Pixels:
    """A picture with the inner border of a mask of its size, one pixel wide."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    drawn = picture.copy()
    drawn[mask & ~inner] = colour
    return drawn


def with_parts(picture: Pixels, labels: Pixels) -> Pixels:
    """A picture under the colours of its part labels (h, w); the background, 0, is greyed."""
    small = np.asarray(Image.fromarray(labels).resize(_size(picture), Image.Resampling.NEAREST))
    palette = np.array([part_colour(i) for i in range(256)])
    grey = picture.mean(axis=2, keepdims=True).repeat(3, axis=2)
    return _blend(grey, palette[small], np.where(small > 0, PART_OPACITY, 0.35))


def with_heat(picture: Pixels, anomaly_map: NDArray[np.float32], limits: Limits) -> Pixels:
    """A greyed picture under an anomaly map of any size: nothing at the lower limit, yellow at the upper."""
    resized = Image.fromarray(np.nan_to_num(anomaly_map)).resize(_size(picture), Image.Resampling.BILINEAR)
    low, high = limits
    value = np.clip((np.asarray(resized) - low) / max(high - low, 1e-30), 0, 1)
    stops = np.linspace(0, 1, len(RAMP))
    colours = np.stack([np.interp(value, stops, channel) for channel in np.array(RAMP).T], axis=-1)
    grey = picture.mean(axis=2, keepdims=True).repeat(3, axis=2)
    return _blend(grey, colours, HEAT_OPACITY * np.sqrt(value))


def _blend(picture: NDArray, colours: NDArray, opacity: NDArray) -> Pixels:
    weight = opacity[..., None]
    return np.round((1 - weight) * picture + weight * colours).astype(np.uint8)


def _size(picture: Pixels) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]
