"""Category `pushpins`: a clear plastic box of 3 x 5 compartments with one yellow pushpin in each."""

from dataclasses import dataclass, replace

import numpy as np

from harness.datasets.demo.catalog import Category, Defect, Mask, Region, Scene, wants
from harness.datasets.demo.paint import camera, textures
from harness.datasets.demo.paint.material import Light, draw_light, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, Pose, rectangle, smoothstep
from harness.datasets.demo.things import defects
from harness.datasets.demo.things.pushpin import AREA, HEAD, NEEDLE, Pin, draw_pin

ROWS, COLS = 3, 5
SCALE = 1.18
CELL_X, CELL_Y, WALL, RIM = 0.266, 0.292, 0.008, 0.016  # pitch of the compartments, half widths of the walls
BOX_X, BOX_Y = COLS * CELL_X / 2, ROWS * CELL_Y / 2
PARTS = ("background", "clear plastic box", "plastic divider wall", "yellow pushpin", "metal needle")
_FLOOR, _WALL, _PIN, _NEEDLE = range(1, 5)
_A_PIN = SCALE**2 * AREA

DEFECTS = (
    Defect("1_additional_pushpin", "logical", _A_PIN),
    Defect("2_additional_pushpins", "logical", 2 * _A_PIN),
    Defect("missing_pushpin", "logical", _A_PIN),
    Defect("missing_separator", "logical"),
    Defect("front_bent", "structural"),
    Defect("broken", "structural"),
    Defect("color", "structural"),
    Defect("contamination", "structural"),
    Defect("box_cracked", "structural"),
)


@dataclass(frozen=True)
class _Box:
    pose: Pose
    gap: tuple[int, int, bool] | None = None  # (row, column, vertical) of a wall piece that is missing

    def walls(self, x: Array, y: Array) -> Array:
        """Signed distance to the dividers and the rim, seen from above."""
        u, v = self.pose.local(x, y)
        a, b = (u + BOX_X) / CELL_X, (v + BOX_Y) / CELL_Y
        k, m = np.clip(np.rint(a), 1, COLS - 1), np.clip(np.rint(b), 1, ROWS - 1)
        upright, level = np.abs(a - k) * CELL_X - WALL, np.abs(b - m) * CELL_Y - WALL
        if self.gap:
            row, col, vertical = self.gap
            if vertical:
                upright = np.where((k == col) & (np.floor(b) == row), 1.0, upright)
            else:
                level = np.where((m == row) & (np.floor(a) == col), 1.0, level)
        outer = rectangle(u, v, BOX_X, BOX_Y, 0.03)
        inner = np.minimum(upright, level)
        return np.minimum(np.maximum(inner, outer), np.abs(outer) - RIM)

    def outer(self, x: Array, y: Array) -> Array:
        u, v = self.pose.local(x, y)
        return rectangle(u, v, BOX_X, BOX_Y, 0.03) - RIM

    def cell(self, x: Array, y: Array, row: int, col: int, inset: float = WALL) -> Array:
        """Signed distance to the floor of one compartment."""
        cu, cv = _centre(row, col)
        u, v = self.pose.local(x, y)
        return rectangle(u - cu, v - cv, CELL_X / 2 - inset, CELL_Y / 2 - inset, 0.01)


def _centre(row: float, col: float) -> tuple[float, float]:
    return (col + 0.5) * CELL_X - BOX_X, (row + 0.5) * CELL_Y - BOX_Y


