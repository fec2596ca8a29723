"""The glass bottle of `juice_bottle`: its profile, the juice inside, and the light on both."""

from dataclasses import dataclass

import numpy as np

from harness.datasets.demo.catalog import Mask
from harness.datasets.demo.paint import textures
from harness.datasets.demo.paint.raster import Array, Canvas, Pose, Samples, smoothstep

HEIGHT, BODY, NECK, WALL = 1.46, 0.29, 0.112, 0.022
THREADS = (0.035, 0.145)
FLOOR = HEIGHT - 0.055  # lower end of the juice


@dataclass(frozen=True)
class Bottle:
    """Where the bottle stands (pose of the middle of its mouth) and how high the juice is (in its frame)."""

    pose: Pose
    level: float

    def distance(self, x: Array, y: Array) -> Array:
        """Signed distance to the silhouette."""
        u, v = self.pose.local(x, y)
        slope = (half_width(v + 1e-3) - half_width(v)) / 1e-3
        side = (np.abs(u) - half_width(v)) / np.sqrt(1.0 + np.minimum(slope**2, 4.0))
        return np.maximum(side, np.maximum(-v, v - HEIGHT)) * self.pose.scale

    def juice(self, x: Array, y: Array, level: float | None = None, floor: float = FLOOR) -> Array:
        """Signed distance to the juice, were it filled up to `level`."""
        u, v = self.pose.local(x, y)
        wall = np.abs(u) - half_width(v) + WALL
        corner = _corner(v, floor, 0.05)
        top = self.level if level is None else level
        return np.maximum(np.maximum(wall + corner, v - floor), top - v) * self.pose.scale


def _corner(v: Array, bottom: float, radius: float) -> Array:
    t = np.clip((v - bottom + radius) / radius, 0.0, 1.0)
    return radius * (1.0 - np.sqrt(np.maximum(1.0 - t * t, 0.0)))


def half_width(v: Array) -> Array:
    """Half the width of the bottle at height `v` below the mouth."""
    rise = np.clip((v - 0.335) / 0.275, 0.0, 1.0) ** 0.76
    w = NECK + (BODY - NECK) * 0.5 * (1.0 - np.cos(np.pi * rise))
    w = w + 0.014 * smoothstep(0.034, 0.022, v)
    inside = smoothstep(THREADS[0], THREADS[0] + 0.01, v) * smoothstep(THREADS[1], THREADS[1] - 0.01, v)
    w = w + 0.007 * inside * np.sin(2 * np.pi * (v - THREADS[0]) / 0.037) ** 2
    w = w + 0.030 * smoothstep(0.152, 0.160, v) * smoothstep(0.192, 0.184, v)
    return w - _corner(v, HEIGHT, 0.045)


def draw(
    canvas: Canvas, bottle: Bottle, rng: np.random.Generator, rgb: Array, parts: tuple[int, int]
) -> None:
    """Paint glass and juice; `parts` are the class numbers of glass and juice."""
    s = bottle.pose.scale
    x, y = bottle.pose.x, bottle.pose.y
    at = canvas.box(x - 0.34 * s, y - 0.01, x + 0.34 * s, y + (HEIGHT + 0.02) * s, 1)
    d = bottle.distance(at.x, at.y)
    u, v = bottle.pose.local(at.x, at.y)
    t = u / half_width(v)
    canvas.paint(at, at.cover(d) * 0.93, np.array([0.010, 0.012, 0.014]), parts[0])
    canvas.parts[at.rows[d[:, 0] < 0], at.cols[d[:, 0] < 0]] = parts[0]
    _pour(canvas, bottle, rng, at, rgb, parts[1])
    glow = rgb * 0.35 * smoothstep(bottle.level - 0.02, bottle.level + 0.1, v)[..., None]
    vary = 0.75 + 0.30 * textures.field(rng, canvas, (0.5, 0.18), 2)[at.rows, at.cols][:, None]
    side = np.clip(vary * (1.0 + rng.uniform(-0.5, 0.5) * np.clip(t, -1, 1)), 0.12, 1.6)
    canvas.add(
        at, (_edges(d, v) * side * at.cover(d))[..., None] * (np.array([0.9, 0.95, 1.0]) * 0.75 + glow)
    )
    canvas.add(at, _reflections(rng, canvas, at, t, v, d) * at.cover(d))


def _pour(
    canvas: Canvas, bottle: Bottle, rng: np.random.Generator, at: Samples, rgb: Array, part: int
) -> None:
    if bottle.level >= FLOOR:
        return
    d = bottle.juice(at.x, at.y)
    u, v = bottle.pose.local(at.x, at.y)
    t = u / half_width(v)
    pulp = textures.field(rng, canvas, 0.06, 3)[at.rows, at.cols][:, None]
    depth = np.sqrt(np.maximum(1.0 - t * t, 0.0))
    light = 0.26 + 0.66 * depth**0.9 + 0.42 * smoothstep(0.72, 0.34, v) - 0.16 * smoothstep(0.8, 1.4, v)
    light = light * (1.0 + 0.02 * pulp) * (1.0 - 0.14 * t) + 0.10 * np.exp(
        -(((np.abs(t) - 0.86) / 0.05) ** 2)
    )
    settle = (0.5 + 0.5 * smoothstep(0.6, FLOOR, v) - 0.8 * (1 - depth))[..., None] * np.array(
        [0.0, 0.07, 0.10]
    )
    canvas.paint(at, at.cover(d), light[..., None] * rgb * (1.0 - settle), part)
    _surface(canvas, bottle, rng, at, rgb)


