"""Fruit as printed on labels: cherry, orange, banana, and some that no bottle should show."""

from collections.abc import Callable

import numpy as np

from harness.datasets.demo.paint.material import Light, dome, plastic, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, Pose, Samples, ellipse, polyline, smoothstep

RADIUS = 0.095  # every icon fits into this circle
_INK = srgb("#2a1a12")
_INK_WIDTH = 0.0035
Layer = tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]

_PRINT = Light(-0.45, -0.5, 0.74, (1.0, 1.0, 1.0), 0.45)


def _ball(x: float, y: float, r: float, colour: str) -> Layer:
    rgb = srgb(colour)

    def distance(u: Array, v: Array) -> Array:
        return np.hypot(u - x, v - y) - r

    def shade(u: Array, v: Array) -> Array:
        return plastic(dome((u - x) / r * 0.92, (v - y) / r * 0.92), rgb, _PRINT, 0.45, 30.0)

    return distance, shade


def _leaf(x: float, y: float, angle: float, length: float, colour: str = "#3f7d2a") -> Layer:
    pose, rgb = Pose(x, y, angle), srgb(colour)

    def distance(u: Array, v: Array) -> Array:
        a, b = pose.local(u, v)
        return ellipse(a - length / 2, b, length / 2, length * 0.24)

    def shade(u: Array, v: Array) -> Array:
        a, b = pose.local(u, v)
        vein = smoothstep(0.004, 0.001, np.abs(b))
        light = 0.75 + 0.5 * smoothstep(0.01, -0.01, b) - 0.25 * vein + 0.0 * a
        return light[..., None] * rgb

    return distance, shade


def _stem(points: list[tuple[float, float]], colour: str, width: float = 0.006) -> Layer:
    rgb = srgb(colour)
    return (
        lambda u, v: polyline(u, v, points) - width / 2,
        lambda u, v: np.ones_like(u)[..., None] * rgb,
    )


def _crescent(x: float, y: float, angle: float, colour: str) -> Layer:
    pose, rgb, r = Pose(x, y, angle), srgb(colour), 0.105

    def frame(u: Array, v: Array) -> tuple[Array, Array]:
        a, b = pose.local(u, v)
        theta = np.arctan2(a, b + r)  # 0 in the middle of the fruit
        return theta, np.hypot(a, b + r) - r

    def distance(u: Array, v: Array) -> Array:
        theta, off = frame(u, v)
        thick = 0.025 * np.sqrt(np.clip(1.0 - (theta / 0.92) ** 2, 0.0, 1.0)) + 0.0035
        return np.maximum(np.abs(off) - thick, (np.abs(theta) - 0.95) * r)

    def shade(u: Array, v: Array) -> Array:
        theta, off = frame(u, v)
        light = 1.05 - 0.45 * smoothstep(-0.005, 0.025, off)
        tips = smoothstep(0.72, 0.86, np.abs(theta))[..., None]
        return light[..., None] * (rgb * (1.0 - tips) + tips * srgb("#5a4318"))

    return distance, shade


def _layers(kind: str) -> list[Layer]:
    table: dict[str, list[Layer]] = {
        "cherry": [
            _stem([(-0.042, 0.005), (-0.022, -0.045), (0.018, -0.088)], "#4f6b22"),
            _stem([(0.045, 0.0), (0.038, -0.045), (0.018, -0.088)], "#4f6b22"),
            _leaf(0.016, -0.085, 0.35, 0.062),
            _ball(-0.042, 0.042, 0.044, "#b3122a"),
            _ball(0.046, 0.036, 0.044, "#c0182c"),
        ],
        "orange": [
            _ball(0.0, 0.012, 0.078, "#f08a12"),
            _stem([(0.0, -0.062), (0.006, -0.086)], "#5c4a20", 0.008),
            _leaf(0.004, -0.078, 0.15, 0.075),
        ],
        "banana": [
            _crescent(-0.012, 0.030, 0.62, "#e8c21a"),
            _crescent(0.004, 0.012, 0.30, "#f2d024"),
            _crescent(0.020, 0.000, 0.0, "#f7da3c"),
            _stem([(0.100, -0.030), (0.086, -0.016)], "#5a4318", 0.016),
        ],
        "grapes": [
            _stem([(0.0, -0.05), (0.01, -0.09)], "#5c4a20", 0.008),
            _leaf(0.0, -0.07, 2.8, 0.06),
            *(
                _ball((i - row / 2) * 0.040 - 0.0, 0.068 - row * 0.031, 0.024, "#5b2a7d")
                for row in range(4)
                for i in range(row + 1)
            ),
        ],
        "apple": [
            _ball(-0.018, 0.014, 0.066, "#7fb52a"),
            _ball(0.022, 0.014, 0.064, "#86bd2e"),
            _stem([(0.0, -0.045), (0.008, -0.085)], "#5c4a20", 0.009),
            _leaf(0.006, -0.07, -0.2, 0.06),
        ],
        "blueberry": [_ball(-0.035, 0.03, 0.05, "#2b3f8f"), _ball(0.045, 0.0, 0.05, "#33499c")],
    }
    return table[kind]


def _outline(layers: list[Layer], u: Array, v: Array) -> Array:
    return np.minimum.reduce([distance(u, v) for distance, _ in layers])


def distance(kind: str, pose: Pose, x: Array, y: Array) -> Array:
    """Signed distance to the outline of an icon."""
    u, v = pose.local(x, y)
    return _outline(_layers(kind), u, v) * pose.scale


def draw(
    canvas: Canvas,
    kind: str,
    pose: Pose,
    brightness: float,
    part: int | None,
    keep: Callable[[Array, Array], Array] | None = None,
) -> None:
    """Print an icon; `keep` is a signed distance in the icon's frame outside which nothing is printed."""
    at: Samples = canvas.disc(pose.x, pose.y, RADIUS * 1.35 * pose.scale)
    u, v = pose.local(at.x, at.y)
    limit = keep(u, v) if keep else np.full_like(u, -1.0)
    layers = _layers(kind)
    for shape, shade in layers:
        d = shape(u, v)
        canvas.paint(at, at.cover(np.maximum(d - _INK_WIDTH, limit)) * 0.8, _INK * brightness)
        canvas.paint(at, at.cover(np.maximum(d, limit)), shade(u, v) * brightness)
    if part is not None:
        inside = np.maximum(_outline(layers, u, v) - _INK_WIDTH, limit).mean(axis=1) < 0
        canvas.parts[at.rows[inside], at.cols[inside]] = part