def _drop(
    rng: np.random.Generator, box: _Box, cell: tuple[int, int], others: list[Pin], rgb: np.ndarray
) -> Pin:
    """A pin at a random place and angle in a compartment; with company, the least entangled of some tries."""
    best, least = None, np.inf
    while best is None or least > 0.01:
        angle, scale = rng.uniform(-np.pi, np.pi), SCALE * rng.normal(1.0, 0.012)
        reach = scale * (HEAD + NEEDLE) / 2
        rx = CELL_X / 2 - WALL - 0.002 - max(abs(np.cos(angle)) * reach, 0.046)
        ry = CELL_Y / 2 - WALL - 0.002 - max(abs(np.sin(angle)) * reach, 0.046)
        cu, cv = _centre(*cell)
        rx, ry = max(rx, 0.004), max(ry, 0.004)
        x, y = box.pose.world(cu + rng.uniform(-rx, rx), cv + rng.uniform(-ry, ry))
        tone = tuple(float(c) for c in rgb * rng.normal(1.0, 0.04))
        pin = Pin(Pose(x, y, box.pose.angle + angle, scale), (tone[0], tone[1], tone[2]), cell=cell)
        overlap = sum(max(0.0, 0.13 - _apart(pin, o)) for o in others)
        if overlap < least:
            best, least = pin, overlap
        least -= 0.0012  # settle for less, try by try
    return best


def _apart(a: Pin, b: Pin) -> float:
    """Distance of the heads of two pins."""
    (ax, ay), (bx, by) = a.pose.world(-NEEDLE / 2, 0.0), b.pose.world(-NEEDLE / 2, 0.0)
    return float(np.hypot(ax - bx, ay - by))


def _pins(
    rng: np.random.Generator, box: _Box, wanted: frozenset[str]
) -> tuple[list[Pin], dict[str, list[tuple[int, int]]]]:
    """All pins and, per logical defect, the compartments it concerns."""
    cells = [(row, col) for row in range(ROWS) for col in range(COLS)]
    odd = [cells[i] for i in rng.permutation(len(cells))[:4]]
    spots = {"1_additional_pushpin": odd[:1], "missing_pushpin": odd[1:2], "2_additional_pushpins": odd[2:4]}
    if rng.random() < 0.4:
        spots["2_additional_pushpins"] = odd[2:3] * 2
    rgb, pins = srgb("#e8c313") * rng.normal(1.0, 0.04), []
    for cell in cells:
        number = 1 - ("missing_pushpin" in wanted and cell in spots["missing_pushpin"])
        for name in ("1_additional_pushpin", "2_additional_pushpins"):
            number += spots[name].count(cell) * (name in wanted)
        here: list[Pin] = []
        for _ in range(number):
            here.append(_drop(rng, box, cell, here, rgb))
        pins += here
    return pins, spots


def _damage(rng: np.random.Generator, pins: list[Pin], name: str) -> tuple[list[Pin], int]:
    index = int(rng.integers(len(pins)))
    pin = pins[index]
    if name == "front_bent":
        pin = replace(pin, bend=float(rng.choice([-1.0, 1.0])) * rng.uniform(0.7, 1.3))
    elif name == "broken":
        pin = replace(pin, head_from=rng.uniform(0.045, 0.072))
    elif name == "color":
        tones = ("#b0301c", "#2c5aa0", "#2f8a3a", "#5a3418", "#f2efe8")
        rgb = srgb(tones[int(rng.integers(len(tones)))])
        pin = replace(pin, rgb=(float(rgb[0]), float(rgb[1]), float(rgb[2])))
    return [*pins[:index], pin, *pins[index + 1 :]], index