def _surface(canvas: Canvas, bottle: Bottle, rng: np.random.Generator, at: Samples, rgb: Array) -> None:
    """The bright ring of the surface and, in some bottles, foam."""
    at = at.near(bottle.pose.world(0.0, bottle.level), 0.5)
    u, v = bottle.pose.local(at.x, at.y)
    half = half_width(np.array(bottle.level)) - WALL
    curve = 0.012 * np.sqrt(np.maximum(1.0 - (u / half) ** 2, 0.0))
    inside = smoothstep(half, half - 0.008, np.abs(u))
    ring = np.exp(-(((v - bottle.level - curve) / 0.006) ** 2)) * inside
    canvas.add(at, ring[..., None] * (0.45 * rgb + 0.05))
    foam = rng.uniform(0.0, 0.10) if rng.random() < 0.4 else 0.0
    bubbles = textures.field(rng, canvas, 0.014, 2)[at.rows, at.cols][:, None]
    froth = (
        smoothstep(0.3, 1.4, bubbles)
        * smoothstep(foam + 1e-3, 0.0, v - bottle.level)
        * (v > bottle.level - 0.012)
    )
    canvas.add(at, (froth * inside * min(1.0, foam / 0.01))[..., None] * (0.35 * rgb + 0.10))


def _edges(d: Array, v: Array) -> Array:
    """Light caught in the rim of the glass; the thick floor catches more."""
    inner = np.exp(-(((d + 0.004) / 0.004) ** 2)) * 0.34 + np.exp(-(((d + 0.020) / 0.005) ** 2)) * 0.13
    lip = 0.30 * np.exp(-(((v - 0.010) / 0.006) ** 2)) + 0.16 * np.exp(-(((v - 0.030) / 0.006) ** 2))
    floor = 0.22 * np.exp(-(((v - HEIGHT + 0.012) / 0.006) ** 2)) + 0.10 * np.exp(
        -(((v - FLOOR - 0.01) / 0.007) ** 2)
    )
    return inner + lip + floor


def _reflections(
    rng: np.random.Generator, canvas: Canvas, at: Samples, t: Array, v: Array, d: Array
) -> Array:
    """Two soft boxes mirrored as long streaks, broken up at neck, collar and threads."""
    wavy = 0.02 * textures.field(rng, canvas, (0.5, 0.12), 1)[at.rows, at.cols][:, None]
    side = rng.choice([-1.0, 1.0])
    a, b = rng.uniform(0.70, 0.82), rng.uniform(0.78, 0.88)
    left = np.exp(-(((t - side * (a + wavy)) / 0.075) ** 2)) * 0.30
    right = np.exp(-(((t + side * (b + wavy)) / 0.035) ** 2)) * 0.22
    fade = smoothstep(0.42, 0.62, v) * smoothstep(1.42, 1.25, v) + 0.8 * smoothstep(0.36, 0.3, v)
    shoulder = 0.20 * np.exp(-(((v - 0.52 - 0.22 * t**2) / 0.018) ** 2)) * smoothstep(0.95, 0.4, np.abs(t))
    ridges = np.sin(2 * np.pi * ((v - THREADS[0]) / 0.037 + 0.12 * t))
    zone = smoothstep(THREADS[0], THREADS[0] + 0.012, v) * smoothstep(THREADS[1], THREADS[1] - 0.012, v)
    thread = zone * np.maximum(ridges, 0.0) ** 3 * (0.14 + 0.16 * smoothstep(0.3, 0.8, np.abs(t)))
    collar = 0.20 * np.exp(-(((v - 0.165) / 0.006) ** 2)) + 0.10 * np.exp(-(((v - 0.183) / 0.004) ** 2))
    return (left + right) * fade + shoulder + thread + collar


def wet(canvas: Canvas, bottle: Bottle, rng: np.random.Generator, number: int) -> None:
    """Drops of water on the outside: a dark rim, a bright spot where the light enters and where it leaves."""
    for _ in range(number):
        radius, v = rng.uniform(0.006, 0.017), rng.uniform(0.45, 1.38)
        x, y = bottle.pose.world(rng.uniform(-0.9, 0.9) * float(half_width(np.array(v))), v)
        at = canvas.disc(x, y, radius * 1.6)
        u, w = (at.x - x) / radius, (at.y - y) / radius / rng.uniform(1.0, 1.5)
        r = np.hypot(u, w)
        canvas.multiply(at, 1.0 - 0.38 * smoothstep(1.05, 0.85, r) * (0.4 + 0.6 * smoothstep(0.8, -0.8, w)))
        glint = 0.5 * np.exp(-((u + 0.35) ** 2 + (w + 0.4) ** 2) / 0.04)
        canvas.add(at, glint + 0.16 * np.exp(-((u - 0.1) ** 2 + (w - 0.55) ** 2) / 0.12))


def glare(canvas: Canvas, bottle: Bottle, rng: np.random.Generator) -> None:
    """A window mirrored in glass and labels: a broad soft patch, at another place in every picture."""
    v, far, wide = rng.uniform(0.5, 1.3), rng.uniform(0.12, 0.35), rng.uniform(0.03, 0.09)
    x, y = bottle.pose.world(rng.uniform(-0.2, 0.2), v)
    at = canvas.box(x - 2 * wide, y - far, x + 2 * wide, y + far, 1)
    shape = smoothstep(1.0, 0.4, np.abs(at.x - x) / wide) * smoothstep(1.0, 0.6, np.abs(at.y - y) / far)
    canvas.add(at, rng.uniform(0.0, 0.13) * shape * at.cover(bottle.distance(at.x, at.y)))


def mask(canvas: Canvas, bottle: Bottle, top: float, bottom: float) -> Mask:
    """The inside of the bottle between two heights (in its frame)."""
    x, y = np.broadcast_arrays(*canvas.grid())
    _, v = bottle.pose.local(x, y)
    return (bottle.juice(x, y, top) < 0) & (v < bottom)
