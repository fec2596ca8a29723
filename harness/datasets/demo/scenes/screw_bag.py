"""Category `screw_bag`: a zip bag with 2 washers, 2 nuts, a long and a short screw, lying anywhere."""

from dataclasses import dataclass, replace

import numpy as np

from harness.datasets.demo.catalog import Category, Defect, Mask, Region, Scene, wants
from harness.datasets.demo.paint import camera, textures
from harness.datasets.demo.paint.material import Light, draw_light, srgb
from harness.datasets.demo.paint.raster import Canvas, Pose, polygon
from harness.datasets.demo.things import defects, metalware
from harness.datasets.demo.things.metalware import Item
from harness.datasets.demo.things.zip_bag import BAG_X, BAG_Y, ZIP, Bag, draw_bag, draw_film, tear_open

LONG, SHORT, VERY_SHORT, TOO_LONG, TOO_SHORT = 0.50, 0.35, 0.21, 0.64, 0.41
SCALE = 1.13
PARTS = ("background", "plastic bag", "long screw", "short screw", "hexagonal nut", "ring washer")
_BAG, _LONG, _SHORT, _NUT, _WASHER = range(1, 6)
_PART = {"long": _LONG, "short": _SHORT, "nut": _NUT, "washer": _WASHER}


def _screw_area(length: float) -> float:
    return SCALE**2 * (
        2 * metalware.SHANK * length + 2 * (metalware.HEAD - metalware.SHANK) * metalware.HEAD_LENGTH
    )


_A_NUT = SCALE**2 * (2 * 3**0.5 * metalware.NUT**2 - np.pi * metalware.NUT_HOLE**2)
_A_WASHER = SCALE**2 * np.pi * (metalware.WASHER**2 - metalware.WASHER_HOLE**2)
_A_LONG, _A_SHORT = _screw_area(LONG), _screw_area(SHORT)
_A_TIP = SCALE**2 * 2 * metalware.SHANK * 0.12

DEFECTS = (
    Defect("screw_too_long", "logical", _A_TIP),
    Defect("screw_too_short", "logical", _A_TIP),
    Defect("1_very_short_screw", "logical"),
    Defect("2_very_short_screws", "logical", 2 * _A_TIP),
    Defect("1_additional_long_screw", "logical", _A_LONG),
    Defect("1_additional_short_screw", "logical", _A_SHORT),
    Defect("1_additional_nut", "logical", _A_NUT),
    Defect("2_additional_nuts", "logical", 2 * _A_NUT),
    Defect("1_additional_washer", "logical", _A_WASHER),
    Defect("2_additional_washers", "logical", 2 * _A_WASHER),
    Defect("1_missing_long_screw", "logical", _A_LONG),
    Defect("1_missing_short_screw", "logical", _A_SHORT),
    Defect("1_missing_nut", "logical", _A_NUT),
    Defect("2_missing_nuts", "logical", 2 * _A_NUT),
    Defect("1_missing_washer", "logical", _A_WASHER),
    Defect("2_missing_washers", "logical", 2 * _A_WASHER),
    Defect("bag_broken", "structural"),
    Defect("color", "structural"),
    Defect("contamination", "structural"),
    Defect("part_broken", "structural"),
)


@dataclass(frozen=True)
class _Piece:
    what: str
    item: Item


def _counts(wanted: frozenset[str]) -> dict[str, int]:
    """How many of each piece lie in the bag."""
    counts = {"long": 1, "short": 1, "nut": 2, "washer": 2}
    for name in wanted:
        number, _, rest = name.partition("_")
        for what in counts:
            if number in "12" and rest.endswith((what, f"{what}s", f"{what}_screw")) and "very" not in rest:
                counts[what] += int(number) * (-1 if "missing" in rest else 1)
    return counts


def _lengths(wanted: frozenset[str], what: str, rng: np.random.Generator) -> float:
    base = LONG if what == "long" else SHORT
    if what == "long":
        base = TOO_LONG if "screw_too_long" in wanted else base
        base = TOO_SHORT if "screw_too_short" in wanted else base
    if "2_very_short_screws" in wanted or (what == "short" and "1_very_short_screw" in wanted):
        base = VERY_SHORT
    return base * rng.normal(1.0, 0.008)


def _clutter(item: Item, others: list[_Piece]) -> float:
    """How much an item overlaps those that lie there, both seen as strings of discs."""
    total, mine = 0.0, _discs(item)
    for other in others:
        for x, y, r in _discs(other.item):
            total += sum(max(0.0, r + s - np.hypot(x - a, y - b)) for a, b, s in mine)
    return total


