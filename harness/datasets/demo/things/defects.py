"""Structural defects that may happen to any surface: scratch, crack, contamination, stain, hair.

Each function paints on the canvas and returns the mask (h, w) of what it changed.
"""

from collections.abc import Sequence

import numpy as np

from harness.datasets.demo.catalog import Mask
from harness.datasets.demo.paint.material import Light, dome, plastic, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, polyline, smoothstep
from harness.datasets.demo.paint.textures import Noise

Point = tuple[float, float]


def wander(
    rng: np.random.Generator, start: Point, angle: float, length: float, bend: float, jag: float = 0.0
) -> list[Point]:
    """A random line of 12 pieces that leaves `start` at `angle`, bends as it goes, and zigzags by `jag`."""
    points, step = [start], length / 12
    curve = rng.normal(0.0, bend)
    for _ in range(12):
        angle += curve / 12 + rng.normal(0.0, bend / 6)
        turn = angle + jag * rng.normal()
        x, y = points[-1]
        points.append((x + step * np.cos(turn), y + step * np.sin(turn)))
    return points


def _around(points: Sequence[Point], margin: float) -> tuple[float, float, float, float]:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin


def line(canvas: Canvas, points: Sequence[Point], width: float, rgb: Array, opacity: float = 1.0) -> Mask:
    """Paint a line that thins out towards its end."""
    at = canvas.box(*_around(points, width * 2))
    end = np.hypot(at.x - points[-1][0], at.y - points[-1][1])
    total = np.hypot(points[0][0] - points[-1][0], points[0][1] - points[-1][1])
    thin = 0.4 + 0.6 * smoothstep(0.0, 0.5 * total + 1e-6, end)
    distance = polyline(at.x, at.y, points)
    alpha = canvas.paint(at, at.cover(distance - width / 2 * thin) * opacity, rgb)
    # a pixel more on each side, as an annotator would draw it
    return canvas.mask(at, (alpha > 0.15) | (distance.min(axis=1) < max(width, 1.2 * canvas.px)))


def scratch(
    canvas: Canvas,
    rng: np.random.Generator,
    centre: Point,
    length: float,
    rgb: Array,
    angle: float | None = None,
) -> Mask:
    """A few parallel bright scores."""
    angle = rng.uniform(0, np.pi) if angle is None else angle
    mask = np.zeros((canvas.h, canvas.w), bool)
    for i in range(int(rng.integers(2, 4))):
        off = (i - 1) * rng.uniform(0.008, 0.014)
        x = centre[0] - 0.5 * length * np.cos(angle) - off * np.sin(angle)
        y = centre[1] - 0.5 * length * np.sin(angle) + off * np.cos(angle)
        points = wander(rng, (x, y), angle, length * rng.uniform(0.6, 1.0), 0.12)
        mask |= line(canvas, points, rng.uniform(0.0065, 0.010), rgb, 0.9)
    return mask


def crack(
    canvas: Canvas,
    rng: np.random.Generator,
    start: Point,
    angle: float,
    length: float,
    dark: Array,
    bright: Array,
) -> Mask:
    """A jagged, branching crack: a dark line with a bright edge."""
    mask = np.zeros((canvas.h, canvas.w), bool)
    trunk = wander(rng, start, angle, length, 0.5, 0.55)
    branches = [trunk]
    for k in (3, 6, 8):
        turn = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.0)
        branches.append(wander(rng, trunk[k], angle + turn, length * rng.uniform(0.3, 0.55), 0.5, 0.6))
    for points in branches:
        shifted = [(x + 0.004, y + 0.003) for x, y in points]
        mask |= line(canvas, shifted, 0.006, bright, 0.8)
        mask |= line(canvas, points, 0.0075, dark, 0.95)
    return mask


def blob(
    canvas: Canvas, rng: np.random.Generator, centre: Point, radius: float, rgb: Array, light: Light
) -> Mask:
    """A lump of dirt with a ragged outline, a shine and a shadow."""
    ragged, stretch = Noise(rng, radius * 0.9, 3), rng.uniform(0.7, 1.0)
    seed = rng.uniform(5.0, 40.0)

    def distance(x: Array, y: Array) -> Array:
        u, v = x - centre[0], y - centre[1]
        return np.hypot(u, v / stretch) - radius * (0.85 + 0.38 * ragged(u + seed, v + seed))

    shade = canvas.disc(*centre, radius * 2.0, 1)
    ox, oy = light.cast(radius * 0.4)
    canvas.shadow(shade, distance(shade.x - ox, shade.y - oy), radius * 0.3, 0.5)
    at = canvas.disc(*centre, radius * 1.8)
    u, v = (at.x - centre[0]) / radius * 0.7, (at.y - centre[1]) / radius * 0.7
    grain = ragged(at.x * 3 + seed, at.y * 3 + seed)
    n = dome(u + 0.25 * grain, v - 0.25 * grain, 1.2)
    colour = plastic(n, rgb * (1.0 + 0.35 * grain)[..., None].clip(0.2), light, 0.12, 20.0)
    return canvas.mask(at, canvas.paint(at, at.cover(distance(at.x, at.y)), colour) > 0.25)


def hair(canvas: Canvas, rng: np.random.Generator, centre: Point, length: float, rgb: Array) -> Mask:
    """A curled fibre."""
    points = wander(rng, centre, rng.uniform(0, 2 * np.pi), length, 2.2)
    line(canvas, [(x + 0.006, y + 0.008) for x, y in points], 0.008, np.zeros(3), 0.25)
    return line(canvas, points, 0.0075, rgb)


DIRT = ("#3a2a1c", "#2c3a22", "#54341e", "#203048", "#6a1c1c")  # on light and grey grounds
PALE = ("#e8e2d0", "#c9b27c", "#b8d0e0", "#d98c5f")  # on dark grounds
STRANGE = ("#1f5fa8", "#17181a", "#2f8a3a", "#c9ced2", "#7a2a6a")  # among food


def contamination(
    canvas: Canvas,
    rng: np.random.Generator,
    centre: Point,
    radius: float,
    light: Light,
    colours: Sequence[str] = DIRT,
) -> Mask:
    """Dirt, crumbs or a fibre at a place, in one of the colours."""
    rgb = srgb(colours[int(rng.integers(len(colours)))])
    if rng.random() < 0.2:
        return hair(canvas, rng, centre, radius * 6, rgb)
    mask = blob(canvas, rng, centre, radius, rgb, light)
    for _ in range(int(rng.integers(0, 4))):
        angle, far = rng.uniform(0, 2 * np.pi), radius * rng.uniform(1.4, 2.4)
        at = (centre[0] + far * np.cos(angle), centre[1] + far * np.sin(angle))
        mask |= blob(canvas, rng, at, radius * rng.uniform(0.2, 0.4), rgb, light)
    return mask
