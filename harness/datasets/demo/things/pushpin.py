"""A pushpin with a plastic head and a steel needle, lying on its side."""

from dataclasses import dataclass

import numpy as np

from harness.datasets.demo.paint.material import Light, metal, normalise, plastic
from harness.datasets.demo.paint.raster import Array, Canvas, Pose, polyline, smoothstep

HEAD, NEEDLE, NEEDLE_R = 0.098, 0.074, 0.0046
_PROFILE_U = np.array([0.0, 0.004, 0.014, 0.019, 0.026, 0.045, 0.066, 0.074, 0.079, 0.090, 0.098])
_PROFILE_R = np.array([0.030, 0.036, 0.037, 0.033, 0.0235, 0.0205, 0.023, 0.031, 0.0355, 0.0355, 0.028])
AREA = 2 * float(np.trapezoid(_PROFILE_R, _PROFILE_U)) + 2 * NEEDLE_R * NEEDLE  # at scale 1


@dataclass(frozen=True)
class Pin:
    """`pose` is its middle, the needle points along +u."""

    pose: Pose
    rgb: tuple[float, float, float]
    bend: float = 0.0  # angle by which the needle is bent
    head_from: float = 0.0  # the head is broken off before this u
    cell: tuple[int, int] = (0, 0)  # (row, column) of the compartment it lies in

    def head(self, x: Array, y: Array) -> Array:
        """Signed distance to the head."""
        u, v = self.pose.local(x, y)
        at = u + (HEAD + NEEDLE) / 2
        jag = self.head_from + (0.006 * np.sin(v * 260.0) if self.head_from else 0.0)
        radius = np.interp(at, _PROFILE_U, _PROFILE_R)
        return np.maximum(np.abs(v) - radius, np.maximum(jag - at, at - HEAD)) * self.pose.scale

    def needle(self, x: Array, y: Array) -> Array:
        """Signed distance to the needle: a straight root, then a stretch turned by `bend`."""
        u, v = self.pose.local(x, y)
        start, long = (HEAD - NEEDLE) / 2 - 0.004, 0.65 * NEEDLE
        knee = (HEAD - NEEDLE) / 2 + 0.35 * NEEDLE
        tip = (knee + long * np.cos(self.bend), long * np.sin(self.bend))
        taper = np.clip(np.hypot(u - tip[0], v - tip[1]) / (0.25 * NEEDLE), 0.15, 1.0)
        return (polyline(u, v, [(start, 0.0), (knee, 0.0), tip]) - NEEDLE_R * taper) * self.pose.scale

    def distance(self, x: Array, y: Array) -> Array:
        """Signed distance to the whole pin."""
        return np.minimum(self.head(x, y), self.needle(x, y))


def draw_pin(canvas: Canvas, pin: Pin, light: Light, parts: tuple[int, int]) -> None:
    """Shadow, needle and head; `parts` are the classes of head and needle."""
    a, b = pin.pose.world(-0.1, 0.0), pin.pose.world(0.1, 0.0)
    wide = canvas.capsule(a, b, 0.10, 1)
    for share, soft, dark in ((0.012, 0.010, 0.42), (0.030, 0.024, 0.30)):
        ox, oy = light.cast(share)
        canvas.shadow(wide, pin.distance(wide.x - ox, wide.y - oy), soft, dark)
    at = canvas.capsule(a, b, 0.05 + (0.07 if pin.bend else 0.0))
    owner = canvas.new_owner()
    u, v = pin.pose.local(at.x, at.y)
    n_v = np.clip(v / NEEDLE_R, -0.95, 0.95) if not pin.bend else np.zeros_like(v)
    nx, ny = pin.pose.turn(np.zeros_like(n_v), n_v)
    steel = metal(normalise(nx, ny, np.sqrt(1.0 - n_v**2) + 0.05), np.array([0.85, 0.85, 0.88]), light, 0.5)
    canvas.paint(at, at.cover(pin.needle(at.x, at.y)), steel, parts[1], owner)
    canvas.paint(at, at.cover(pin.head(at.x, at.y)), _shade_head(pin, u, v, light), parts[0], owner)


def _shade_head(pin: Pin, u: Array, v: Array, light: Light) -> Array:
    at = u + (HEAD + NEEDLE) / 2
    radius = np.interp(at, _PROFILE_U, _PROFILE_R)
    slope = (
        np.interp(at + 0.002, _PROFILE_U, _PROFILE_R) - np.interp(at - 0.002, _PROFILE_U, _PROFILE_R)
    ) / 0.004
    n_v = np.clip(v / radius, -0.97, 0.97)
    nx, ny = pin.pose.turn(-np.clip(slope, -1.6, 1.6), n_v)
    n = normalise(nx, ny, np.sqrt(1.0 - n_v**2) + 0.03)
    rgb = plastic(n, np.array(pin.rgb), light, 0.5, 35.0)
    hollow = 1.0 - 0.28 * smoothstep(0.030, 0.022, radius)
    torn = 1.0 - 0.85 * smoothstep(0.016, 0.004, at - pin.head_from) * (pin.head_from > 0)
    return rgb * (hollow * torn)[..., None]
