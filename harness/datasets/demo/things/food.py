"""Fruit, flakes, banana chips and almonds of `breakfast_box`."""

from collections.abc import Callable

import numpy as np

from harness.datasets.demo.paint.material import Light, dome, highlight, lambert, normalise, plastic, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, Pose, ellipse, smoothstep
from harness.datasets.demo.paint.textures import Noise

TANGERINE, NECTARINE = 0.128, 0.148
CHIP, ALMOND = 0.048, (0.052, 0.027)
Clip = Callable[[Array, Array], Array]


def draw_fruit(
    canvas: Canvas, rng: np.random.Generator, kind: str, pose: Pose, light: Light, part: int
) -> None:
    """A whole tangerine or nectarine, seen from above."""
    r = (TANGERINE if kind == "tangerine" else NECTARINE) * pose.scale
    lumps = Noise(rng, 0.9, 2)
    squash = rng.uniform(0.94, 1.0)

    def distance(x: Array, y: Array) -> Array:
        u, v = Pose(pose.x, pose.y, pose.angle).local(x, y)
        return np.hypot(u, v / squash) - r * (1.0 + 0.018 * lumps(u / r + 20.0, v / r + 20.0))

    wide = canvas.disc(pose.x, pose.y, r * 1.6, 1)
    for height, soft, dark in ((0.035, 0.03, 0.5), (0.10, 0.06, 0.35)):
        ox, oy = light.cast(height)
        canvas.shadow(wide, distance(wide.x - ox, wide.y - oy), soft, dark)
    at = canvas.disc(pose.x, pose.y, r * 1.05)
    u, v = Pose(pose.x, pose.y, pose.angle, r).local(at.x, at.y)
    shade = _tangerine if kind == "tangerine" else _nectarine
    canvas.paint(at, at.cover(distance(at.x, at.y)), shade(rng, u, v, pose, light), part, canvas.new_owner())


def _sphere(u: Array, v: Array, pose: Pose, bump_u: Array, bump_v: Array) -> tuple[Array, Array, Array]:
    z = np.sqrt(np.maximum(1.0 - u * u - v * v, 0.03))
    nx, ny = pose.turn(u + bump_u, v + bump_v)
    return normalise(nx, ny, z)


def _tangerine(rng: np.random.Generator, u: Array, v: Array, pose: Pose, light: Light) -> Array:
    pores, patches = Noise(rng, 0.055, 1), Noise(rng, 0.8, 2)
    e = 0.02
    p = pores(u + 9, v + 9)
    bump_u, bump_v = (pores(u + 9 + e, v + 9) - p) * 0.45, (pores(u + 9, v + 9 + e) - p) * 0.45
    n = _sphere(u, v, pose, bump_u, bump_v)
    hue = (0.5 + 0.35 * patches(u + 5, v + 5))[..., None].clip(0, 1)
    rgb = srgb("#e8781a") * hue + srgb("#d9610f") * (1 - hue)
    cu, cv = rng.uniform(-0.4, 0.4, 2)
    far = np.hypot(u - cu, v - cv)
    star = 1.0 + 0.08 * np.cos(np.arctan2(v - cv, u - cu) * 7.0) * smoothstep(0.4, 0.1, far)
    navel = smoothstep(0.10, 0.05, far)[..., None]
    shaded = plastic(n, rgb * star[..., None], light, 0.22, 18.0)
    green = (lambert(n, light) * (0.7 + 0.5 * p))[..., None] * srgb("#6d7a35")
    return shaded * (1 - navel) + navel * green


