"""Screws, nuts and washers, as shapes and as shaded metal with shadows."""

from dataclasses import dataclass

import numpy as np

from harness.datasets.demo.paint.material import Light, bevel, metal, normalise
from harness.datasets.demo.paint.raster import (
    Array,
    Canvas,
    Pose,
    Samples,
    gradient,
    hexagon,
    polygon,
    smoothstep,
)

SHANK, HEAD, HEAD_LENGTH, TIP, PITCH = 0.0225, 0.05, 0.05, 0.04, 0.0165
WASHER, WASHER_HOLE = 0.074, 0.036
NUT, NUT_HOLE = 0.059, 0.031


@dataclass(frozen=True)
class Item:
    """A piece of metalware: what, where, how long (screws), which metal, and where it is broken.

    `bite` is a polygon in the part's frame that has broken off; for screws the head is gone if `headless`.
    """

    kind: str  # screw, nut, washer
    pose: Pose
    length: float = 0.0
    tint: tuple[float, float, float] = (0.8, 0.8, 0.82)
    rough: float = 0.35
    twist: float = 0.0
    bite: tuple[tuple[float, float], ...] = ()
    headless: bool = False

    def ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """End points of the axis (equal for nuts and washers)."""
        half = self.length / 2
        return self.pose.world(-half, 0.0), self.pose.world(half, 0.0)

    def radius(self) -> float:
        """Largest distance of the outline from the axis."""
        return self.pose.scale * {"screw": HEAD, "nut": NUT * 1.16, "washer": WASHER}[self.kind]

    def distance(self, x: Array, y: Array) -> Array:
        """Signed distance in image units."""
        u, v = self.pose.local(x, y)
        d = _SHAPES[self.kind](self, u, v)
        if self.bite:
            d = np.maximum(d, -polygon(u, v, self.bite))
        return d * self.pose.scale


def _screw_parts(item: Item, u: Array, v: Array) -> tuple[Array, Array]:
    """Signed distances of head and shank; the axis runs along u, the head is at negative u."""
    at = u + item.length / 2
    rise = np.clip(at / HEAD_LENGTH, 0.0, 1.0)
    dome = HEAD * (1.0 - (1.0 - rise) ** 2.6) ** 0.5
    head = np.maximum(np.abs(v) - dome, np.maximum(-at, at - HEAD_LENGTH))
    taper = np.clip((item.length - at) / TIP, 0.0, 1.0) ** 0.7
    thread = 1.0 + 0.07 * np.sin(2 * np.pi * (u / PITCH + 0.22 * v / SHANK))
    shank = np.maximum(
        np.abs(v) - SHANK * taper * thread, np.maximum(HEAD_LENGTH * 0.9 - at, at - item.length)
    )
    if item.headless:
        jag = 0.012 * np.sin(90.0 * v) + 0.03
        head, shank = np.full_like(head, 1.0), np.maximum(shank, HEAD_LENGTH + jag - at)
    return head, shank


def _screw_shape(item: Item, u: Array, v: Array) -> Array:
    head, shank = _screw_parts(item, u, v)
    return np.minimum(head, shank)


def _nut_shape(item: Item, u: Array, v: Array) -> Array:
    return np.maximum(hexagon(u, v, NUT), NUT_HOLE - np.hypot(u, v))


def _washer_shape(item: Item, u: Array, v: Array) -> Array:
    r = np.hypot(u, v)
    return np.maximum(r - WASHER, WASHER_HOLE - r)


_SHAPES = {"screw": _screw_shape, "nut": _nut_shape, "washer": _washer_shape}


def draw(canvas: Canvas, item: Item, light: Light, part: int) -> int:
    """Paint shadow and part; returns the owner number of the part."""
    _shadow(canvas, item, light)
    a, b = item.ends()
    at = canvas.capsule(a, b, item.radius())
    u, v = item.pose.local(at.x, at.y)
    owner = canvas.new_owner()
    cover = at.cover(item.distance(at.x, at.y))
    canvas.paint(at, cover, _SHADE[item.kind](item, u, v, light), part, owner)
    return owner


