"""Random crops of scenes with their part masks, and photometric changes of batches of them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

IGNORED = 255  # part index outside of the picture
RGB = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Generator = np.random.Generator


@dataclass(frozen=True)
class Window:
    """Where a crop lies: all in parts of the picture's width and height, the angle in radians.

    A window of size (1, 1) is the whole picture, squeezed to a square as methods squeeze it.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0
    mirrored: bool = False


def random_window(rng: Generator, smallest: float, largest: float, upright: bool = False) -> Window:
    """A window somewhere in the picture; `upright` ones are turned by a few degrees at most."""
    size = np.exp(rng.uniform(np.log(smallest), np.log(largest)))
    shape = np.exp(rng.normal(0, 0.12))
    width, height = min(1.05, size * shape), min(1.05, size / shape)
    x, y = (0.5 + (rng.random() - 0.5) * max(0.04, 1 - s) for s in (width, height))
    angle = rng.normal(0, 0.06) if upright or size > 0.8 else rng.normal(0, 0.35)
    return Window(x, y, width, height, angle, rng.random() < 0.5)


def around(part: NDArray[np.bool_], rng: Generator) -> Window:
    """A square window around the true pixels of a mask, with a margin."""
    h, w = part.shape
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(bottom - top, right - left) * rng.uniform(1.1, 1.7) + 4
    x, y = (left + right) / 2 + rng.normal(0, side / 25), (top + bottom) / 2 + rng.normal(0, side / 25)
    shape = np.exp(rng.normal(0, 0.15))
    mirrored = rng.random() < 0.5
    return Window(x / w, y / h, side * shape / w, side / shape / h, rng.normal(0, 0.15), mirrored)


def cut(image: RGB, parts: Mask, window: Window, side: int) -> tuple[RGB, Mask]:
    """The window as (side, side, 3) pixels and (side, side) part indices, `IGNORED` outside."""
    h, w = parts.shape
    a, b = window.width * w / side, window.height * h / side
    cos, sin = np.cos(window.angle), np.sin(window.angle)
    flip = -1 if window.mirrored else 1
    xx, xy, yx, yy = a * cos * flip, -b * sin, a * sin * flip, b * cos
    x0 = window.x * w - (xx + xy) * side / 2
    y0 = window.y * h - (yx + yy) * side / 2
    data = (xx, xy, x0, yx, yy, y0)
    pixels = _transformed(Image.fromarray(image), data, side, (90, 90, 90))
    labels = _transformed(Image.fromarray(parts), data, side, IGNORED)
    return pixels, labels


def _transformed(picture: Image.Image, data: tuple[float, ...], side: int, fill: int | tuple) -> NDArray:
    """Sampled twice as densely where the picture shrinks, so that nothing aliases."""
    shrinks = picture.mode == "RGB" and max(abs(data[0]), abs(data[4])) > 1.3
    kind = Image.Resampling.BILINEAR if picture.mode == "RGB" else Image.Resampling.NEAREST
    if not shrinks:
        result = picture.transform((side, side), Image.Transform.AFFINE, data, kind, fillcolor=fill)
        return np.asarray(result)
    finer = tuple(v if i % 3 == 2 else v / 2 for i, v in enumerate(data))
    result = picture.transform((2 * side, 2 * side), Image.Transform.AFFINE, finer, kind, fillcolor=fill)
    return np.asarray(result.reduce(2))


def as_batch(pictures: list[RGB]) -> Tensor:
    """float32 (n, 3, side, side) in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def relit(batch: Tensor, rng: Generator, strength: float = 1) -> Tensor:
    """Other exposure, contrast, gamma, white balance, sharpness and noise for every picture."""
    n = len(batch)
    draw = lambda spread, *shape: torch.from_numpy(rng.normal(0, spread * strength, shape)).float()  # noqa: E731
    gain = torch.exp(draw(0.18, n, 1, 1, 1)) * torch.exp(draw(0.05, n, 3, 1, 1))
    gamma = torch.exp(draw(0.15, n, 1, 1, 1))
    middle = batch.mean(dim=(2, 3), keepdim=True)
    lit = (middle + (batch - middle) * torch.exp(draw(0.15, n, 1, 1, 1))).clamp(0.001, 1) ** gamma * gain
    lit = torch.where(torch.from_numpy(rng.random((n, 1, 1, 1)) < 0.25), _soft(lit), lit)
    return (lit + draw(0.02, *batch.shape) * torch.from_numpy(rng.random((n, 1, 1, 1))).float()).clamp(0, 1)


def _soft(batch: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 2.0, 1.0])
    kernel = (kernel[:, None] * kernel / 16).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(batch, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