def _draw_box(canvas: Canvas, box: _Box, rng: np.random.Generator, light: Light) -> None:
    """The tray: shadow on the table, frosted floor, dividers with bright edges and their shadows."""
    at = canvas.box(0, 0, canvas.width, canvas.height, 1)
    ox, oy = light.cast(0.05)
    canvas.shadow(at, box.outer(at.x - ox, at.y - oy), 0.04, 0.5)
    outer = box.outer(at.x, at.y)
    frost = textures.field(rng, canvas, 0.008) * 0.012 + textures.field(rng, canvas, 0.25, 2) * 0.03
    tone = srgb("#a9adb0") * rng.normal(1.0, 0.05)
    floor = (0.62 + frost.ravel()[:, None, None]) * tone
    canvas.paint(at, at.cover(outer) * 0.88, floor)
    d = box.walls(at.x, at.y)
    ox, oy = light.cast(0.035)
    inside = at.cover(outer)
    canvas.multiply(at, 1.0 - inside * (0.30 * smoothstep(0.012, -0.012, box.walls(at.x - ox, at.y - oy))))
    canvas.multiply(at, 1.0 - inside * 0.22 * np.exp(-np.maximum(d, 0.0) / 0.022))
    _shine(canvas, box, rng)
    _draw_walls(canvas, box, light, rng)
    canvas.parts[canvas.mask(at, outer[:, 0] < 0)] = _FLOOR
    canvas.parts[canvas.mask(at, d[:, 0] < 0)] = _WALL


def _shine(canvas: Canvas, box: _Box, rng: np.random.Generator) -> None:
    """Lamps mirrored in the floor, and dust: no two boxes have them at the same places."""
    for _ in range(int(rng.integers(1, 5))):
        spot = Pose(*box.pose.world(rng.uniform(-0.6, 0.6), rng.uniform(-0.4, 0.4)), rng.uniform(0, np.pi))
        wide, far = rng.uniform(0.03, 0.10), rng.uniform(0.08, 0.25)
        at = canvas.capsule(spot.world(-far, 0.0), spot.world(far, 0.0), 2 * wide, 1)
        u, v = spot.local(at.x, at.y)
        canvas.add(at, rng.uniform(0.02, 0.12) * np.exp(-((u / far) ** 2) - (v / wide) ** 2))
    for _ in range(int(rng.integers(0, 12))):
        x, y = box.pose.world(rng.uniform(-0.62, 0.62), rng.uniform(-0.4, 0.4))
        at = canvas.disc(x, y, 0.008)
        tone = srgb("#c8c2b4") if rng.random() < 0.5 else srgb("#3a342c")
        canvas.paint(at, at.cover(np.hypot(at.x - x, at.y - y) - rng.uniform(0.002, 0.0045)) * 0.7, tone)


def _draw_walls(canvas: Canvas, box: _Box, light: Light, rng: np.random.Generator) -> None:
    at = canvas.box(0, 0, canvas.width, canvas.height, 1)
    d = box.walls(at.x, at.y)
    near = d[:, 0] < 2 * canvas.px
    at = canvas.points(at.rows[near], at.cols[near])
    d = box.walls(at.x, at.y)
    gx = (box.walls(at.x + 2e-3, at.y) - d) / 2e-3
    gy = (box.walls(at.x, at.y + 2e-3) - d) / 2e-3
    tilt = smoothstep(-0.008, -0.001, d)
    lit = np.clip(gx * light.x + gy * light.y, -1.0, 1.0) * tilt
    gleam = 0.5 + 0.5 * np.clip(textures.field(rng, canvas, 0.12, 2)[at.rows, at.cols][:, None], -1, 1)
    value = (
        0.46 + 0.40 * np.maximum(lit, 0.0) * (0.6 + 0.6 * gleam) - 0.26 * np.maximum(-lit, 0.0) + 0.08 * gleam
    )
    canvas.paint(at, at.cover(d) * 0.92, value[..., None] * srgb("#dde3e6"))


def _pin_mask(canvas: Canvas, pins: list[Pin]) -> Mask:
    x, y = np.broadcast_arrays(*canvas.grid())
    return np.logical_or.reduce([pin.distance(x, y) < 0.002 for pin in pins])


def _logical(
    name: str, canvas: Canvas, box: _Box, pins: list[Pin], spots: dict[str, list[tuple[int, int]]]
) -> Mask:
    x, y = np.broadcast_arrays(*canvas.grid())
    if name == "missing_separator":
        return (replace(box, gap=None).walls(x, y) < 0) & (box.walls(x, y) >= 0)
    if name == "missing_pushpin":
        return box.cell(x, y, *spots[name][0]) < 0
    return _pin_mask(canvas, [pin for pin in pins if pin.cell in spots[name]])


