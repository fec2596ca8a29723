"""Colours of image regions in CIE Lab, and their k-means clusters."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Region = tuple[float, float, float, float]
Pixels = Literal["all", "chromatic"]
CHROMATIC = 0.05  # of the pixels of a region that count as its most colourful ones
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_D65 = np.array([0.95047, 1.0, 1.08883])


def lab(rgb: ArrayLike) -> Array:
    """CIE Lab under D65 (..., 3) of sRGB values in 0..255 (IEC 61966-2-1, CIE 15)."""
    value = np.asarray(rgb, dtype=np.float64) / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _D65
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def crop(image: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    """The part (h, w, 3) of an image inside `region` = (x0, y0, x1, y1), fractions of width and height."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = region
    left, top = int(x0 * width), int(y0 * height)
    return image[top : max(round(y1 * height), top + 1), left : max(round(x1 * width), left + 1)]


def region_colour(image: NDArray[np.uint8], region: Region, pixels: Pixels = "all") -> Array:
    """Mean Lab colour (3,) of a region of an RGB image.

    Args:
        image: uint8 (height, width, 3).
        region: fractions x0, y0, x1, y1.
        pixels: "all", or "chromatic" for the most colourful twentieth: a thin cable on a grey ground.
    """
    colours = lab(crop(image, region)).reshape(-1, 3)
    if pixels == "chromatic":
        n = max(1, round(CHROMATIC * len(colours)))
        colours = colours[np.argpartition(np.hypot(colours[:, 1], colours[:, 2]), -n)[-n:]]
    return colours.mean(axis=0)


def kmeans(points: Array, k: int, seed: int = 0, starts: int = 10) -> Array:
    """Centroids (k, d) of k-means over points (n, d): the best of several k-means++ starts."""
    rng = np.random.default_rng(seed)
    runs = [_lloyd(points, _plus_plus(points, k, rng)) for _ in range(starts)]
    return min(runs, key=lambda centroids: float((distances(points, centroids).min(axis=1) ** 2).sum()))


def distances(points: Array, centroids: Array) -> Array:
    """Euclidean distances (n, k)."""
    return np.linalg.norm(points[:, None] - centroids[None], axis=-1)


def _plus_plus(points: Array, k: int, rng: np.random.Generator) -> Array:
    chosen = [points[rng.integers(len(points))]]
    while len(chosen) < k:
        weight = distances(points, np.array(chosen)).min(axis=1) ** 2
        total = weight.sum()
        chosen.append(points[rng.choice(len(points), p=weight / total if total > 0 else None)])
    return np.array(chosen)


def _lloyd(points: Array, centroids: Array, rounds: int = 100) -> Array:
    for _ in range(rounds):
        owner = distances(points, centroids).argmin(axis=1)
        means = [
            points[owner == j].mean(axis=0) if (owner == j).any() else c for j, c in enumerate(centroids)
        ]
        moved = np.array(means)
        if np.allclose(moved, centroids, atol=1e-9):
            break
        centroids = moved
    return centroids
