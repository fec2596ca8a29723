"""Category `juice_bottle`: a bottle of cherry, orange or banana juice with a fruit label and a text label."""

import numpy as np

from harness.datasets.demo.catalog import Category, Defect, Mask, Region, Scene
from harness.datasets.demo.paint import camera, textures
from harness.datasets.demo.paint.material import Light, draw_light, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, smoothstep
from harness.datasets.demo.scenes.juice_plan import BOTTOM, LEVEL, SPOIL, SUBTYPES, TOP, Plan, normal
from harness.datasets.demo.things import defects, fruit, glass
from harness.datasets.demo.things.glass import Bottle
from harness.datasets.demo.things.labels import draw_paper, icon_mask, label_mask, print_text, sign, text_gap

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


def _region(name: str, canvas: Canvas, good: Plan, bad: Plan) -> Mask:
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


def _fluid_region(name: str, canvas: Canvas, good: Plan, bad: Plan) -> Mask:
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


def _painted(name: str, canvas: Canvas, rng: np.random.Generator, plan: Plan, light: Light) -> Mask:
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
    good = bad = normal(rng, subtype or SUBTYPES[0])
    for defect in DEFECTS:
        if defect.name in wanted and defect.name in SPOIL:
            bad = SPOIL[defect.name](bad, defect.name, rng)
    _paint(canvas, rng, bad, light)
    regions: list[Region] = []
    for defect in DEFECTS:
        if defect.name in wanted:
            on_top = defect.name not in SPOIL
            mask = (
                _painted(defect.name, canvas, rng, bad, light)
                if on_top
                else _region(defect.name, canvas, good, bad)
            )
            regions.append((defect.name, mask))
    return Scene(camera.develop(canvas, rng), canvas.parts, regions, subtype)


def _paint(canvas: Canvas, rng: np.random.Generator, plan: Plan, light: Light) -> None:
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
