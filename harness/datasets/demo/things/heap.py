"""What is planned to lie in a breakfast box, and the heaps of cereals and toppings in it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.datasets.demo.paint import textures
from harness.datasets.demo.paint.material import Light, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, Pose
from harness.datasets.demo.things import food
from harness.datasets.demo.things.tray import BAR, DIVIDER, HALF, Box

CEREAL, CHIP, ALMOND = 4, 5, 6  # class numbers of the parts


@dataclass(frozen=True)
class Plan:
    """What lies in the box: numbers of fruit, height of the border, what is filled and how."""

    box: Box
    nectarines: int
    tangerines: int
    split: float  # height of the border in the box's frame
    cereals: bool = True
    chips: bool = True
    almonds: bool = True
    fill: float = 1.0  # share of the cereals' place that is filled
    overflow: bool = False
    mixed: bool = False


def place_fruit(rng: np.random.Generator, plan: Plan) -> list[tuple[str, Pose]]:
    """Fruit anywhere in its compartment without overlap: relax random positions until they fit."""
    kinds = ["nectarine"] * plan.nectarines + ["tangerine"] * plan.tangerines
    if not kinds:
        return []
    radii = np.array([food.NECTARINE if k == "nectarine" else food.TANGERINE for k in kinds])
    low = np.array([-HALF[0] + 0.035, -HALF[1] + 0.035])
    high = np.array([DIVIDER - BAR - 0.005, HALF[1] - 0.035])
    at = rng.uniform(low + radii[:, None], high - radii[:, None])
    for _ in range(300):
        for i in range(len(kinds)):
            for j in range(i):
                gap = at[i] - at[j]
                far = max(float(np.hypot(gap[0], gap[1])), 1e-6)
                push = max(0.0, (radii[i] + radii[j]) * 1.01 - far) / far / 2
                at[i], at[j] = at[i] + gap * push, at[j] - gap * push
        at = np.clip(at, low + radii[:, None], high - radii[:, None])
    poses = []
    for kind, (u, v) in zip(kinds, at, strict=True):
        x, y = plan.box.world(u, v)
        poses.append((kind, Pose(x, y, rng.uniform(-np.pi, np.pi), rng.normal(0.985, 0.02))))
    return poses


def _border(rng: np.random.Generator, plan: Plan) -> Callable[[Array], Array]:
    """The uneven border between cereals and toppings as v(u)."""
    phase, swing, lean = rng.uniform(0, 6.28, 2), rng.uniform(0.008, 0.02, 2), rng.normal(0, 0.05)
    middle = (DIVIDER + HALF[0]) / 2
    return lambda u: (
        plan.split
        + lean * (u - middle)
        + swing[0] * np.sin(9 * u + phase[0])
        + 0.5 * swing[1] * np.sin(23 * u + phase[1])
    )


def _bare(rng: np.random.Generator, plan: Plan, u: Array, v: Array) -> Array:
    """Signed distance to what is covered: shaking leaves a bare spot or two at the walls of most boxes."""
    covered = np.full(u.shape, -1.0)
    for _ in range(int(rng.integers(0, 3))):
        at_u = float(rng.choice([DIVIDER + BAR, HALF[0] - 0.03]))
        at_v = float(rng.choice([plan.split, -HALF[1] + 0.03, HALF[1] - 0.03])) + rng.normal(0, 0.03)
        radius, slant = rng.uniform(0.04, 0.10), rng.uniform(0.7, 1.4)
        covered = np.maximum(covered, radius - np.hypot((u - at_u) * slant, (v - at_v) / slant))
    return covered


def strew(canvas: Canvas, rng: np.random.Generator, plan: Plan, light: Light) -> None:
    """A few flakes that fell beside their place, as in every real box."""
    granola = food.Granola(canvas, rng, light, CEREAL)
    for _ in range(int(rng.integers(0, 7))):
        u, v = rng.uniform(-HALF[0] + 0.06, DIVIDER), rng.uniform(-HALF[1] + 0.06, HALF[1] - 0.06)
        granola.flake(*plan.box.world(u, v), None, rng.uniform(0.5, 1.0))


def _lattice(
    rng: np.random.Generator, box: tuple[float, float, float, float], step: float
) -> list[tuple[float, float]]:
    """Jittered grid points in a box, in random order."""
    u0, v0, u1, v1 = box
    us, vs = np.meshgrid(np.arange(u0, u1 + 1e-9, step), np.arange(v0, v1 + 1e-9, step * 0.87))
    us[1::2] += step / 2
    points = np.stack([us.ravel(), vs.ravel()], axis=1) + rng.normal(0, 0.25 * step, (us.size, 2))
    return [(float(u), float(v)) for u, v in rng.permutation(points)]


def _heap(canvas: Canvas, rng: np.random.Generator, d: Array, part: int, dark: str) -> None:
    """The depth of a heap, seen in the gaps between the pieces on top."""
    cover = np.clip(0.5 - d / canvas.px, 0, 1)[..., None]
    noise = 1.0 + 0.35 * textures.field(rng, canvas, 0.02, 2)
    canvas.image = canvas.image * (1 - cover) + cover * np.maximum(noise, 0.2)[..., None] * srgb(dark)
    canvas.parts[d < 0] = part


def fill_dry(canvas: Canvas, rng: np.random.Generator, plan: Plan, light: Light) -> None:
    """Cereals and toppings of the dry compartment."""
    x, y = np.broadcast_arrays(*canvas.grid())
    u, v = plan.box.local(x, y)
    border, side = _border(rng, plan), np.maximum(plan.box.dry_side(x, y), _bare(rng, plan, u, v))
    edge = border(u)
    if plan.cereals:
        _cereals(canvas, rng, plan, light, border, np.maximum(side, v - edge) - 0.006)
    if plan.chips or plan.almonds:
        ragged = 0.01 * textures.field(rng, canvas, 0.05)
        _heap(
            canvas,
            rng,
            np.maximum(side, edge - v + ragged) - 0.004,
            CHIP if plan.chips else ALMOND,
            "#5a3a1c",
        )
        _toppings(canvas, rng, plan, light, border, side)
    if plan.mixed:
        _mix(canvas, rng, plan, light, border)


def _cereals(
    canvas: Canvas,
    rng: np.random.Generator,
    plan: Plan,
    light: Light,
    border: Callable[[Array], Array],
    d: Array,
) -> None:
    x, y = np.broadcast_arrays(*canvas.grid())
    u, v = plan.box.local(x, y)
    blobs = textures.field(rng, canvas, 0.16, 2)
    if plan.fill < 1.0:  # a thin layer in a corner, the floor shows
        far = np.hypot(u - HALF[0] + 0.05, v + HALF[1] - 0.05)
        d = np.maximum(d, far - 0.62 * plan.fill - 0.02 * blobs)
    _heap(canvas, rng, d, CEREAL, "#3f2714")
    clip, granola = loose(plan.box.dry_side), food.Granola(canvas, rng, light, CEREAL)
    for pu, pv in _lattice(rng, (DIVIDER + BAR, -HALF[1] + 0.03, HALF[0] - 0.03, HALF[1] - 0.03), 0.031):
        px, py = plan.box.world(pu, pv)
        if _at(canvas, d, px, py) < 0.004:
            inner = DIVIDER + BAR + 0.05 < pu < HALF[0] - 0.08 and pv > -HALF[1] + 0.08
            granola.flake(px, py, None if inner else clip)
    if plan.overflow:
        _spill(rng, plan, granola)


def _at(canvas: Canvas, values: Array, x: float, y: float) -> float:
    """The value of a full-size array at a place, that of the nearest pixel outside."""
    row, col = int(y * canvas.size), int(x * canvas.size)
    return float(values[min(max(row, 0), canvas.h - 1), min(max(col, 0), canvas.w - 1)])


def _spill(rng: np.random.Generator, plan: Plan, granola: food.Granola) -> None:
    """Cereals heaped over the divider into the other compartment."""
    centre = rng.uniform(-0.25, -0.10)
    for _ in range(120):
        pu = DIVIDER + BAR + 0.02 - abs(rng.normal(0, 0.10))
        pv = float(np.clip(centre + rng.normal(0, 0.09), -HALF[1] + 0.05, HALF[1]))
        granola.flake(*plan.box.world(pu, pv), None)


def loose(side: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """A compartment whose content may lean on its walls."""
    return lambda x, y: side(x, y) - 0.010


def _toppings(
    canvas: Canvas,
    rng: np.random.Generator,
    plan: Plan,
    light: Light,
    border: Callable[[Array], Array],
    side: Array,
) -> None:
    clip = loose(plan.box.dry_side)
    points = _lattice(rng, (DIVIDER + BAR + 0.02, plan.split - 0.05, HALF[0] - 0.05, HALF[1] - 0.05), 0.066)
    share = rng.uniform(0.35, 0.68)
    for k, (pu, pv) in enumerate(points):
        px, py = plan.box.world(pu, pv)
        if pv < float(border(np.array(pu))) + 0.02 or _at(canvas, side, px, py) > -0.012:
            continue
        chip = (k % 20) / 20 < share
        if (chip and not plan.chips) or (not chip and not plan.almonds):
            chip = not chip
        if chip:
            food.draw_chip(canvas, rng, px, py, light, CHIP, clip)
        else:
            food.draw_almond(canvas, rng, px, py, light, ALMOND, clip)


def _mix(
    canvas: Canvas, rng: np.random.Generator, plan: Plan, light: Light, border: Callable[[Array], Array]
) -> None:
    clip = loose(plan.box.dry_side)
    for pu, pv in _mixed_at(rng, plan):
        px, py = plan.box.world(pu, pv)
        piece = food.draw_chip if rng.random() < 0.5 else food.draw_almond
        piece(canvas, rng, px, py, light, CHIP if piece is food.draw_chip else ALMOND, clip)


def _mixed_at(rng: np.random.Generator, plan: Plan) -> list[tuple[float, float]]:
    centre = (rng.uniform(0.2, 0.42), rng.uniform(-0.3, -0.15))
    return [
        (centre[0] + rng.normal(0, 0.05), centre[1] + rng.normal(0, 0.05))
        for _ in range(int(rng.integers(7, 13)))
    ]
