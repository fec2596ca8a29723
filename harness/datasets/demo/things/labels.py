"""Paper labels of `juice_bottle`: shape, paper, print, masks."""

from dataclasses import dataclass

import numpy as np

from harness.datasets.demo.catalog import Mask
from harness.datasets.demo.paint import lettering
from harness.datasets.demo.paint.material import srgb
from harness.datasets.demo.paint.raster import Array, Canvas, Pose, polygon, rectangle, smoothstep
from harness.datasets.demo.things import fruit, glass
from harness.datasets.demo.things.glass import Bottle

TEXT = "PURE JUICE"


@dataclass(frozen=True)
class Label:
    """A paper label: pose, half size, and a torn-off piece (polygon in its frame)."""

    pose: Pose
    half: tuple[float, float]
    torn: tuple[tuple[float, float], ...] = ()

    def distance(self, x: Array, y: Array) -> Array:
        u, v = self.pose.local(x, y)
        d = rectangle(u, v, *self.half, 0.006)
        return np.maximum(d, -polygon(u, v, self.torn)) if self.torn else d


def sign(rng: np.random.Generator) -> float:
    return float(rng.choice([-1.0, 1.0]))


def rip(rng: np.random.Generator, half: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """A torn-off corner with a ragged edge."""
    sx, sy = sign(rng), sign(rng)
    a, b = rng.uniform(0.16, 0.28), rng.uniform(0.14, 0.24)
    edge = [
        (half[0] - a * (1 - t) + rng.normal(0, 0.010), half[1] - b * t + rng.normal(0, 0.010))
        for t in np.linspace(0, 1, 9)
    ]
    points = [
        (half[0] - a, half[1] + 0.05),
        *edge,
        (half[0] + 0.05, half[1] - b),
        (half[0] + 0.05, half[1] + 0.05),
    ]
    return tuple((sx * u, sy * v) for u, v in points)


def draw_paper(canvas: Canvas, label: Label, fibres: Array, part: int, bottle: Bottle) -> None:
    """A label with gradient, fibres, a printed frame and a soft shadow on the glass."""
    x, y, s = label.pose.x, label.pose.y, label.pose.scale
    reach = float(np.hypot(*label.half)) * s + 0.02
    at = canvas.box(x - reach, y - reach, x + reach, y + reach, 1)
    canvas.shadow(at, label.distance(at.x - 0.004, at.y - 0.006), 0.012, 0.4)
    u, v = label.pose.local(at.x, at.y)
    warm = (0.5 + 0.5 * v / label.half[1])[..., None]
    base = srgb("#fbeab0") * (1 - warm) + srgb("#efc465") * warm
    fibre = fibres[at.rows, at.cols][:, None]
    inner = np.abs(rectangle(u, v, label.half[0] - 0.022, label.half[1] - 0.020, 0.02))
    frame = smoothstep(0.0065, 0.0035, inner)[..., None]
    paper = base * (1.0 - 0.75 * frame) + 0.75 * frame * srgb("#5b3a1a")
    d = label.distance(at.x, at.y)
    fray = smoothstep(-0.012, 0.0, d)[..., None] if label.torn else 0.0
    paper = paper * (1 - fray) + fray * srgb("#f4efe4")
    across, _ = bottle.pose.local(at.x, at.y)
    round_light = 0.97 - 0.30 * (across / glass.BODY) ** 2 - 0.10 * across / glass.BODY
    canvas.paint(at, at.cover(d), paper * (round_light * (1.0 + 0.025 * fibre))[..., None], part)


def print_text(canvas: Canvas, label: Label, text: str) -> None:
    x, y, s = label.pose.x, label.pose.y, label.pose.scale
    at = canvas.box(
        x - label.half[0] * s, y - label.half[0] * s * 0.6, x + label.half[0] * s, y + label.half[0] * s * 0.6
    )
    u, v = label.pose.local(at.x, at.y)
    height = 0.040
    near = np.abs(v) < height
    d = np.where(near, lettering.strokes(u, np.clip(v, -height, height), text, height), 1.0)
    canvas.paint(at, at.cover(d - 0.0042), srgb("#3a2413") * 0.9)


def label_mask(canvas: Canvas, *labels: Label | None) -> Mask:
    x, y = np.broadcast_arrays(*canvas.grid())
    return np.logical_or.reduce([label.distance(x, y) < 0 for label in labels if label])


def icon_mask(canvas: Canvas, kind: str, pose: Pose, margin: float = 0.004) -> Mask:
    x, y = np.broadcast_arrays(*canvas.grid())
    return fruit.distance(kind, pose, x, y) < margin


def text_gap(canvas: Canvas, label: Label, text: str) -> Mask:
    """Where letters should be and are not."""
    x, y = np.broadcast_arrays(*canvas.grid())
    u, v = label.pose.local(x, y)
    left = -lettering.width(TEXT, 0.040) / 2
    cell = np.floor((u - left) / (lettering.ADVANCE * 0.040) + 0.15).astype(int)
    gone = np.array([a != b for a, b in zip(TEXT, text, strict=True)])
    return (np.abs(v) < 0.026) & (cell >= 0) & (cell < len(TEXT)) & gone[np.clip(cell, 0, len(TEXT) - 1)]
