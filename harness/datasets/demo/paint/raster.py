"""A small software renderer: anti-aliased shapes with shading and soft shadows on a float canvas.

Units: one unit is the shorter image side, x to the right, y down, z towards the viewer. All arithmetic is
float64, so that a last-bit difference between two machines never reaches an 8-bit pixel in practice.
Light is linear; `camera.develop` turns it into an sRGB photograph.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Shape = Callable[[Array, Array], Array]  # signed distance, negative inside


@dataclass(frozen=True)
class Samples:
    """Sample points of some pixels: `rows`, `cols` (n,), `x`, `y` (n, s) with s points per pixel."""

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    x: Array
    y: Array
    pitch: float

    def cover(self, distance: Array) -> Array:
        """Turn a signed distance (n, s) into the covered fraction (n, s) around every sample."""
        return np.clip(0.5 - distance / self.pitch, 0.0, 1.0)

    def near(self, centre: tuple[float, float], radius: float) -> "Samples":
        """Those around a place."""
        x, y = self.x[:, 0] - centre[0], self.y[:, 0] - centre[1]
        keep = x * x + y * y < radius * radius
        return Samples(self.rows[keep], self.cols[keep], self.x[keep], self.y[keep], self.pitch)


@dataclass(frozen=True)
class Pose:
    """Where a part lies: centre, angle in radians (0 = along x) and scale."""

    x: float
    y: float
    angle: float = 0.0
    scale: float = 1.0

    def local(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Coordinates in the frame of the part."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        dx, dy = (x - self.x) / self.scale, (y - self.y) / self.scale
        return c * dx + s * dy, c * dy - s * dx

    def world(self, u: float, v: float) -> tuple[float, float]:
        """Image coordinates of a point given in the frame of the part."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return self.x + self.scale * (c * u - s * v), self.y + self.scale * (s * u + c * v)

    def turn(self, nu: ArrayLike, nv: ArrayLike) -> tuple[Array, Array]:
        """Rotate the in-plane components of a normal from the part's frame into the image."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        u, v = np.asarray(nu), np.asarray(nv)
        return c * u - s * v, s * u + c * v


@dataclass
class Canvas:
    """Linear RGB image (h, w, 3), index image of parts (h, w) and of the object on top (h, w)."""

    size: int
    aspect: float
    w: int = field(init=False)
    h: int = field(init=False)
    image: Array = field(init=False)
    parts: NDArray[np.uint8] = field(init=False)
    owner: NDArray[np.int16] = field(init=False)
    owners: int = 0

    def __post_init__(self) -> None:
        self.w = round(self.size * max(1.0, self.aspect))
        self.h = round(self.size * max(1.0, 1.0 / self.aspect))
        self.image = np.zeros((self.h, self.w, 3))
        self.parts = np.zeros((self.h, self.w), np.uint8)
        self.owner = np.zeros((self.h, self.w), np.int16)

    @property
    def px(self) -> float:
        """Side of a pixel in units."""
        return 1.0 / self.size

    @property
    def width(self) -> float:
        """Width in units."""
        return self.w / self.size

    @property
    def height(self) -> float:
        """Height in units."""
        return self.h / self.size

    def grid(self) -> tuple[Array, Array]:
        """Pixel centres as (1, w) and (h, 1), to be broadcast."""
        return (np.arange(self.w)[None, :] + 0.5) / self.size, (np.arange(self.h)[:, None] + 0.5) / self.size

    def new_owner(self) -> int:
        """Number for the next object, 1, 2, …"""
        self.owners += 1
        return self.owners

    def box(self, x0: float, y0: float, x1: float, y1: float, supersample: int = 2) -> Samples:
        """Samples of all pixels that touch an axis-parallel box."""
        c0, c1 = np.clip([int(np.floor(x0 * self.size)), int(np.ceil(x1 * self.size))], 0, self.w)
        r0, r1 = np.clip([int(np.floor(y0 * self.size)), int(np.ceil(y1 * self.size))], 0, self.h)
        rows, cols = np.mgrid[r0:r1, c0:c1]
        return self.points(rows.ravel(), cols.ravel(), supersample)

    def capsule(self, a: Sequence[float], b: Sequence[float], r: float, supersample: int = 2) -> Samples:
        """Samples of the pixels within `r` of the segment from `a` to `b`."""
        r = r + self.px
        coarse = self.box(
            min(a[0], b[0]) - r, min(a[1], b[1]) - r, max(a[0], b[0]) + r, max(a[1], b[1]) + r, 1
        )
        near = segment(coarse.x, coarse.y, a, b)[:, 0] < r
        return self.points(coarse.rows[near], coarse.cols[near], supersample)

    def disc(self, x: float, y: float, r: float, supersample: int = 2) -> Samples:
        """Samples of the pixels within `r` of a point."""
        return self.capsule((x, y), (x, y), r, supersample)

    def points(self, rows: NDArray[np.intp], cols: NDArray[np.intp], supersample: int = 2) -> Samples:
        """Regular supersamples of the given pixels."""
        offset = (np.arange(supersample) + 0.5) / supersample
        oy, ox = (o.ravel() for o in np.meshgrid(offset, offset, indexing="ij"))
        x = (cols[:, None] + ox) / self.size
        y = (rows[:, None] + oy) / self.size
        return Samples(rows, cols, x, y, self.px / supersample)

    def paint(
        self, at: Samples, cover: Array, rgb: ArrayLike, part: int | None = None, owner: int | None = None
    ) -> Array:
        """Blend a colour (3,) or (n, s, 3) over the image where `cover` (n, s) says; returns alpha (n,).

        Pixels more than half covered take the part number and the owner, if given.
        """
        colour = np.asarray(rgb, dtype=float)
        alpha = cover.mean(axis=1)
        premultiplied = alpha[:, None] * colour if colour.ndim == 1 else (cover[..., None] * colour).mean(1)
        self.image[at.rows, at.cols] *= 1.0 - alpha[:, None]
        self.image[at.rows, at.cols] += premultiplied
        top = alpha >= 0.5
        if part is not None:
            self.parts[at.rows[top], at.cols[top]] = part
        if owner is not None:
            self.owner[at.rows[top], at.cols[top]] = owner
        return alpha

    def add(self, at: Samples, light: Array) -> None:
        """Add light (n, s) or (n, s, 3) (reflections, veils)."""
        light = light[..., None] if light.ndim == 2 else light
        self.image[at.rows, at.cols] += light.mean(axis=1)

    def multiply(self, at: Samples, factor: Array) -> None:
        """Multiply by a factor (n, s) or (n, s, 3) (shadows, tinted glass)."""
        factor = factor[..., None] if factor.ndim == 2 else factor
        self.image[at.rows, at.cols] *= factor.mean(axis=1)

    def mask(self, at: Samples, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Full-size mask (h, w) with the chosen sample pixels set."""
        full = np.zeros((self.h, self.w), bool)
        full[at.rows[inside], at.cols[inside]] = True
        return full

    def shadow(self, at: Samples, distance: Array, soft: float, dark: float) -> None:
        """Darken softly around the zero line of a (shifted) signed distance."""
        self.multiply(at, 1.0 - dark * smoothstep(soft, -soft, distance))