def _discs(item: Item) -> list[tuple[float, float, float]]:
    if item.kind != "screw":
        return [(item.pose.x, item.pose.y, item.radius() * 0.95)]
    return [(*item.pose.world(t * item.length, 0.0), 0.034) for t in np.linspace(-0.46, 0.46, 9)]


def _place(rng: np.random.Generator, bag: Bag, shape: Item, others: list[_Piece]) -> Item:
    """Drop an item into the bag: of many tries inside the bag one that covers little of the others."""
    best, least = shape, np.inf
    for attempt in range(60):
        u = rng.uniform(-BAG_X + 0.05, BAG_X - 0.05)
        # gravity: the bag was shaken and laid down, most pieces lie away from the zip
        v = BAG_Y - 0.06 - (BAG_Y * 2 - ZIP - 0.13) * rng.beta(1.0, 1.5)
        x, y = bag.pose.world(u, v)
        item = replace(shape, pose=Pose(x, y, rng.uniform(-np.pi, np.pi), shape.pose.scale))
        if not _inside(item, bag):
            continue
        clutter = _clutter(item, others) + 0.02 * rng.random()
        if clutter < least:
            best, least = item, clutter
        if least < 0.05 and attempt > 2:
            break
    return best


def _inside(item: Item, bag: Bag) -> bool:
    half = item.length / 2
    corners = [item.pose.world(s * half, 0.0) for s in (-1, 1)]
    for x, y in corners:
        u, v = bag.pose.local(np.array(x), np.array(y))
        r = item.radius() + 0.012
        if abs(u) > BAG_X - r or v > BAG_Y - r or v < -BAG_Y + ZIP + r:
            return False
    return True


def _metal(rng: np.random.Generator) -> tuple[float, float, float]:
    """Zinc, a little bluish or yellowish."""
    grey, warm = rng.uniform(0.72, 0.9), rng.normal(0.0, 0.02)
    return grey * (1.0 + warm), grey, grey * (1.02 - warm)


def _fill(rng: np.random.Generator, bag: Bag, wanted: frozenset[str]) -> list[_Piece]:
    pieces: list[_Piece] = []
    tint = _metal(rng)
    counts = _counts(wanted)
    order = [what for what in ("long", "short", "washer", "nut") for _ in range(counts[what])]
    for what in order:
        kind = "screw" if what in ("long", "short") else what
        length = _lengths(wanted, what, rng) if kind == "screw" else 0.0
        shade = float(rng.normal(1.0, 0.05))
        item = Item(
            kind, Pose(0.7, 0.55, 0.0, SCALE * float(rng.normal(1.0, 0.012))), length, _dim(tint, shade)
        )
        item = replace(item, twist=rng.uniform(0, 6.28), rough=rng.uniform(0.25, 0.45))
        pieces.append(_Piece(what, _place(rng, bag, item, pieces)))
    rng.shuffle(pieces)  # pyright: ignore[reportArgumentType]
    # large pieces below, so that nothing disappears under a screw's length by chance
    return sorted(pieces, key=lambda p: p.item.kind != "screw" and rng.random() < 0.6)


