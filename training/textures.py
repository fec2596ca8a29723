"""Natural-looking pictures without objects: noise with power-law spectra, dead leaves, cells, spots.

Each kind has one statistic of photographs: spectra that fall with frequency, occluding patches of
every size, cell borders, and repeating spots with defects as reaction and diffusion leave them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import irfft2, rfftfreq
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import KDTree

Array = NDArray[np.float64]
Generator = np.random.Generator
SUFFIXES = (".jpg", ".jpeg", ".png")


def textures(number: int, side: int, seed: int) -> NDArray[np.uint8]:
    """`number` pictures (n, side, side, 3), uint8, of the four kinds in turn."""
    return np.stack([texture(np.random.default_rng([seed, i]), side, i) for i in range(number)])


def texture(rng: Generator, side: int, kind: int) -> NDArray[np.uint8]:
    """One picture (side, side, 3), uint8; `kind` modulo 4 says which."""
    draw: Callable[[Generator, int], Array] = (_clouds, _leaves, _cells, _spots)[kind % 4]
    picture = draw(rng, side)
    light = 1 + 0.25 * power_law(rng, side, 2.5)
    low, high = np.quantile(picture, (0.01, 0.99))
    picture = (picture - low) / (high - low + 1e-9) * rng.uniform(0.5, 1) * light[..., None]
    return np.rint(255 * picture.clip(0, 1)).astype(np.uint8)


def photographs(folder: Path, side: int) -> NDArray[np.uint8]:
    """A user's own pictures, shrunk so that the shorter side is `side`, and their centres cut out."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    return np.stack([_centre(Image.open(p).convert("RGB"), side) for p in files])


def _centre(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    scale = side / min(picture.size)
    width, height = (max(side, round(n * scale)) for n in picture.size)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def power_law(rng: Generator, side: int, exponent: float, stretch: float = 1, angle: float = 0) -> Array:
    """Noise (side, side) of unit deviation whose amplitude falls as frequency to the -exponent/2."""
    fy, fx = np.fft.fftfreq(side)[:, None], rfftfreq(side)[None, :]
    along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
    frequency = np.hypot(along * stretch, across / stretch)
    frequency[0, 0] = np.inf
    white = rng.standard_normal((2, *frequency.shape))
    noise: Array = np.asarray(irfft2((white[0] + 1j * white[1]) * frequency ** (-exponent / 2), (side, side)))
    return noise / noise.std()


def _colours(rng: Generator, number: int) -> Array:
    """Colours of one mood: grey levels spread widely, hues spread little, as in photographs."""
    grey = rng.uniform(0.1, 0.9, (number, 1))
    return grey * (1 + 0.15 * rng.standard_normal((1, 3)) + 0.12 * rng.standard_normal((number, 3)))


def _clouds(rng: Generator, side: int) -> Array:
    """Two layers of noise, streaked and bent, between four colours."""
    stretch, angle = np.exp(rng.normal(0, 0.8)), rng.uniform(0, np.pi)
    t = power_law(rng, side, rng.uniform(1.2, 3.2), stretch, angle)
    t = _bent(rng, t, rng.uniform(0, 25))
    u = power_law(rng, side, rng.uniform(0.8, 2.2))
    a, b, c, d = _colours(rng, 4)
    s, v = (1 / (1 + np.exp(-rng.uniform(1, 4) * x))[..., None] for x in (t, u))
    return (1 - s) * ((1 - v) * a + v * b) + s * ((1 - v) * c + v * d)


def _bent(rng: Generator, field: Array, pixels: float) -> Array:
    side = len(field)
    grid = np.mgrid[:side, :side].astype(float)
    grid += pixels * np.stack([power_law(rng, side, 3.5), power_law(rng, side, 3.5)])
    return map_coordinates(field, grid, order=1, mode="wrap")


def _leaves(rng: Generator, side: int) -> Array:
    """Discs and boxes of every size that cover one another, each with a grain of its own."""
    y, x = np.mgrid[:side, :side]
    grain = np.stack([power_law(rng, side, e) for e in (0.5, 1.5, 2.5)])
    picture = np.broadcast_to(_colours(rng, 1), (side, side, 3)).copy()
    for colour in _colours(rng, 160):
        radius = 4.0 / rng.uniform(4.0 / (side / 3), 1.0)
        u, v, angle = x - rng.uniform(0, side), y - rng.uniform(0, side), rng.uniform(0, np.pi)
        p, q = u * np.cos(angle) + v * np.sin(angle), (v * np.cos(angle) - u * np.sin(angle))
        q = q * rng.uniform(1, 3)
        inside = (np.hypot(p, q) if rng.random() < 0.5 else np.maximum(abs(p), abs(q))) < radius
        shade = 1 + 0.15 * grain[rng.integers(3)][inside] + rng.normal(0, 0.3) * p[inside] / radius
        picture[inside] = shade[:, None] * colour
    return gaussian_filter(picture, (0.6, 0.6, 0))


def _cells(rng: Generator, side: int) -> Array:
    """Cells around random or almost regular points: pebbles, tiles, crackle."""
    number = int(np.exp(rng.uniform(np.log(12), np.log(400))))
    points = rng.uniform(0, side, (number, 2))
    if rng.random() < 0.4:
        step = side / np.sqrt(number)
        lattice = np.stack(np.meshgrid(*[np.arange(0, side + step, step)] * 2), -1).reshape(-1, 2)
        points = lattice + rng.normal(0, step * 0.12, lattice.shape)
    grid = np.moveaxis(np.indices((side, side)), 0, -1).reshape(-1, 2)
    bend = 4 * np.stack([power_law(rng, side, 2.5), power_law(rng, side, 2.5)], -1).reshape(-1, 2)
    distance, index = KDTree(points).query(grid + bend, k=2)
    border = (1 - np.exp(-(distance[:, 1] - distance[:, 0]) / rng.uniform(0.8, 3))).reshape(side, side, 1)
    fill = _colours(rng, len(points))[np.asarray(index)[:, 0]].reshape(side, side, 3)
    relief = 1 + rng.normal(0, 0.03) * distance[:, 0].reshape(side, side, 1)
    grain = 1 + 0.12 * power_law(rng, side, rng.uniform(0.5, 2))[..., None]
    return fill * grain * relief * border + _colours(rng, 1) * (1 - border)


def _spots(rng: Generator, side: int) -> Array:
    """A band of frequencies, sharpened: the spots and labyrinths of reaction and diffusion."""
    white = rng.standard_normal((side, side))
    scale, ratio = rng.uniform(1.2, 6), rng.uniform(0.3, 1)
    fine, coarse = (s * gaussian_filter(white, (s, s * ratio), mode="wrap") for s in (scale, 2 * scale))
    t = _bent(rng, fine - coarse, rng.uniform(0, 20))
    s = 1 / (1 + np.exp(-rng.uniform(2, 8) * (t / t.std() - rng.uniform(-0.8, 0.8))))[..., None]
    a, b = _colours(rng, 2)
    grain = 1 + 0.12 * power_law(rng, side, rng.uniform(0.5, 2))[..., None]
    return (s * a + (1 - s) * b) * grain