def smoothstep(a: float | Array, b: float | Array, x: Array) -> Array:
    """0 at `a`, 1 at `b`, cubic in between; `a` may be the larger one."""
    t = np.clip((x - a) / (b - a), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def segment(x: Array, y: Array, a: Sequence[float], b: Sequence[float]) -> Array:
    """Distance to the segment from `a` to `b`."""
    bx, by = b[0] - a[0], b[1] - a[1]
    t = np.clip(((x - a[0]) * bx + (y - a[1]) * by) / max(bx * bx + by * by, 1e-12), 0.0, 1.0)
    return np.hypot(x - a[0] - t * bx, y - a[1] - t * by)


def polyline(x: Array, y: Array, points: Sequence[Sequence[float]]) -> Array:
    """Distance to an open polyline of at least two points."""
    best = segment(x, y, points[0], points[1])
    for a, b in pairwise(points[1:]):
        np.minimum(best, segment(x, y, a, b), out=best)
    return best


def rectangle(x: Array, y: Array, half_x: float, half_y: float, corner: float = 0.0) -> Array:
    """Signed distance to a centred box with rounded corners."""
    qx, qy = np.abs(x) - half_x + corner, np.abs(y) - half_y + corner
    outside = np.hypot(np.maximum(qx, 0.0), np.maximum(qy, 0.0))
    return outside + np.minimum(np.maximum(qx, qy), 0.0) - corner


def hexagon(x: Array, y: Array, apothem: float) -> Array:
    """Signed distance (exact inside) to a centred regular hexagon with flat sides left and right."""
    h = 0.8660254037844386
    return np.maximum(np.abs(x), np.maximum(np.abs(0.5 * x + h * y), np.abs(0.5 * x - h * y))) - apothem


def ellipse(x: Array, y: Array, rx: float, ry: float | Array) -> Array:
    """Approximate signed distance to a centred ellipse (first order at the rim)."""
    k = np.hypot(x / rx, y / ry)
    g = np.hypot(x / rx**2, y / ry**2)
    return k * (k - 1.0) / np.maximum(g, 1e-9)


def polygon(x: Array, y: Array, points: Sequence[Sequence[float]]) -> Array:
    """Signed distance to a simple closed polygon."""
    best, inside = np.full(x.shape, np.inf), np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        np.minimum(best, segment(x, y, (ax, ay), (bx, by)), out=best)
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return np.where(inside, -best, best)


def gradient(shape: Shape, x: Array, y: Array, step: float = 1e-3) -> tuple[Array, Array, Array]:
    """Signed distance and its unit gradient (outward direction) by forward differences."""
    d = shape(x, y)
    gx, gy = shape(x + step, y) - d, shape(x, y + step) - d
    norm = np.maximum(np.hypot(gx, gy), 1e-9)
    return d, gx / norm, gy / norm