def _nectarine(rng: np.random.Generator, u: Array, v: Array, pose: Pose, light: Light) -> Array:
    blush, specks = Noise(rng, 0.9, 3), Noise(rng, 0.05, 1)
    n = _sphere(u, v, pose, np.zeros_like(u), np.zeros_like(v))
    side = rng.uniform(0, 2 * np.pi)
    red = smoothstep(
        -0.7, 0.45, 0.55 * (u * np.cos(side) + v * np.sin(side)) + 0.5 * blush(u + 7, v + 7) + 0.25
    )
    streak = 0.12 * specks(u * 0.6 + 3, v * 2 + 3) * (1 - red)
    red = np.clip(red + streak, 0, 1)[..., None]
    rgb = srgb("#7d1820") * red + srgb("#dc9a3c") * (1 - red)
    rgb = rgb * (1.0 + 0.35 * smoothstep(0.72, 0.95, specks(u + 31, v + 31)))[..., None]
    crease = smoothstep(0.06, 0.0, np.abs(v - 0.10 * u * u)) * smoothstep(-0.2, 0.9, u)
    pit = smoothstep(0.16, 0.04, np.hypot(u - 0.55, v - 0.03))
    return plastic(n, rgb, light, 0.40, 26.0) * (1.0 - 0.35 * crease - 0.5 * pit)[..., None]


GRAINS = ("#b98d52", "#a8773c", "#c9a063", "#8d5f2e", "#d4b27a", "#7a4a24")


