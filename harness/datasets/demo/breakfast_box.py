"""Category `breakfast_box`: left two tangerines and a nectarine; right cereals above banana chips and almonds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from harness.datasets.demo import camera, defects, food, textures
from harness.datasets.demo.catalog import Category, Defect, Mask, Region, Scene
from harness.datasets.demo.material import Light, bevel, draw_light, normalise, plastic, srgb
from harness.datasets.demo.raster import Array, Canvas, Pose, gradient, rectangle, smoothstep

PARTS = (
    "background",
    "white plastic box",
    "tangerine",
    "red nectarine",
    "granola cereal",
    "dried banana slice",
    "almond",
)
_BOX, _TANGERINE, _NECTARINE, _CEREAL, _CHIP, _ALMOND = range(1, 7)
HALF = (0.565, 0.435)
DIVIDER, BAR = 0.045, 0.022  # u of the wall between the compartments, half its width
SPLIT = 0.02  # normal height of the border between cereals and toppings
_A_T, _A_N = np.pi * food.TANGERINE**2, np.pi * food.NECTARINE**2

_COUNTS = {  # nectarines, tangerines
    "2_nectarines_1_tangerine": (2, 1),
    "1_nectarine_1_tangerine": (1, 1),
    "0_nectarines_2_tangerines": (0, 2),
    "0_nectarines_3_tangerines": (0, 3),
    "3_nectarines_0_tangerines": (3, 0),
    "0_nectarines_1_tangerine": (0, 1),
    "0_nectarines_0_tangerines": (0, 0),
    "0_nectarines_4_tangerines": (0, 4),
}
DEFECTS = (
    Defect("missing_almonds", "logical"),
    Defect("missing_bananas", "logical"),
    Defect("missing_toppings", "logical"),
    Defect("missing_cereals", "logical"),
    Defect("missing_cereals_and_toppings", "logical"),
    Defect("2_nectarines_1_tangerine", "logical", _A_T),
    Defect("1_nectarine_1_tangerine", "logical", _A_T),
    Defect("0_nectarines_2_tangerines", "logical", _A_N),
    Defect("0_nectarines_3_tangerines", "logical", _A_T),
    Defect("3_nectarines_0_tangerines", "logical", 2 * _A_N),
    Defect("0_nectarines_1_tangerine", "logical", _A_T + _A_N),
    Defect("0_nectarines_0_tangerines", "logical", 2 * _A_T + _A_N),
    Defect("0_nectarines_4_tangerines", "logical", 2 * _A_T),
    Defect("compartments_swapped", "logical"),
    Defect("overflow", "logical"),
    Defect("underflow", "logical"),
    Defect("wrong_ratio", "logical"),
    Defect("mixed_cereals", "structural"),
    Defect("fruit_damaged", "structural"),
    Defect("box_damaged", "structural"),
    Defect("toppings_crushed", "structural"),
    Defect("contamination", "structural"),
)


@dataclass(frozen=True)
class _Box:
    """The box; `flip` mirrors it so that the fruit lies right."""

    pose: Pose
    flip: bool = False

    def local(self, x: Array, y: Array) -> tuple[Array, Array]:
        u, v = self.pose.local(x, y)
        return (-u if self.flip else u), v

    def world(self, u: float, v: float) -> tuple[float, float]:
        return self.pose.world(-u if self.flip else u, v)

    def outer(self, x: Array, y: Array) -> Array:
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


@dataclass(frozen=True)
class _Plan:
    box: _Box
    nectarines: int
    tangerines: int
    split: float  # height of the border in the box's frame
    cereals: bool = True
    chips: bool = True
    almonds: bool = True
    fill: float = 1.0  # share of the cereals' place that is filled
    overflow: bool = False
    mixed: bool = False


def _normal(rng: np.random.Generator) -> _Plan:
    pose = Pose(0.625 + rng.normal(0, 0.010), 0.5 + rng.normal(0, 0.008), rng.normal(0, 0.014))
    return _Plan(_Box(pose), 1, 2, SPLIT + rng.normal(0, 0.02))


def _spoil(plan: _Plan, name: str, rng: np.random.Generator) -> _Plan:
    if name in _COUNTS:
        return replace(plan, nectarines=_COUNTS[name][0], tangerines=_COUNTS[name][1])
    up = 0.22 if rng.random() < 0.5 else -0.20
    changes: dict[str, Callable[[], _Plan]] = {
        "missing_almonds": lambda: replace(plan, almonds=False),
        "missing_bananas": lambda: replace(plan, chips=False),
        "missing_toppings": lambda: replace(plan, almonds=False, chips=False),
        "missing_cereals": lambda: replace(plan, cereals=False),
        "missing_cereals_and_toppings": lambda: replace(plan, cereals=False, almonds=False, chips=False),
        "compartments_swapped": lambda: replace(plan, box=replace(plan.box, flip=True)),
        "overflow": lambda: replace(plan, overflow=True),
        "underflow": lambda: replace(plan, fill=rng.uniform(0.25, 0.45)),
        "wrong_ratio": lambda: replace(plan, split=plan.split + up),
        "mixed_cereals": lambda: replace(plan, mixed=True),
    }
    return changes[name]() if name in changes else plan


def _draw_box(canvas: Canvas, box: _Box, rng: np.random.Generator, light: Light) -> None:
    at = canvas.box(0, 0, canvas.width, canvas.height, 1)
    for height, soft, dark in ((0.04, 0.03, 0.45), (0.10, 0.07, 0.3)):
        ox, oy = light.cast(height)
        canvas.shadow(at, box.outer(at.x - ox, at.y - oy), soft, dark)
    d, gx, gy = gradient(box.wall, at.x, at.y)
    n = bevel(d, gx, gy, 0.022, 0.9)
    white = srgb("#d9d8d2") * rng.normal(0.92, 0.03)
    haze = textures.field(rng, canvas, 0.25, 2).ravel()[:, None, None] * 0.02
    rim = plastic(normalise(*n), white, light, 0.25, 30.0)
    ox, oy = light.cast(0.05)
    shade = 0.35 * smoothstep(0.03, -0.03, box.wall(at.x - ox, at.y - oy)) + 0.30 * np.exp(-np.maximum(d, 0) / 0.035)
    floor = white * (0.90 - shade[..., None] + haze)
    wall = at.cover(d)[..., None]
    canvas.paint(at, at.cover(box.outer(at.x, at.y)), rim * wall + floor * (1 - wall))
    canvas.parts[canvas.mask(at, box.outer(at.x, at.y)[:, 0] < 0)] = _BOX


def _place_fruit(rng: np.random.Generator, plan: _Plan) -> list[tuple[str, Pose]]:
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


def _border(rng: np.random.Generator, plan: _Plan) -> Callable[[Array], Array]:
    """The uneven border between cereals and toppings as v(u)."""
    phase, swing, lean = rng.uniform(0, 6.28, 2), rng.uniform(0.008, 0.02, 2), rng.normal(0, 0.05)
    middle = (DIVIDER + HALF[0]) / 2
    return lambda u: (
        plan.split
        + lean * (u - middle)
        + swing[0] * np.sin(9 * u + phase[0])
        + 0.5 * swing[1] * np.sin(23 * u + phase[1])
    )


def _lattice(rng: np.random.Generator, box: tuple[float, float, float, float], step: float) -> list[tuple[float, float]]:
    """Jittered grid points in a box, in random order."""
    u0, v0, u1, v1 = box
    us, vs = np.meshgrid(np.arange(u0, u1 + 1e-9, step), np.arange(v0, v1 + 1e-9, step * 0.87))
    us[1::2] += step / 2
    points = np.stack([us.ravel(), vs.ravel()], axis=1) + rng.normal(0, 0.25 * step, (us.size, 2))
    return [(float(u), float(v)) for u, v in rng.permutation(points)]


def _heap(canvas: Canvas, rng: np.random.Generator, d: Array, part: int, dark: str, light: Light) -> None:
    """The depth of a heap, seen in the gaps between the pieces on top."""
    cover = np.clip(0.5 - d / canvas.px, 0, 1)[..., None]
    noise = 1.0 + 0.35 * textures.field(rng, canvas, 0.02, 2)
    canvas.image = canvas.image * (1 - cover) + cover * np.maximum(noise, 0.2)[..., None] * srgb(dark)
    canvas.parts[d < 0] = part


def _fill_dry(canvas: Canvas, rng: np.random.Generator, plan: _Plan, light: Light) -> None:
    """Cereals and toppings of the dry compartment."""
    x, y = np.broadcast_arrays(*canvas.grid())
    u, v = plan.box.local(x, y)
    border, side = _border(rng, plan), plan.box.dry_side(x, y)
    edge = border(u)
    if plan.cereals:
        _cereals(canvas, rng, plan, light, border, np.maximum(side, v - edge) - 0.006)
    if plan.chips or plan.almonds:
        ragged = 0.01 * textures.field(rng, canvas, 0.05)
        _heap(canvas, rng, np.maximum(side, edge - v + ragged) - 0.004, _CHIP if plan.chips else _ALMOND, "#5a3a1c", light)
        _toppings(canvas, rng, plan, light, border)
    if plan.mixed:
        _mix(canvas, rng, plan, light, border)


def _cereals(canvas: Canvas, rng: np.random.Generator, plan: _Plan, light: Light, border: Callable[[Array], Array], d: Array) -> None:
    x, y = np.broadcast_arrays(*canvas.grid())
    u, v = plan.box.local(x, y)
    blobs = textures.field(rng, canvas, 0.16, 2)
    if plan.fill < 1.0:  # a thin layer in a corner, the floor shows
        far = np.hypot(u - HALF[0] + 0.05, v + HALF[1] - 0.05)
        d = np.maximum(d, far - 0.62 * plan.fill - 0.02 * blobs)
    _heap(canvas, rng, d, _CEREAL, "#3f2714", light)
    clip, granola = _loose(plan.box.dry_side), food.Granola(canvas, rng, light, _CEREAL)
    for pu, pv in _lattice(rng, (DIVIDER + BAR, -HALF[1] + 0.03, HALF[0] - 0.03, HALF[1] - 0.03), 0.031):
        px, py = plan.box.world(pu, pv)
        row, col = int(py * canvas.size), int(px * canvas.size)
        if 0 <= row < canvas.h and 0 <= col < canvas.w and d[row, col] < 0.004:
            inner = DIVIDER + BAR + 0.05 < pu < HALF[0] - 0.08 and pv > -HALF[1] + 0.08
            granola.flake(px, py, None if inner else clip)
    if plan.overflow:
        _spill(rng, plan, granola)


def _spill(rng: np.random.Generator, plan: _Plan, granola: food.Granola) -> None:
    """Cereals heaped over the divider into the other compartment."""
    centre = rng.uniform(-0.25, -0.10)
    for _ in range(170):
        pu = DIVIDER + BAR + 0.02 - abs(rng.normal(0, 0.10))
        pv = float(np.clip(centre + rng.normal(0, 0.09), -HALF[1] + 0.05, HALF[1]))
        granola.flake(*plan.box.world(pu, pv), None)


def _loose(side: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """A compartment whose content may lean on its walls."""
    return lambda x, y: side(x, y) - 0.010


def _toppings(canvas: Canvas, rng: np.random.Generator, plan: _Plan, light: Light, border: Callable[[Array], Array]) -> None:
    clip = _loose(plan.box.dry_side)
    points = _lattice(rng, (DIVIDER + BAR + 0.02, plan.split - 0.05, HALF[0] - 0.05, HALF[1] - 0.05), 0.066)
    share = rng.uniform(0.45, 0.6)
    for k, (pu, pv) in enumerate(points):
        if pv < float(border(np.array(pu))) + 0.02:
            continue
        px, py = plan.box.world(pu, pv)
        chip = (k % 20) / 20 < share
        if chip and not plan.chips or not chip and not plan.almonds:
            chip = not chip
        if chip:
            food.draw_chip(canvas, rng, px, py, light, _CHIP, clip)
        else:
            food.draw_almond(canvas, rng, px, py, light, _ALMOND, clip)


def _mix(canvas: Canvas, rng: np.random.Generator, plan: _Plan, light: Light, border: Callable[[Array], Array]) -> None:
    clip = _loose(plan.box.dry_side)
    for pu, pv in _mixed_at(rng, plan):
        px, py = plan.box.world(pu, pv)
        piece = food.draw_chip if rng.random() < 0.5 else food.draw_almond
        piece(canvas, rng, px, py, light, _CHIP if piece is food.draw_chip else _ALMOND, clip)


def _mixed_at(rng: np.random.Generator, plan: _Plan) -> list[tuple[float, float]]:
    centre = (rng.uniform(0.2, 0.42), rng.uniform(-0.3, -0.15))
    return [(centre[0] + rng.normal(0, 0.05), centre[1] + rng.normal(0, 0.05)) for _ in range(int(rng.integers(4, 8)))]


def _zone(canvas: Canvas, plan: _Plan, what: str) -> Mask:
    """The place of the fruit, the cereals or the toppings in the box."""
    x, y = np.broadcast_arrays(*canvas.grid())
    _, v = plan.box.local(x, y)
    if what == "fruit":
        return plan.box.fruit_side(x, y) < 0
    dry = plan.box.dry_side(x, y) < 0
    return dry & (v < plan.split) if what == "cereals" else dry & (v >= plan.split) if what == "toppings" else dry


def _logical(name: str, canvas: Canvas, good: _Plan, bad: _Plan) -> Mask:
    if name in _COUNTS:
        return _fruit_region(canvas, bad)
    x, y = np.broadcast_arrays(*canvas.grid())
    if name == "compartments_swapped":
        return (bad.box.fruit_side(x, y) < 0) | (bad.box.dry_side(x, y) < 0)
    if name in ("missing_almonds", "missing_bananas", "missing_toppings"):
        return _zone(canvas, bad, "toppings")
    if name in ("missing_cereals", "underflow"):
        empty = canvas.parts == _BOX
        return _zone(canvas, bad, "cereals") & (empty | (name == "missing_cereals"))
    if name == "overflow":
        return (canvas.parts == _CEREAL) & (bad.box.dry_side(x, y) > 0.012)
    if name == "wrong_ratio":
        _, v = bad.box.local(x, y)
        low, high = sorted((good.split, bad.split))
        return (bad.box.dry_side(x, y) < 0) & (v > low) & (v < high)
    return _zone(canvas, bad, "dry")


def _fruit_region(canvas: Canvas, bad: _Plan) -> Mask:
    """Too much of a fruit: all pieces of it; too few: the free floor of the compartment."""
    mask = np.zeros((canvas.h, canvas.w), bool)
    if bad.nectarines > 1:
        mask |= canvas.parts == _NECTARINE
    if bad.tangerines > 2:
        mask |= canvas.parts == _TANGERINE
    if bad.nectarines + bad.tangerines < 3:
        mask |= _zone(canvas, bad, "fruit") & (canvas.parts == _BOX)
    return mask


def _structural(name: str, canvas: Canvas, rng: np.random.Generator, plan: _Plan, fruit: list[tuple[str, Pose]], light: Light) -> Mask:
    if name == "mixed_cereals":
        x, y = np.broadcast_arrays(*canvas.grid())
        _, v = plan.box.local(x, y)
        return ((canvas.parts == _CHIP) | (canvas.parts == _ALMOND)) & (v < plan.split - 0.07)
    if name == "fruit_damaged":
        _, pose = fruit[int(rng.integers(len(fruit)))]
        x, y = pose.world(*rng.uniform(-0.045, 0.045, 2))
        return food.draw_rot(canvas, rng, Pose(x, y), rng.uniform(0.035, 0.055), light)
    if name == "box_damaged":
        dark, bright = srgb("#3a3835"), srgb("#f6f5f0")
        side = float(rng.choice([-1.0, 1.0]))
        start = plan.box.world(rng.uniform(-0.45, 0.45), side * (HALF[1] + 0.004))
        return defects.crack(canvas, rng, start, -side * np.pi / 2 + rng.normal(0, 0.5), rng.uniform(0.12, 0.2), dark, bright)
    if name == "toppings_crushed":
        return _crush(canvas, rng, plan, light)
    spot = plan.box.world(rng.uniform(-0.45, 0.45), rng.uniform(-0.33, 0.33))
    return defects.contamination(canvas, rng, spot, rng.uniform(0.026, 0.045), light)


def _crush(canvas: Canvas, rng: np.random.Generator, plan: _Plan, light: Light) -> Mask:
    """Toppings ground to pale powder and crumbs."""
    cu, cv = rng.uniform(0.20, 0.42), rng.uniform(0.16, 0.30)
    x, y = plan.box.world(cu, cv)
    at = canvas.disc(x, y, 0.14, 1)
    ragged = textures.Noise(rng, 0.06, 2)
    d = np.hypot(at.x - x, at.y - y) - 0.105 - 0.03 * ragged(at.x, at.y)
    clip = _loose(plan.box.dry_side)
    d = np.maximum(d, clip(at.x, at.y))
    dust = textures.field(rng, canvas, 0.012, 2)[at.rows, at.cols][:, None, None]
    canvas.paint(at, at.cover(d) * 0.92, srgb("#c9a66c") * np.maximum(1 + 0.28 * dust, 0.3))
    crumbs = food.Granola(canvas, rng, light, _CHIP)
    for _ in range(60):
        r, t = 0.10 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        crumbs.flake(x + r * np.cos(t), y + r * np.sin(t), clip, 0.45)
    return canvas.mask(at, d[:, 0] < 0)


def draw(rng: np.random.Generator, size: int, wanted: frozenset[str], subtype: str | None) -> Scene:
    """Draw one breakfast box."""
    canvas, light = Canvas(size, CATEGORY.aspect), draw_light(rng)
    tone = ("#3c4148", "#4a4038", "#38423d")[int(rng.integers(3))]
    canvas.image[:] = textures.board(rng, canvas, srgb(tone) * rng.normal(1.0, 0.08), 2.0)
    good = bad = _normal(rng)
    chosen = [d for d in DEFECTS if d.name in wanted]
    for defect in chosen:
        bad = _spoil(bad, defect.name, rng)
    _draw_box(canvas, bad.box, rng, light)
    fruit = _place_fruit(rng, bad)
    _fill_dry(canvas, rng, bad, light)
    for kind, pose in fruit:
        food.draw_fruit(canvas, rng, kind, pose, light, _TANGERINE if kind == "tangerine" else _NECTARINE)
    regions: list[Region] = []
    for defect in chosen:
        if defect.kind == "logical":
            regions.append((defect.name, _logical(defect.name, canvas, good, bad)))
        else:
            regions.append((defect.name, _structural(defect.name, canvas, rng, bad, fruit, light)))
    return Scene(camera.develop(canvas, rng), canvas.parts, regions, subtype)


CATEGORY = Category(
    name="breakfast_box",
    aspect=1.25,
    parts=PARTS,
    defects=DEFECTS,
    draw=draw,
    about="Left always two tangerines and one nectarine, right cereals above a mix of banana chips and almonds, about half and half.",
    pairs=(("2_nectarines_1_tangerine", "missing_almonds"), ("0_nectarines_3_tangerines", "wrong_ratio")),
)
