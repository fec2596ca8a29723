"""Category `breakfast_box`: left two tangerines and a nectarine; right cereals above chips and almonds."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import binary_dilation, label

from harness.datasets.demo.catalog import Category, Defect, Mask, Region, Scene
from harness.datasets.demo.paint import camera, textures
from harness.datasets.demo.paint.material import Light, draw_light, srgb
from harness.datasets.demo.paint.raster import Canvas, Pose
from harness.datasets.demo.things import defects, food
from harness.datasets.demo.things.heap import ALMOND, CEREAL, CHIP, Plan, fill_dry, loose, place_fruit, strew
from harness.datasets.demo.things.tray import HALF, Box, draw_box

PARTS = (
    "background",
    "white plastic box",
    "tangerine",
    "red nectarine",
    "granola cereal",
    "dried banana slice",
    "almond",
)
_BOX, _TANGERINE, _NECTARINE = 1, 2, 3
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


def _normal(rng: np.random.Generator) -> Plan:
    pose = Pose(0.625 + rng.normal(0, 0.010), 0.5 + rng.normal(0, 0.008), rng.normal(0, 0.014))
    return Plan(Box(pose), 1, 2, SPLIT + rng.normal(0, 0.028))


def _spoil(plan: Plan, name: str, rng: np.random.Generator) -> Plan:
    if name in _COUNTS:
        return replace(plan, nectarines=_COUNTS[name][0], tangerines=_COUNTS[name][1])
    up = 0.22 if rng.random() < 0.5 else -0.20
    changes: dict[str, Callable[[], Plan]] = {
        "missing_almonds": lambda: replace(plan, almonds=False),
        "missing_bananas": lambda: replace(plan, chips=False),
        "missing_toppings": lambda: replace(plan, almonds=False, chips=False),
        "missing_cereals": lambda: replace(plan, cereals=False),
        "missing_cereals_and_toppings": lambda: replace(plan, cereals=False, almonds=False, chips=False),
        "compartments_swapped": lambda: replace(plan, box=replace(plan.box, flip=True)),
        "overflow": lambda: replace(plan, overflow=True),
        "underflow": lambda: replace(plan, fill=rng.uniform(0.32, 0.55)),
        "wrong_ratio": lambda: replace(plan, split=plan.split + up),
        "mixed_cereals": lambda: replace(plan, mixed=True),
    }
    return changes[name]() if name in changes else plan


def _zone(canvas: Canvas, plan: Plan, what: str) -> Mask:
    """The place of the fruit, the cereals or the toppings in the box."""
    x, y = np.broadcast_arrays(*canvas.grid())
    _, v = plan.box.local(x, y)
    if what == "fruit":
        return plan.box.fruit_side(x, y) < 0
    dry = plan.box.dry_side(x, y) < 0
    return (
        dry & (v < plan.split)
        if what == "cereals"
        else dry & (v >= plan.split)
        if what == "toppings"
        else dry
    )


def _logical(name: str, canvas: Canvas, good: Plan, bad: Plan) -> Mask:
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
        return _spilt(canvas, bad)
    if name == "wrong_ratio":
        _, v = bad.box.local(x, y)
        low, high = sorted((good.split, bad.split))
        return (bad.box.dry_side(x, y) < 0) & (v > low) & (v < high)
    return _zone(canvas, bad, "dry")


def _spilt(canvas: Canvas, bad: Plan) -> Mask:
    """The heap beyond the divider, without the odd flakes that lie about in good boxes too."""
    x, y = np.broadcast_arrays(*canvas.grid())
    side = bad.box.dry_side(x, y)
    heap = (canvas.parts == CEREAL) & (side > 0.012)
    reach = int(np.ceil(0.012 * canvas.size))
    lumps, _ = label(binary_dilation(heap, iterations=reach))  # pyright: ignore[reportGeneralTypeIssues]
    return heap & np.isin(lumps, np.setdiff1d(lumps[heap & (side < 0.04)], 0))


def _fruit_region(canvas: Canvas, bad: Plan) -> Mask:
    """Too much of a fruit: all pieces of it; too few: the free floor of the compartment."""
    mask = np.zeros((canvas.h, canvas.w), bool)
    if bad.nectarines > 1:
        mask |= canvas.parts == _NECTARINE
    if bad.tangerines > 2:
        mask |= canvas.parts == _TANGERINE
    if bad.nectarines + bad.tangerines < 3:
        mask |= _zone(canvas, bad, "fruit") & ((canvas.parts == _BOX) | (canvas.parts == CEREAL))
    return mask


def _structural(
    name: str,
    canvas: Canvas,
    rng: np.random.Generator,
    plan: Plan,
    fruit: list[tuple[str, Pose]],
    light: Light,
) -> Mask:
    if name == "mixed_cereals":
        x, y = np.broadcast_arrays(*canvas.grid())
        _, v = plan.box.local(x, y)
        return ((canvas.parts == CHIP) | (canvas.parts == ALMOND)) & (v < plan.split - 0.07)
    if name == "fruit_damaged":
        _, pose = fruit[int(rng.integers(len(fruit)))]
        x, y = pose.world(*rng.uniform(-0.045, 0.045, 2))
        return food.draw_rot(canvas, rng, Pose(x, y), rng.uniform(0.055, 0.08), light)
    if name == "box_damaged":
        dark, bright = srgb("#3a3835"), srgb("#f6f5f0")
        side = float(rng.choice([-1.0, 1.0]))
        start = plan.box.world(rng.uniform(-0.45, 0.45), side * (HALF[1] + 0.004))
        return defects.crack(
            canvas, rng, start, -side * np.pi / 2 + rng.normal(0, 0.5), rng.uniform(0.18, 0.28), dark, bright
        )
    if name == "toppings_crushed":
        return _crush(canvas, rng, plan, light)
    spot = plan.box.world(rng.uniform(-0.45, 0.45), rng.uniform(-0.33, 0.33))
    return defects.contamination(canvas, rng, spot, rng.uniform(0.045, 0.07), light, defects.STRANGE)


def _crush(canvas: Canvas, rng: np.random.Generator, plan: Plan, light: Light) -> Mask:
    """Toppings ground to pale powder and crumbs."""
    cu, cv = rng.uniform(0.20, 0.42), rng.uniform(0.16, 0.30)
    x, y = plan.box.world(cu, cv)
    at = canvas.disc(x, y, 0.17, 1)
    ragged = textures.Noise(rng, 0.06, 2)
    d = np.hypot(at.x - x, at.y - y) - 0.125 - 0.03 * ragged(at.x, at.y)
    clip = loose(plan.box.dry_side)
    d = np.maximum(d, clip(at.x, at.y))
    dust = textures.field(rng, canvas, 0.012, 2)[at.rows, at.cols][:, None, None]
    canvas.paint(at, at.cover(d) * 0.92, srgb("#dcc79a") * np.maximum(1 + 0.28 * dust, 0.3))
    crumbs = food.Granola(canvas, rng, light, CHIP)
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
    draw_box(canvas, bad.box, rng, light, _BOX)
    fruit = place_fruit(rng, bad)
    strew(canvas, rng, bad, light)
    fill_dry(canvas, rng, bad, light)
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
    about=(
        "Left always two tangerines and one nectarine, right cereals above banana chips and almonds, "
        "about half and half."
    ),
    pairs=(("2_nectarines_1_tangerine", "missing_almonds"), ("0_nectarines_3_tangerines", "wrong_ratio")),
)
