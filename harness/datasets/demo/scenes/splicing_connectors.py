"""Category `splicing_connectors`: two equal lever clamps joined by one cable in the same position.

The number of clamps decides the colour of the cable: 2 yellow, 3 blue, 5 red.
"""

from dataclasses import replace

import numpy as np

from harness.datasets.demo.catalog import Category, Defect, Mask, Region, Scene
from harness.datasets.demo.paint import camera, textures
from harness.datasets.demo.paint.material import Light, draw_light, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, smoothstep
from harness.datasets.demo.scenes.splicing_plan import LEFT, RIGHT, SCALE, SUBTYPES, Plan, normal, spoil
from harness.datasets.demo.things import defects
from harness.datasets.demo.things.cables import (
    CABLE_R,
    DEPTH,
    MARGIN,
    PITCH,
    Connector,
    cable_mask,
    draw_cable,
    draw_connector,
)

PARTS = (
    "background",
    "clear plastic splicing connector",
    "orange lever",
    "red cable",
    "blue cable",
    "yellow cable",
)
_BODY, _LEVER = 1, 2
_A_CABLE = 2 * CABLE_R * (RIGHT - LEFT - DEPTH * SCALE)


def _area(clamps: int) -> float:
    return SCALE**2 * DEPTH * (clamps * PITCH + 2 * MARGIN)


DEFECTS = (
    Defect("wrong_connector_type_5_2", "logical", _area(5) - _area(2), "red"),
    Defect("wrong_connector_type_5_3", "logical", _area(5) - _area(3), "red"),
    Defect("wrong_connector_type_3_2", "logical", _area(3) - _area(2), "blue"),
    Defect("cable_too_short_T2", "logical", _area(2), "yellow"),
    Defect("cable_too_short_T3", "logical", _area(3), "blue"),
    Defect("cable_too_short_T5", "logical", _area(5), "red"),
    Defect("missing_connector", "logical"),
    Defect("missing_connector_and_cable", "logical", _area(3) + _A_CABLE),
    Defect("missing_cable", "logical", _A_CABLE),
    Defect("extra_cable", "logical", _A_CABLE),
    Defect("cable_color", "logical", _A_CABLE * 0.9),
    Defect("broken_cable", "structural"),
    Defect("cable_cut", "logical"),
    Defect("cable_not_plugged", "structural"),
    Defect("unknown_cable_color", "structural"),
    Defect("wrong_cable_location", "logical", _A_CABLE * 0.9),
    Defect("flipped_connector", "structural"),
    Defect("broken_connector", "structural"),
    Defect("open_lever", "structural"),
    Defect("color", "structural"),
    Defect("contamination", "structural"),
)


_PAINTED = ("contamination",)
_BY_PLAN = ("cable_color", "extra_cable", "wrong_cable_location")


def _table(rng: np.random.Generator, canvas: Canvas) -> None:
    """A grey bench with a wire mesh printed on it, out of focus."""
    tone = srgb(("#9a9c9a", "#8d9196", "#a39d92")[int(rng.integers(3))]) * rng.normal(1.0, 0.06)
    canvas.image[:] = textures.board(rng, canvas, tone)
    x, y = canvas.grid()
    pitch, phase = 0.105, rng.uniform(0, 1, 2)
    lines = np.maximum(_line(x / pitch + phase[0], canvas), _line(y / pitch + phase[1], canvas))
    canvas.image *= (1.0 - 0.10 * lines)[..., None]


def _line(t: Array, canvas: Canvas) -> Array:
    return smoothstep(0.06, 0.03, np.abs(t - np.floor(t) - 0.5))


def _connector_mask(canvas: Canvas, *connectors: Connector | None) -> Mask:
    x, y = np.broadcast_arrays(*canvas.grid())
    return np.logical_or.reduce([c.body(x, y) < 0.001 for c in connectors if c])


def _all_cables(canvas: Canvas, plan: Plan) -> Mask:
    return np.logical_or.reduce([cable_mask(canvas, cable.path) for cable in plan.cables])


