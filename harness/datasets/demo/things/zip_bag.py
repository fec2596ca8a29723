"""The zip bag of `screw_bag`: outline, film with wrinkles and creases, zip, tears."""

from dataclasses import dataclass

import numpy as np

from harness.datasets.demo.catalog import Mask
from harness.datasets.demo.paint import textures
from harness.datasets.demo.paint.material import Light, srgb
from harness.datasets.demo.paint.raster import Canvas, Pose, polygon, rectangle, smoothstep

BAG_X, BAG_Y, ZIP = 0.63, 0.45, 0.14  # half width, half height, depth of the zip strip


@dataclass(frozen=True)
class Bag:
    """A bag lying on the table; its sides bulge by up to `bulge`."""

    pose: Pose
    bulge: float

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance to the outline."""
        u, v = self.pose.local(x, y)
        sag = self.bulge * (1.0 - (v / BAG_Y) ** 2)
        return rectangle(u / (1.0 + sag / BAG_X), v, BAG_X, BAG_Y, 0.02)


def draw_bag(canvas: Canvas, bag: Bag, light: Light, part: int) -> Mask:
    """Shadow and veil of the bag, class number `part`; returns its inside (h, w)."""
    at = canvas.box(0, 0, canvas.width, canvas.height, 1)
    d = bag.distance(at.x, at.y)
    ox, oy = light.cast(0.02)
    canvas.shadow(at, bag.distance(at.x - ox, at.y - oy), 0.03, 0.22)
    inside = at.cover(d)
    canvas.multiply(at, 1.0 - 0.06 * inside)
    canvas.add(at, 0.018 * inside)
    full = canvas.mask(at, d[:, 0] < 0)
    canvas.parts[full] = part
    return full


def draw_film(canvas: Canvas, bag: Bag, rng: np.random.Generator, tear: list[tuple[float, float]]) -> None:
    """What lies over the pieces: wrinkles, seams and the zip."""
    x, y = np.broadcast_arrays(*canvas.grid())
    _, v = bag.pose.local(x, y)
    d = bag.distance(x, y)
    inside = np.clip(0.5 - d / canvas.px, 0, 1)
    lips = np.zeros_like(d)
    if tear:
        hole = polygon(x, y, tear)
        lips = (
            0.30 * np.exp(-(((hole - 0.006) / 0.005) ** 2)) + 0.10 * np.exp(-np.maximum(hole, 0) / 0.02)
        ) * inside
        inside = inside * np.clip(0.5 + hole / canvas.px, 0, 1)
        canvas.image *= 1.0 - (0.25 * (np.clip(0.5 - hole / canvas.px, 0, 1)) * (d < 0))[..., None]
    light = 0.010 + _wrinkles(rng, canvas) + _creases(rng, canvas, bag) + lips + _seams(d)
    zip_light, stripe = _zip(v)
    canvas.image *= 1.0 - (0.5 * stripe * inside)[..., None]
    canvas.image += (inside * (light + zip_light))[..., None] + (inside * stripe)[..., None] * _STRIPE
    canvas.image = np.maximum(canvas.image, 0.0)


_STRIPE = srgb("#4a6fa8") * 0.35


def _wrinkles(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    """Highlights of a crumpled film: thin bright ridges and broad glare."""
    broad = textures.field(rng, canvas, 0.22, 2)
    fine = textures.field(rng, canvas, (0.16, 0.07), 2)
    ridge = np.maximum(1.0 - np.abs(fine + 0.4 * broad) * 3.2, 0.0) ** 2
    glare = smoothstep(0.9, 2.2, textures.field(rng, canvas, (0.10, 0.25), 1))
    return 0.045 * ridge * smoothstep(-0.2, 1.6, broad) + 0.09 * glare * (0.5 + 0.5 * ridge)


def _creases(rng: np.random.Generator, canvas: Canvas, bag: Bag) -> np.ndarray:
    """Sharp folds: a bright flank beside a slightly dark one, fading towards both ends."""
    light = np.zeros((canvas.h, canvas.w))
    for _ in range(int(rng.integers(9, 18))):
        far = rng.uniform(0.05, 0.22)
        middle = bag.pose.world(rng.uniform(-BAG_X, BAG_X), rng.uniform(-BAG_Y + ZIP, BAG_Y))
        fold = Pose(*middle, rng.normal(0.9, 0.7) * rng.choice([-1.0, 1.0]))
        bend, power = rng.normal(0, 1.0), rng.uniform(0.02, 0.15)
        at = canvas.capsule(fold.world(-far, 0.0), fold.world(far, 0.0), 0.045, 1)
        u, v = fold.local(at.x, at.y)
        v = v - bend * u * u
        fade = np.maximum(1.0 - (u / far) ** 2, 0.0) ** 1.5
        flank = np.exp(-((v / 0.0045) ** 2)) - 0.35 * np.exp(-(((v - 0.010) / 0.009) ** 2))
        light[at.rows, at.cols] += (power * fade * flank)[:, 0]
    return light


def _seams(d: np.ndarray) -> np.ndarray:
    edge = np.exp(-(((d + 0.006) / 0.005) ** 2)) * 0.16
    weld = np.exp(-(((d + 0.028) / 0.004) ** 2)) * 0.05
    return edge + weld


def _zip(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from_top = v + BAG_Y
    lines = sum(
        0.11 * np.exp(-(((from_top - at) / 0.0045) ** 2))
        - 0.035 * np.exp(-(((from_top - at - 0.011) / 0.005) ** 2))
        for at in (0.075, 0.105)
    )
    stripe = smoothstep(0.009, 0.005, np.abs(from_top - 0.09))
    veil = 0.012 * smoothstep(0.13, 0.12, from_top)
    return lines + veil, stripe


def tear_open(rng: np.random.Generator, bag: Bag) -> list[tuple[float, float]]:
    """A jagged hole at the rim of the bag, in image coordinates."""
    u0 = rng.uniform(-0.35, 0.35)
    v0 = rng.uniform(-0.05, 0.2)
    side = int(rng.integers(3))
    centre = [(u0, BAG_Y), (-BAG_X, v0), (BAG_X, v0)][side]
    n, radius = 16, rng.uniform(0.13, 0.20)
    points = []
    for k in range(n):
        r = radius * rng.uniform(0.55, 1.0)
        t = 2 * np.pi * k / n
        points.append(bag.pose.world(centre[0] + 1.3 * r * np.cos(t), centre[1] + r * np.sin(t)))
    return points
