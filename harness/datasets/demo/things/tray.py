"""The two-compartment box of `breakfast_box`."""

from dataclasses import dataclass

import numpy as np

from harness.datasets.demo.paint import textures
from harness.datasets.demo.paint.material import Light, bevel, plastic, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, Pose, gradient, rectangle, smoothstep

HALF = (0.565, 0.435)


DIVIDER, BAR = 0.045, 0.022  # u of the wall between the compartments, half its width


@dataclass(frozen=True)
class Box:
    """The box; `flip` mirrors it so that the fruit lies right."""

    pose: Pose
    flip: bool = False

    def local(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Coordinates in the frame of the box, the fruit at negative u."""
        u, v = self.pose.local(x, y)
        return (-u if self.flip else u), v

    def world(self, u: float, v: float) -> tuple[float, float]:
        """Image coordinates of a point of the box."""
        return self.pose.world(-u if self.flip else u, v)

    def outer(self, x: Array, y: Array) -> Array:
        """Signed distance to the outline of the box."""
        u, v = self.local(x, y)
        return rectangle(u, v, *HALF, 0.07)

    def fruit_side(self, x: Array, y: Array) -> Array:
        """Signed distance to the floor of the compartment for fruit."""
        return self._floor(x, y, -HALF[0] + 0.03, DIVIDER - BAR)

    def dry_side(self, x: Array, y: Array) -> Array:
        """Signed distance to the floor of the compartment for cereals and toppings."""
        return self._floor(x, y, DIVIDER + BAR, HALF[0] - 0.03)

    def _floor(self, x: Array, y: Array, u0: float, u1: float) -> Array:
        u, v = self.local(x, y)
        return rectangle(u - (u0 + u1) / 2, v, (u1 - u0) / 2, HALF[1] - 0.03, 0.05)

    def wall(self, x: Array, y: Array) -> Array:
        """Signed distance to rim and divider, seen from above."""
        return np.maximum(self.outer(x, y), -np.minimum(self.fruit_side(x, y), self.dry_side(x, y)))


def draw_box(canvas: Canvas, box: Box, rng: np.random.Generator, light: Light, part: int) -> None:
    """Paint box and shadow, class number `part`."""
    at = canvas.box(0, 0, canvas.width, canvas.height, 1)
    for height, soft, dark in ((0.04, 0.03, 0.45), (0.10, 0.07, 0.3)):
        ox, oy = light.cast(height)
        canvas.shadow(at, box.outer(at.x - ox, at.y - oy), soft, dark)
    d = box.wall(at.x, at.y)
    white = srgb("#d9d8d2") * rng.normal(0.92, 0.03)
    haze = textures.field(rng, canvas, 0.25, 2).ravel()[:, None, None] * 0.02
    ox, oy = light.cast(0.05)
    shade = 0.35 * smoothstep(0.03, -0.03, box.wall(at.x - ox, at.y - oy)) + 0.30 * np.exp(
        -np.maximum(d, 0) / 0.035
    )
    floor = white * (0.90 - shade[..., None] + haze)
    canvas.paint(at, at.cover(box.outer(at.x, at.y)), floor)
    raised = d[:, 0] < canvas.px
    rim = canvas.points(at.rows[raised], at.cols[raised])
    d, gx, gy = gradient(box.wall, rim.x, rim.y)
    n = bevel(d, gx, gy, 0.022, 0.9)
    canvas.paint(rim, rim.cover(d), plastic(n, white, light, 0.25, 30.0))
    canvas.parts[canvas.mask(at, box.outer(at.x, at.y)[:, 0] < 0)] = part