def _dim(tint: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return tint[0] * factor, tint[1] * factor, tint[2] * factor


def _damage(
    rng: np.random.Generator, pieces: list[_Piece], wanted: frozenset[str]
) -> tuple[list[_Piece], int]:
    """Apply `color` or `part_broken` to one piece; returns the pieces and its index (-1: none)."""
    name = wants(wanted, "color", "part_broken")
    if name is None:
        return pieces, -1
    index = int(rng.integers(len(pieces)))
    piece = pieces[index]
    if name == "color":
        tints = ((0.75, 0.16, 0.06), (0.85, 0.52, 0.10), (0.08, 0.20, 0.62), (0.10, 0.10, 0.11))
        item = replace(piece.item, tint=tints[int(rng.integers(4))], rough=0.6)
    elif piece.item.kind == "screw":
        item = replace(piece.item, headless=True)
    else:
        item = replace(piece.item, bite=_wedge(rng))
    pieces = [*pieces]
    pieces[index] = _Piece(piece.what, item)
    return pieces, index


def _wedge(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    a, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.0)
    angles = np.array([-width, -width * 0.4, width * 0.3, width]) + a
    radii = (0.12, 0.14, 0.14, 0.12)
    rim = [(r * np.cos(t), r * np.sin(t)) for r, t in zip(radii, angles, strict=True)]
    return ((0.012 * np.cos(a + 1.3), 0.012 * np.sin(a + 1.3)), *rim)


def _table(rng: np.random.Generator, canvas: Canvas) -> None:
    tones = ("#6d6a63", "#5e6266", "#77705f", "#66615c")
    rgb = srgb(tones[int(rng.integers(len(tones)))]) * rng.normal(1.0, 0.06)
    canvas.image[:] = textures.cloth(rng, canvas, rgb)


def _piece_mask(canvas: Canvas, item: Item) -> Mask:
    at = metalware.samples(canvas, item)
    return canvas.mask(at, item.distance(at.x, at.y)[:, 0] < 0)


def _logical(name: str, canvas: Canvas, bag: Bag, pieces: list[_Piece], inside: Mask) -> Mask:
    """Ground truth as in LOCO: what is too much is marked where it lies, what is missing in the whole bag."""
    if "missing" in name:
        return inside
    if "too" in name or "very" in name:
        chosen = [p.item for p in pieces if p.what in ("long", "short")]
        chosen = (
            chosen
            if name == "2_very_short_screws"
            else [p.item for p in pieces if p.what == ("short" if "very" in name else "long")]
        )
        if name == "screw_too_short":
            chosen = [replace(item, length=LONG) for item in chosen]
    else:
        what = next(w for w in _PART if w in name)
        chosen = [p.item for p in pieces if p.what == what]
    return np.logical_or.reduce([_piece_mask(canvas, item) for item in chosen])


def _structural(
    name: str,
    canvas: Canvas,
    rng: np.random.Generator,
    bag: Bag,
    pieces: list[_Piece],
    hit: int,
    tear: list[tuple[float, float]],
    light: Light,
    inside: Mask,
) -> Mask:
    if name == "bag_broken":
        at = canvas.box(0, 0, canvas.width, canvas.height, 1)
        return canvas.mask(
            at, (polygon(at.x, at.y, tear)[:, 0] < 0.004) & (bag.distance(at.x, at.y)[:, 0] < 0.01)
        )
    if name == "contamination":
        spot = bag.pose.world(rng.uniform(-0.42, 0.42), rng.uniform(-0.1, 0.32))
        return defects.contamination(canvas, rng, spot, rng.uniform(0.045, 0.075), light)
    item = pieces[hit].item
    if name == "color":
        return _piece_mask(canvas, item)
    whole = replace(item, bite=(), headless=False)
    at = metalware.samples(canvas, whole, 0.01)
    lost = (whole.distance(at.x, at.y)[:, 0] < 0) & (item.distance(at.x, at.y)[:, 0] > -0.012)
    if item.headless:
        u, _ = item.pose.local(at.x, at.y)
        near = u[:, 0] + item.length / 2 < metalware.HEAD_LENGTH + 0.05
    else:
        u, v = item.pose.local(at.x, at.y)
        near = polygon(u, v, item.bite)[:, 0] < 0.012
    return canvas.mask(at, lost & near)


def draw(rng: np.random.Generator, size: int, wanted: frozenset[str], subtype: str | None) -> Scene:
    """Draw one screw bag."""
    canvas, light = Canvas(size, CATEGORY.aspect), draw_light(rng)
    _table(rng, canvas)
    bag = Bag(
        Pose(0.7 + rng.normal(0, 0.015), 0.5 + rng.normal(0, 0.012), rng.normal(0, 0.025)),
        rng.uniform(0, 0.012),
    )
    inside = draw_bag(canvas, bag, light, _BAG)
    pieces, hit = _damage(rng, _fill(rng, bag, wanted), wanted)
    tear = tear_open(rng, bag) if "bag_broken" in wanted else []
    for piece in pieces:
        metalware.draw(canvas, piece.item, light, _PART[piece.what])
    regions: list[Region] = []
    for defect in DEFECTS:
        if defect.name in wanted:
            mask = (
                _logical(defect.name, canvas, bag, pieces, inside)
                if defect.kind == "logical"
                else _structural(defect.name, canvas, rng, bag, pieces, hit, tear, light, inside)
            )
            regions.append((defect.name, mask))
    draw_film(canvas, bag, rng, tear)
    return Scene(camera.develop(canvas, rng), canvas.parts, regions, subtype)


CATEGORY = Category(
    name="screw_bag",
    aspect=1.4,
    parts=PARTS,
    defects=DEFECTS,
    draw=draw,
    about="A zip bag holds exactly two ring washers, two hexagonal nuts, one long and one short screw.",
    pairs=(
        ("1_missing_washer", "1_additional_nut"),
        ("1_missing_nut", "1_additional_washer"),
        ("1_missing_short_screw", "1_additional_long_screw"),
        ("1_missing_long_screw", "1_additional_short_screw"),
    ),
)