def _crack(canvas: Canvas, rng: np.random.Generator, box: _Box) -> Mask:
    """A crack in the floor, from somewhere in the box towards its middle; the pins lie over it."""
    dark, bright = np.array([0.04, 0.04, 0.045]), np.array([0.85, 0.88, 0.9])
    spot = box.pose.world(rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3))
    inwards = np.arctan2(box.pose.y - spot[1], box.pose.x - spot[0]) + rng.normal(0, 0.4)
    return defects.crack(canvas, rng, spot, inwards, rng.uniform(0.26, 0.36), dark, bright)


def _structural(
    name: str, canvas: Canvas, rng: np.random.Generator, box: _Box, pin: Pin, light: Light
) -> Mask:
    cu, cv = _centre(float(rng.integers(ROWS)), float(rng.integers(COLS)))
    spot = box.pose.world(cu + rng.uniform(-0.06, 0.06), cv + rng.uniform(-0.06, 0.06))
    if name == "contamination":
        return defects.contamination(canvas, rng, spot, rng.uniform(0.046, 0.07), light)
    x, y = np.broadcast_arrays(*canvas.grid())
    if name == "color":
        return pin.head(x, y) < 0.002
    if name == "front_bent":
        return (pin.needle(x, y) < 0.003) | (replace(pin, bend=0.0).needle(x, y) < 0.001)
    u, _ = pin.pose.local(x, y)
    whole = replace(pin, head_from=0.0)
    return (whole.head(x, y) < 0.002) & (u + (HEAD + NEEDLE) / 2 < pin.head_from + 0.012)


def draw(rng: np.random.Generator, size: int, wanted: frozenset[str], subtype: str | None) -> Scene:
    """Draw one box of pushpins."""
    canvas, light = Canvas(size, CATEGORY.aspect), draw_light(rng)
    tone = ("#8a7a63", "#7d7469", "#6f7377")[int(rng.integers(3))]
    canvas.image[:] = textures.wood(rng, canvas, srgb(tone) * rng.normal(0.9, 0.06))
    gap = None
    if "missing_separator" in wanted:
        vertical = bool(rng.random() < 0.7)
        row, col = int(rng.integers(ROWS)), int(rng.integers(COLS))
        gap = (row, max(col, 1), True) if vertical else (max(row, 1), col, False)
    box = _Box(Pose(0.75 + rng.normal(0, 0.01), 0.5 + rng.normal(0, 0.008), rng.normal(0, 0.012)), gap)
    _draw_box(canvas, box, rng, light)
    pins, spots = _pins(rng, box, wanted)
    name = wants(wanted, "front_bent", "broken", "color")
    pins, hit = _damage(rng, pins, name) if name else (pins, 0)
    crack = _crack(canvas, rng, box) if "box_cracked" in wanted else None
    for pin in pins:
        draw_pin(canvas, pin, light, (_PIN, _NEEDLE))
    regions: list[Region] = [] if crack is None else [("box_cracked", crack)]
    for defect in DEFECTS:
        if defect.name in wanted and defect.kind == "logical":
            regions.append((defect.name, _logical(defect.name, canvas, box, pins, spots)))
        elif defect.name in wanted and defect.name != "box_cracked":
            regions.append((defect.name, _structural(defect.name, canvas, rng, box, pins[hit], light)))
    return Scene(camera.develop(canvas, rng), canvas.parts, regions, subtype)


CATEGORY = Category(
    name="pushpins",
    aspect=1.5,
    parts=PARTS,
    defects=DEFECTS,
    draw=draw,
    about="A box with 3 x 5 compartments; each holds exactly one yellow pushpin.",
    pairs=(("1_additional_pushpin", "missing_pushpin"), ("missing_pushpin", "missing_separator")),
)