def _shadow(canvas: Canvas, item: Item, light: Light) -> None:
    thick = {"screw": HEAD * 0.8, "nut": 0.045, "washer": 0.014}[item.kind]
    a, b = item.ends()
    at = canvas.capsule(a, b, item.radius() + 0.05, 1)
    for share, soft, dark in ((0.35, 0.012, 0.45), (0.8, 0.03, 0.35)):
        ox, oy = light.cast(thick * share)
        canvas.shadow(at, item.distance(at.x - ox, at.y - oy), soft, dark)


def _shade_screw(item: Item, u: Array, v: Array, light: Light) -> Array:
    head, shank = _screw_parts(item, u, v)
    phase = 2 * np.pi * (u / PITCH + 0.22 * v / SHANK)
    across = np.clip(v / SHANK, -0.96, 0.96)
    at = (u + item.length / 2) / HEAD_LENGTH
    in_head = head < shank
    n_v = np.where(in_head, np.clip(v / HEAD, -0.96, 0.96), across)
    n_u = np.where(in_head, -0.9 * (1.0 - np.clip(at, 0, 1)) ** 1.2, 0.62 * np.cos(phase))
    n_z = np.sqrt(1.0 - n_v**2) + 0.05
    nx, ny = item.pose.turn(n_u, n_v)
    rgb = metal(normalise(nx, ny, n_z), np.array(item.tint), light, item.rough)
    groove = np.where(in_head, 1.0, 0.66 + 0.34 * smoothstep(-0.9, 0.4, np.sin(phase + 1.2)))
    under_head = 1.0 - 0.5 * smoothstep(0.035, 0.0, u + item.length / 2 - HEAD_LENGTH) * ~in_head
    return rgb * (groove * under_head)[..., None]


def _shade_nut(item: Item, u: Array, v: Array, light: Light) -> Array:
    r = np.hypot(u, v)
    d, gu, gv = gradient(lambda x, y: hexagon(x, y, NUT), u, v)
    side = bevel(d, gu, gv, 0.011, 1.1)
    chamfer = 1.3 * smoothstep(NUT * 0.93, NUT * 1.12, r)
    inner = 1.6 * smoothstep(NUT_HOLE + 0.011, NUT_HOLE, r)
    radial_u, radial_v = u / (r + 1e-9), v / (r + 1e-9)
    nx, ny = item.pose.turn(
        side[0] / side[2] + radial_u * (chamfer - inner), side[1] / side[2] + radial_v * (chamfer - inner)
    )
    rgb = metal(normalise(nx, ny, np.ones_like(r)), np.array(item.tint), light, item.rough)
    return rgb * (1.0 - 0.55 * smoothstep(NUT_HOLE + 0.006, NUT_HOLE - 0.002, r))[..., None]


def _shade_washer(item: Item, u: Array, v: Array, light: Light) -> Array:
    r = np.hypot(u, v)
    rim = smoothstep(WASHER - 0.010, WASHER, r) - smoothstep(WASHER_HOLE + 0.008, WASHER_HOLE, r)
    brushed = 0.13 * np.sin(2 * np.arctan2(v, u) + item.twist)
    nx, ny = item.pose.turn(u / (r + 1e-9) * (rim + brushed), v / (r + 1e-9) * (rim + brushed))
    nx, ny = nx + 0.13 * np.cos(3 * item.twist), ny + 0.13 * np.sin(3 * item.twist)
    rgb = metal(normalise(nx, ny, np.ones_like(r)), np.array(item.tint), light, item.rough)
    return rgb * (0.80 + 0.04 * np.sin(r * 900.0 + item.twist))[..., None]


_SHADE = {"screw": _shade_screw, "nut": _shade_nut, "washer": _shade_washer}


def samples(canvas: Canvas, item: Item, margin: float = 0.0) -> Samples:
    """Single samples of the pixels around an item."""
    a, b = item.ends()
    return canvas.capsule(a, b, item.radius() + margin, 1)