class Granola:
    """Draws flakes of granola; all share one bump texture, looked up at different places."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator, light: Light, part: int) -> None:
        self.canvas, self.rng, self.light, self.part = canvas, rng, light, part
        self.bumps = Noise(rng, 0.009, 1)
        self.tones = [srgb(tone) for tone in GRAINS]

    def flake(self, x: float, y: float, clip: Clip | None, size: float = 1.0) -> None:
        """Draw one crumb at (x, y), within the signed distance `clip`."""
        rng, canvas = self.rng, self.canvas
        rx, ry = size * rng.uniform(0.017, 0.030), size * rng.uniform(0.011, 0.018)
        pose, lean, seed = Pose(x, y, rng.uniform(0, np.pi)), rng.normal(0, 0.35, 2), rng.uniform(1, 50)
        rgb = self.tones[int(rng.choice(6, p=(0.24, 0.22, 0.2, 0.12, 0.14, 0.08)))] * rng.uniform(0.8, 1.1)
        reach = rx * 1.25 + 0.008
        at = canvas.box(x - reach, y - reach, x + reach, y + reach, 1)
        ox, oy = self.light.cast(0.010)
        u, v = pose.local(at.x - ox, at.y - oy)
        limit = clip(at.x, at.y) if clip else None
        dark = 0.5 * smoothstep(0.006, -0.006, ellipse(u, v, rx, ry))
        canvas.multiply(at, 1.0 - (dark if limit is None else dark * smoothstep(0.0, -0.004, limit)))
        u, v = pose.local(at.x, at.y)
        rough = self.bumps(u + seed, v + seed)
        d = ellipse(u, v, rx, ry) + 0.003 * rough
        nx, ny = pose.turn(u * (0.8 / rx) + 0.4 * rough, v * (0.8 / ry) - 0.4 * rough)
        n = normalise(nx + lean[0], ny + lean[1], 1.0)
        shaded = plastic(n, rgb * (1 + 0.25 * rough)[..., None], self.light, 0.08, 16.0)
        canvas.paint(at, at.cover(d if limit is None else np.maximum(d, limit)), shaded, self.part)


def draw_chip(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, light: Light, part: int, clip: Clip
) -> None:
    """A dried slice of banana, tilted a little."""
    pose = Pose(x, y, rng.uniform(0, np.pi))
    rx = CHIP * rng.normal(1.0, 0.07)
    ry = rx * rng.uniform(0.72, 1.0)
    lean = rng.normal(0, 0.22, 2)
    wave, seed = Noise(rng, 0.03, 2), rng.uniform(1, 50)
    _drop_shadow(canvas, pose, rx, ry, light, 0.018, clip)
    at = canvas.disc(x, y, rx * 1.25, 1)
    u, v = pose.local(at.x, at.y)
    rough = wave(u + seed, v + seed)
    d = ellipse(u, v, rx, ry) + 0.005 * rough
    k = np.hypot(u / rx, v / ry)
    theta = np.arctan2(v / ry, u / rx)
    rim = smoothstep(0.72, 0.95, k)
    nx, ny = pose.turn(u / rx * (0.9 * rim - 0.25) + 0.18 * rough, v / ry * (0.9 * rim - 0.25))
    n = normalise(nx + lean[0], ny + lean[1], np.ones_like(u))
    rgb = srgb("#e3c576") * (1 - 0.35 * rim[..., None]) + 0.35 * rim[..., None] * srgb("#b98a3c")
    rays = smoothstep(0.55, 0.15, k) * (0.5 + 0.5 * np.cos(3 * theta)) + 0.6 * smoothstep(0.16, 0.05, k)
    rgb = rgb * (1 - 0.42 * np.clip(rays, 0, 1))[..., None] * (1 + 0.08 * rough)[..., None]
    canvas.paint(at, at.cover(np.maximum(d, clip(at.x, at.y))), plastic(n, rgb, light, 0.15, 20.0), part)


def draw_almond(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, light: Light, part: int, clip: Clip
) -> None:
    """A brown, finely ridged almond."""
    pose = Pose(x, y, rng.uniform(0, 2 * np.pi), rng.normal(1.0, 0.06))
    rx, ry = ALMOND
    ridges, seed = Noise(rng, 0.007, 2), rng.uniform(1, 20)
    rgb = srgb("#8a4f24") * rng.uniform(0.85, 1.15)
    _drop_shadow(canvas, pose, rx, ry, light, 0.022, clip)
    at = canvas.disc(x, y, rx * 1.2, 1)
    u, v = pose.local(at.x, at.y)
    wide = ry * (1.0 - 0.32 * u / rx)
    d = ellipse(u, v, rx, 1.0 * np.maximum(wide, 0.01)) * pose.scale
    groove = ridges(u * 0.18 + seed, v + seed)
    n0 = dome(np.clip(u / rx, -1, 1) * 0.9, np.clip(v / wide, -1, 1) * 0.9)
    nx, ny = pose.turn(n0[0], n0[1] + 0.22 * groove)
    n = normalise(nx, ny, n0[2])
    canvas.paint(
        at,
        at.cover(np.maximum(d, clip(at.x, at.y))),
        plastic(n, rgb * (1 + 0.30 * groove)[..., None], light, 0.10, 15.0),
        part,
    )


def _drop_shadow(
    canvas: Canvas, pose: Pose, rx: float, ry: float, light: Light, height: float, clip: Clip
) -> None:
    wide = canvas.disc(pose.x, pose.y, rx * 1.2 + 0.05, 1)
    ox, oy = light.cast(height)
    u, v = pose.local(wide.x - ox, wide.y - oy)
    inside = smoothstep(0.0, -0.004, clip(wide.x, wide.y))
    canvas.multiply(wide, 1.0 - 0.55 * inside * smoothstep(0.012, -0.010, ellipse(u, v, rx, ry)))


def draw_rot(canvas: Canvas, rng: np.random.Generator, pose: Pose, radius: float, light: Light) -> np.ndarray:
    """A bruise: a sunken brown patch with a paler rim; returns its mask."""
    ragged, seed = Noise(rng, radius * 0.9, 3), rng.uniform(5, 40)
    at = canvas.disc(pose.x, pose.y, radius * 1.7)
    u, v = at.x - pose.x, at.y - pose.y
    d = np.hypot(u, v) - radius * (0.9 + 0.3 * ragged(u + seed, v + seed))
    n = normalise(-u / radius * 0.6, -v / radius * 0.6, np.ones_like(u))
    core = smoothstep(0.0, -0.5 * radius, d)[..., None]
    rgb = (srgb("#8a5a2a") * (1 - core) + srgb("#2e1a10") * core) * lambert(n, light)[..., None]
    rgb = rgb + 0.06 * highlight(n, light, 20.0)[..., None]
    alpha = canvas.paint(at, smoothstep(0.004, -0.012, d) * 0.94, rgb)
    return canvas.mask(at, alpha > 0.3)
