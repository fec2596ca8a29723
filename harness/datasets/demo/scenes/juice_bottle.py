"""Category `juice_bottle`: a bottle of cherry, orange or banana juice with a fruit label and a text label."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from harness.datasets.demo.catalog import Category, Defect, Mask, Region, Scene
from harness.datasets.demo.paint import camera, textures
from harness.datasets.demo.paint.material import Light, draw_light, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, Pose, smoothstep
from harness.datasets.demo.things import defects, fruit, glass
from harness.datasets.demo.things.glass import Bottle
from harness.datasets.demo.things.labels import (
    TEXT,
    Label,
    draw_paper,
    icon_mask,
    label_mask,
    print_text,
    rip,
    sign,
    text_gap,
)

SUBTYPES = ("cherry", "orange", "banana")
PARTS = (
    "background",
    "glass bottle",
    "red cherry juice",
    "orange juice",
    "white banana juice",
    "yellow paper label",
    "text label",
    "picture of cherries",
    "picture of an orange fruit",
    "picture of bananas",
)
_GLASS, _JUICE, _LABEL, _TEXT, _ICON = 1, 2, 5, 6, 7
_COLOURS = {"cherry": "#8f3026", "orange": "#dca838", "banana": "#e0d8bc"}
TOP, BOTTOM = (0.215, 0.205), (0.205, 0.085)  # half sizes of the labels
TOP_AT, BOTTOM_AT, LEVEL = 0.80, 1.22, (0.235, 0.310)
_A_TOP, _A_BOTTOM = 4 * TOP[0] * TOP[1], 4 * BOTTOM[0] * BOTTOM[1]

DEFECTS = (
    Defect("missing_top_label", "logical", _A_TOP * 0.95),
    Defect("missing_bottom_label", "logical", _A_BOTTOM * 0.95),
    Defect("swapped_labels", "logical", (_A_TOP + _A_BOTTOM) * 0.95),
    Defect("damaged_label", "structural"),
    Defect("rotated_label", "structural"),
    Defect("misplaced_label_top", "logical", _A_TOP * 0.95),
    Defect("misplaced_label_bottom", "logical", _A_BOTTOM * 0.95),
    Defect("label_text_incomplete", "structural"),
    Defect("empty_bottle", "logical"),
    Defect("wrong_fill_level_too_much", "logical"),
    Defect("wrong_fill_level_not_enough", "logical"),
    Defect("misplaced_fruit_icon", "logical"),
    Defect("missing_fruit_icon", "logical"),
    Defect("unknown_fruit_icon", "structural"),
    Defect("incomplete_fruit_icon", "structural"),
    Defect("wrong_juice_type", "logical", 0.012),
    Defect("juice_color", "structural"),
    Defect("contamination", "structural"),
    Defect("glass_cracked", "structural"),
    Defect("scratch", "structural"),
)


@dataclass(frozen=True)
class _Plan:
    """Everything that is decided before anything is drawn."""

    bottle: Bottle
    juice: str  # product type of the juice
    rgb: Array
    icon: str
    icon_pose: Pose
    top: Label | None
    bottom: Label | None
    text: str
    icon_keep: Callable[[Array, Array], Array] | None = None


def _normal(rng: np.random.Generator, subtype: str) -> _Plan:
    pose = Pose(
        0.5 + rng.normal(0, 0.025), 0.08 + rng.normal(0, 0.010), rng.normal(0, 0.008), rng.normal(1.0, 0.012)
    )
    bottle = Bottle(pose, rng.uniform(*LEVEL))
    top = _stick(rng, pose, TOP_AT, TOP)
    return _Plan(
        bottle=bottle,
        juice=subtype,
        rgb=srgb(_COLOURS[subtype]) * rng.normal(1.0, 0.05) * (1.0 + rng.normal(0, 0.025, 3)),
        icon=subtype,
        icon_pose=_icon_at(rng, top, 0.0, 0.0),
        top=top,
        bottom=_stick(rng, pose, BOTTOM_AT, BOTTOM),
        text=TEXT,
    )


def _stick(rng: np.random.Generator, bottle: Pose, height: float, half: tuple[float, float]) -> Label:
    x, y = bottle.world(rng.normal(0, 0.011), height + float(np.clip(rng.normal(0, 0.02), -0.035, 0.035)))
    return Label(Pose(x, y, bottle.angle + rng.normal(0, 0.024), bottle.scale), half)


def _icon_at(rng: np.random.Generator, label: Label, u: float, v: float) -> Pose:
    x, y = label.pose.world(u + rng.normal(0, 0.008), v + rng.normal(0, 0.008))
    return Pose(x, y, label.pose.angle, label.pose.scale * rng.normal(1.0, 0.01))


def _shift(label: Label, dx: float, dy: float, turn: float = 0.0) -> Label:
    pose = label.pose
    return replace(label, pose=Pose(pose.x + dx, pose.y + dy, pose.angle + turn, pose.scale))


def _spoil_bottle(plan: _Plan, name: str, rng: np.random.Generator) -> _Plan:
    """Wrong juice, wrong level."""
    if name == "empty_bottle":
        return replace(plan, bottle=replace(plan.bottle, level=glass.FLOOR))
    if name == "wrong_fill_level_too_much":
        return replace(plan, bottle=replace(plan.bottle, level=rng.uniform(0.05, 0.20)))
    if name == "wrong_fill_level_not_enough":
        return replace(plan, bottle=replace(plan.bottle, level=rng.uniform(0.37, 0.75)))
    if name == "wrong_juice_type":
        other = [s for s in SUBTYPES if s != plan.juice]
        return replace(plan, icon=other[int(rng.integers(2))])
    odd = ("#3f6b2c", "#2c4a78", "#5e5347", "#7a3f7d")
    return replace(plan, rgb=srgb(odd[int(rng.integers(4))]))


def _spoil_label(plan: _Plan, name: str, rng: np.random.Generator) -> _Plan:
    """Missing, misplaced, swapped, turned or torn labels."""
    top, bottom = plan.top, plan.bottom
    assert top and bottom
    if name == "missing_top_label":
        return replace(plan, top=None)
    if name == "missing_bottom_label":
        return replace(plan, bottom=None)
    if name == "misplaced_label_top":
        return _move_top(plan, rng.normal(0, 0.02), rng.choice([-0.13, 0.11]) + rng.normal(0, 0.012))
    if name == "misplaced_label_bottom":
        dy = float(rng.choice([0.085, -0.09])) + rng.normal(0, 0.008)
        return replace(plan, bottom=_shift(bottom, rng.normal(0, 0.02), dy))
    if name == "swapped_labels":
        moved = _move_top(plan, 0.0, (BOTTOM_AT - 0.06 - TOP_AT) * plan.bottle.pose.scale)
        return replace(
            moved, bottom=_shift(bottom, 0.0, (TOP_AT - 0.04 - BOTTOM_AT) * plan.bottle.pose.scale)
        )
    if name == "rotated_label":
        turn = sign(rng) * rng.uniform(0.16, 0.42)
        if rng.random() < 0.5:
            return replace(plan, bottom=_shift(bottom, 0.0, 0.0, turn))
        return replace(
            plan, top=_shift(top, 0, 0, turn), icon_pose=replace(plan.icon_pose, angle=top.pose.angle + turn)
        )
    return replace(plan, top=replace(top, torn=rip(rng, top.half)))


def _move_top(plan: _Plan, dx: float, dy: float) -> _Plan:
    assert plan.top
    icon = replace(plan.icon_pose, x=plan.icon_pose.x + dx, y=plan.icon_pose.y + dy)
    return replace(plan, top=_shift(plan.top, dx, dy), icon_pose=icon)


def _spoil_print(plan: _Plan, name: str, rng: np.random.Generator) -> _Plan:
    """Wrong icons and texts."""
    assert plan.top
    if name == "misplaced_fruit_icon":
        u, v = sign(rng) * rng.uniform(0.06, 0.10), sign(rng) * rng.uniform(0.055, 0.095)
        return replace(plan, icon_pose=_icon_at(rng, plan.top, u, v))
    if name == "missing_fruit_icon":
        return replace(plan, icon="")
    if name == "unknown_fruit_icon":
        return replace(plan, icon=("grapes", "apple", "blueberry")[int(rng.integers(3))])
    if name == "label_text_incomplete":
        keep = int(rng.integers(4, 8))
        text = TEXT[:keep].ljust(len(TEXT)) if rng.random() < 0.5 else TEXT[-keep:].rjust(len(TEXT))
        return replace(plan, text=text)
    angle = rng.uniform(0, 2 * np.pi)
    c, s, off = np.cos(angle), np.sin(angle), rng.uniform(-0.01, 0.02)
    return replace(plan, icon_keep=lambda u, v: c * u + s * v - off)


_SPOIL: dict[str, Callable[[_Plan, str, np.random.Generator], _Plan]] = {
    **dict.fromkeys(
        (
            "empty_bottle",
            "wrong_fill_level_too_much",
            "wrong_fill_level_not_enough",
            "wrong_juice_type",
            "juice_color",
        ),
        _spoil_bottle,
    ),
    **dict.fromkeys(
        (
            "missing_top_label",
            "missing_bottom_label",
            "misplaced_label_top",
            "misplaced_label_bottom",
            "swapped_labels",
            "rotated_label",
            "damaged_label",
        ),
        _spoil_label,
    ),
    **dict.fromkeys(
        (
            "misplaced_fruit_icon",
            "missing_fruit_icon",
            "unknown_fruit_icon",
            "label_text_incomplete",
            "incomplete_fruit_icon",
        ),
        _spoil_print,
    ),
}


def _room(rng: np.random.Generator, canvas: Canvas, light: Light) -> None:
    """A dark backdrop and a dark table with the foot of the bottle."""
    backdrop = srgb("#16181b") * rng.uniform(0.7, 1.4)
    canvas.image[:] = backdrop * (1.0 + 0.10 * textures.field(rng, canvas, 0.5, 2))[..., None]
    _, y = canvas.grid()
    edge = rng.normal(1.475, 0.008)
    table = smoothstep(edge, edge + 0.02, y)[..., None]
    grain = 1.0 + 0.25 * textures.field(rng, canvas, 0.012, 2) + 0.1 * textures.field(rng, canvas, 0.3)
    tone = srgb("#2b2a29") * rng.uniform(0.8, 1.3)
    canvas.image[:] = canvas.image * (1 - table) + table * np.maximum(grain, 0.1)[..., None] * tone


def _contact(canvas: Canvas, bottle: Bottle, rgb: Array) -> None:
    """Shadow under the bottle and a faint coloured reflection on the table."""
    x, y = np.broadcast_arrays(*canvas.grid())
    u, v = bottle.pose.local(x, y)
    near = smoothstep(0.36, 0.24, np.abs(u)) * smoothstep(0.10, 0.0, v - glass.HEIGHT)
    on_table = v > glass.HEIGHT - 0.03
    canvas.image *= (1.0 - 0.6 * near * on_table)[..., None]
    canvas.image += (0.06 * near * on_table * smoothstep(0.09, 0.02, v - glass.HEIGHT))[..., None] * rgb


def _region(name: str, canvas: Canvas, good: _Plan, bad: _Plan) -> Mask:
    """Ground truth of everything that is not painted on afterwards."""
    if name in (
        "missing_top_label",
        "misplaced_label_top",
        "rotated_label",
        "missing_bottom_label",
    ) or name in (
        "misplaced_label_bottom",
        "swapped_labels",
    ):
        changed = [p for p in ((good.top, bad.top), (good.bottom, bad.bottom)) if p[0] != p[1]]
        labels = [
            bad_one if name == "swapped_labels" else label
            for pair in changed
            for label in pair
            for bad_one in (pair[1],)
        ]
        return label_mask(canvas, *labels)
    if name == "damaged_label":
        return label_mask(canvas, good.top) & ~label_mask(canvas, bad.top)
    if name == "label_text_incomplete":
        assert bad.bottom
        return text_gap(canvas, bad.bottom, bad.text)
    if name == "misplaced_fruit_icon":
        return icon_mask(canvas, bad.icon, bad.icon_pose)
    if name == "missing_fruit_icon":
        return icon_mask(canvas, good.icon, bad.icon_pose)
    if name == "unknown_fruit_icon":
        return icon_mask(canvas, bad.icon, bad.icon_pose)
    return _fluid_region(name, canvas, good, bad)


def _fluid_region(name: str, canvas: Canvas, good: _Plan, bad: _Plan) -> Mask:
    if name == "incomplete_fruit_icon":
        x, y = np.broadcast_arrays(*canvas.grid())
        assert bad.icon_keep
        return icon_mask(canvas, good.icon, good.icon_pose) & (bad.icon_keep(*bad.icon_pose.local(x, y)) > 0)
    if name == "empty_bottle":
        return glass.mask(canvas, good.bottle, good.bottle.level, 9.0)
    if name == "wrong_fill_level_too_much":
        return glass.mask(canvas, good.bottle, bad.bottle.level, LEVEL[0])
    if name == "wrong_fill_level_not_enough":
        return glass.mask(canvas, good.bottle, LEVEL[1], bad.bottle.level)
    juice = glass.mask(canvas, bad.bottle, bad.bottle.level, 9.0) & ~label_mask(canvas, bad.top, bad.bottom)
    return juice | icon_mask(canvas, bad.icon, bad.icon_pose) if name == "wrong_juice_type" else juice


def _spot(bottle: Bottle, rng: np.random.Generator) -> tuple[float, float]:
    v = float(rng.choice([rng.uniform(0.45, 0.56), rng.uniform(1.03, 1.11), rng.uniform(0.62, 1.35)]))
    return bottle.pose.world(rng.uniform(-0.14, 0.14), v)


def _painted(name: str, canvas: Canvas, rng: np.random.Generator, plan: _Plan, light: Light) -> Mask:
    """Defects that are drawn on top of the finished bottle."""
    x, y = _spot(plan.bottle, rng)
    if name == "contamination":
        return defects.contamination(
            canvas,
            rng,
            (x, y),
            rng.uniform(0.045, 0.07),
            light,
            defects.PALE if plan.juice == "cherry" else defects.DIRT,
        )
    if name == "scratch":
        return defects.scratch(canvas, rng, (x, y), rng.uniform(0.24, 0.4), np.array([0.8, 0.8, 0.77]))
    dark, bright = np.array([0.01, 0.01, 0.012]), np.array([0.8, 0.85, 0.9])
    start = plan.bottle.pose.world(sign(rng) * 0.26, rng.uniform(0.65, 1.3))
    inwards = np.pi if start[0] > plan.bottle.pose.x else 0.0
    return defects.crack(
        canvas, rng, start, inwards + rng.normal(0, 0.5), rng.uniform(0.28, 0.42), dark, bright
    )


def draw(rng: np.random.Generator, size: int, wanted: frozenset[str], subtype: str | None) -> Scene:
    """Draw one bottle."""
    canvas, light = Canvas(size, CATEGORY.aspect), draw_light(rng)
    good = bad = _normal(rng, subtype or SUBTYPES[0])
    for defect in DEFECTS:
        if defect.name in wanted and defect.name in _SPOIL:
            bad = _SPOIL[defect.name](bad, defect.name, rng)
    _paint(canvas, rng, bad, light)
    regions: list[Region] = []
    for defect in DEFECTS:
        if defect.name in wanted:
            on_top = defect.name not in _SPOIL
            mask = (
                _painted(defect.name, canvas, rng, bad, light)
                if on_top
                else _region(defect.name, canvas, good, bad)
            )
            regions.append((defect.name, mask))
    return Scene(camera.develop(canvas, rng), canvas.parts, regions, subtype)


def _paint(canvas: Canvas, rng: np.random.Generator, plan: _Plan, light: Light) -> None:
    _room(rng, canvas, light)
    _contact(canvas, plan.bottle, plan.rgb)
    glass.draw(canvas, plan.bottle, rng, plan.rgb, (_GLASS, _JUICE + SUBTYPES.index(plan.juice)))
    fibres = textures.field(rng, canvas, 0.02, 3) * rng.uniform(0.7, 2.5)
    if plan.top:
        draw_paper(canvas, plan.top, fibres, _LABEL, plan.bottle)
        if plan.icon:
            part = _ICON + SUBTYPES.index(plan.icon) if plan.icon in SUBTYPES else None
            fruit.draw(canvas, plan.icon, plan.icon_pose, 0.9, part, plan.icon_keep)
    if plan.bottom:
        draw_paper(canvas, plan.bottom, fibres, _TEXT, plan.bottle)
        print_text(canvas, plan.bottom, plan.text)
    glass.glare(canvas, plan.bottle, rng)
    glass.wet(canvas, plan.bottle, rng, int(rng.integers(0, 16)))


CATEGORY = Category(
    name="juice_bottle",
    aspect=0.625,
    parts=PARTS,
    defects=DEFECTS,
    draw=draw,
    about=(
        "A bottle of cherry, orange or banana juice, filled to the neck; the upper label shows the fruit, "
        "the lower one says PURE JUICE."
    ),
    subtypes=SUBTYPES,
    pairs=(
        ("missing_bottom_label", "wrong_fill_level_not_enough"),
        ("wrong_juice_type", "misplaced_label_bottom"),
        ("missing_fruit_icon", "wrong_fill_level_too_much"),
    ),
)