def _logical(name: str, canvas: Canvas, good: Plan, bad: Plan) -> Mask:
    """Ground truth; as in LOCO the whole image is marked where no smaller region is to blame."""
    good_hit = (good.left, good.right)[good.hit]
    if name.startswith("cable_too_short") or name == "missing_connector_and_cable":
        return np.ones((canvas.h, canvas.w), bool)
    if name.startswith("wrong_connector_type"):
        return _connector_mask(canvas, bad.left, bad.right)
    if name == "missing_connector":
        return _connector_mask(canvas, good_hit)
    if name == "missing_cable":
        return _between(canvas, good)
    if name == "cable_color":
        return _all_cables(canvas, good) | _connector_mask(canvas, bad.left, bad.right)
    if name == "cable_cut":
        a, b = bad.cables[0].cut or (0.0, 0.0)
        return cable_mask(canvas, good.cables[0].path, (a - 0.01, b + 0.01), 0.006)
    return _all_cables(canvas, bad)


def _between(canvas: Canvas, plan: Plan) -> Mask:
    """The space between the connectors, as high as they are."""
    x, y = np.broadcast_arrays(*canvas.grid())
    assert plan.left and plan.right
    u, v = plan.left.pose.local(x, y)
    a, b = plan.right.pose.local(x, y)
    high = plan.left.half()[1]
    return (u > DEPTH / 2) & (a > DEPTH / 2) & ((np.abs(v) < high) | (np.abs(b) < high))


def _structural(name: str, canvas: Canvas, good: Plan, bad: Plan) -> Mask:
    hit = (bad.left, bad.right)[bad.hit]
    assert hit
    x, y = np.broadcast_arrays(*canvas.grid())
    u, v = hit.pose.local(x, y)
    if name == "broken_cable":
        return cable_mask(canvas, bad.cables[0].path, bad.cables[0].frayed or (0.0, 1.0), 0.005)
    if name == "cable_not_plugged":
        part = (0.85, 1.0) if bad.hit else (0.0, 0.15)
        return cable_mask(canvas, bad.cables[0].path, part, 0.005) | cable_mask(
            canvas, good.cables[0].path, part
        )
    if name == "unknown_cable_color":
        return _all_cables(canvas, bad)
    if name == "broken_connector":
        return _connector_mask(canvas, replace(hit, bite=None)) & ~_connector_mask(canvas, hit)
    if name == "open_lever":
        cv = hit.clamp(hit.opened)
        return (np.abs(v - cv) < 0.034) & (u > -0.205) & (u < 0.035)
    if name == "color":
        return (
            _connector_mask(canvas, hit) & (np.abs(u + 0.04) < 0.072) & (np.abs(v) < hit.clamps * PITCH / 2)
        )
    return _connector_mask(canvas, hit)


def _contaminate(canvas: Canvas, rng: np.random.Generator, light: Light) -> Mask:
    spot = (rng.uniform(0.15, 1.45), 0.5 + rng.normal(0, 0.16))
    return defects.contamination(canvas, rng, spot, rng.uniform(0.040, 0.065), light)


def draw(rng: np.random.Generator, size: int, wanted: frozenset[str], subtype: str | None) -> Scene:
    """Draw two connectors and their cable."""
    subtype = subtype or SUBTYPES[0]
    canvas, light = Canvas(size, CATEGORY.aspect), draw_light(rng)
    _table(rng, canvas)
    good = bad = normal(rng, subtype, wanted)
    chosen = [d for d in DEFECTS if d.name in wanted]
    for defect in chosen:
        if defect.name not in _BY_PLAN + _PAINTED and not defect.name.startswith("cable_too_short"):
            bad = spoil(bad, defect.name, rng)
    _paint(canvas, bad, light)
    regions: list[Region] = []
    for defect in chosen:
        if defect.name in _PAINTED:
            mask = _contaminate(canvas, rng, light)
        elif defect.kind == "logical":
            mask = _logical(defect.name, canvas, good, bad)
        else:
            mask = _structural(defect.name, canvas, good, bad)
        regions.append((defect.name, mask))
    return Scene(camera.develop(canvas, rng), canvas.parts, regions, subtype)


def _paint(canvas: Canvas, plan: Plan, light: Light) -> None:
    for connector in (plan.left, plan.right):
        if connector:
            draw_connector(canvas, connector, light, (_BODY, _LEVER))
    for cable in plan.cables:
        draw_cable(canvas, cable, light)


CATEGORY = Category(
    name="splicing_connectors",
    aspect=1.6,
    parts=PARTS,
    defects=DEFECTS,
    draw=draw,
    about=(
        "Two lever clamps of the same size joined by one cable in the same position; "
        "2 clamps: yellow, 3: blue, 5: red."
    ),
    subtypes=SUBTYPES,
    pairs=(("wrong_cable_location", "cable_color"), ("extra_cable", "cable_color")),
)
