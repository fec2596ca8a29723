"""Cables and lever clamps of `splicing_connectors`: shapes, shading, masks."""

from dataclasses import dataclass

import numpy as np

from harness.datasets.demo.catalog import Mask
from harness.datasets.demo.paint.material import Light, bevel, highlight, normalise, plastic, srgb
from harness.datasets.demo.paint.raster import Array, Canvas, Pose, Samples, gradient, rectangle, smoothstep

PITCH, DEPTH, MARGIN = (
    0.083,
    0.25,
    0.018,
)  # of the clamps, of the body along the cable, of the body beside the clamps
CABLE_R = 0.0190
_LOOK = 3
LEVER = (0.070, 0.029)  # half sizes
_BODY, _ORANGE, _DARK = srgb("#b9bdb9"), srgb("#e0701a"), srgb("#26282a")


@dataclass(frozen=True)
class Connector:
    """A lever clamp; in its frame the cables enter at +u and clamp i lies at v = (i - (n-1)/2) pitch.

    `bite` is a half-plane (cos, sin, offset) beyond which the body has broken off.
    """

    pose: Pose
    clamps: int
    flipped: bool = False
    opened: int = -1
    bite: tuple[float, float, float] | None = None
    lever: tuple[float, float, float] = (float(_ORANGE[0]), float(_ORANGE[1]), float(_ORANGE[2]))
    mirror: bool = False

    def half(self) -> tuple[float, float]:
        """Half sizes of the body."""
        return DEPTH / 2, self.clamps * PITCH / 2 + MARGIN

    def clamp(self, i: int) -> float:
        """V of clamp number i, counted from the top of the image in both connectors."""
        v = (i - (self.clamps - 1) / 2) * PITCH
        return -v if self.mirror else v

    def body(self, x: Array, y: Array) -> Array:
        """Signed distance to the body."""
        u, v = self.pose.local(x, y)
        d = rectangle(u, v, *self.half(), 0.018)
        if self.bite:
            c, s, off = self.bite
            d = np.maximum(d, c * u + s * v - off + 0.006 * np.sin(150.0 * (c * v - s * u)))
        return d * self.pose.scale

    def mouth(self, i: int, out: float = 0.0) -> tuple[float, float]:
        """Where the cable enters clamp i, `out` units outside the body."""
        return self.pose.world(DEPTH / 2 + out, self.clamp(i))


def _lever_at(connector: Connector, i: int) -> tuple[float, float]:
    shift = -0.075 if i == connector.opened else 0.0
    return -0.040 + shift, connector.clamp(i)


def draw_connector(canvas: Canvas, connector: Connector, light: Light, parts: tuple[int, int]) -> None:
    """Paint shadow, clear body with its metal inside, and the levers; `parts`: body, lever."""
    x, y = connector.pose.x, connector.pose.y
    reach = (float(np.hypot(*connector.half())) + 0.09) * connector.pose.scale
    wide = canvas.box(x - reach, y - reach, x + reach, y + reach, 1)
    for share, soft, dark in ((0.025, 0.014, 0.45), (0.06, 0.035, 0.32)):
        ox, oy = light.cast(share)
        canvas.shadow(wide, connector.body(wide.x - ox, wide.y - oy), soft, dark)
    near = connector.body(wide.x, wide.y)[:, 0] < 0.10
    at = canvas.points(wide.rows[near], wide.cols[near])
    u, v = connector.pose.local(at.x, at.y)
    d, gu, gv = gradient(lambda a, b: rectangle(a, b, *connector.half(), 0.018), u, v)
    rgb = _body_colour(connector, u, v, d, gu, gv, light)
    canvas.paint(at, at.cover(connector.body(at.x, at.y)) * 0.95, rgb, parts[0])
    inside = connector.body(at.x, at.y)[:, 0] < 0
    canvas.parts[at.rows[inside], at.cols[inside]] = parts[0]
    if not connector.flipped:
        for i in range(connector.clamps):
            _draw_lever(canvas, at, connector, i, light, parts[1])


def _body_colour(
    connector: Connector, u: Array, v: Array, d: Array, gu: Array, gv: Array, light: Light
) -> Array:
    n = bevel(d, gu, gv, 0.018, 1.0)
    nx, ny = connector.pose.turn(n[0], n[1])
    rgb = plastic(normalise(nx, ny, n[2]), _BODY, light, 0.5, 30.0)
    cell = (v + connector.clamps * PITCH / 2) / PITCH
    inside = (cell > 0) & (cell < connector.clamps)
    off = (cell - np.floor(cell) - 0.5) * PITCH
    groove = smoothstep(0.005, 0.002, PITCH / 2 - np.abs(off)) * inside
    rgb = rgb * (1.0 - 0.45 * groove)[..., None]
    if connector.flipped:  # the plain underside with a moulded plate
        plate = smoothstep(
            0.004, 0.0, np.abs(rectangle(u, v, DEPTH / 2 - 0.04, connector.half()[1] - 0.03, 0.01))
        )
        return rgb * (0.86 - 0.3 * plate)[..., None]
    slot = rectangle(u - 0.083, off, 0.028, 0.020, 0.012)
    hole = smoothstep(0.004, -0.004, slot) * inside
    copper = np.exp(-(((u - 0.066) / 0.010) ** 2)) * smoothstep(0.020, 0.016, np.abs(off))
    tone = _DARK * 1.8 + (copper * 0.55)[..., None] * srgb("#c98a4a")
    rgb = rgb * (1 - 0.72 * hole[..., None]) + 0.72 * hole[..., None] * tone
    return rgb + (0.10 * smoothstep(0.004, 0.0, np.abs(slot + 0.001)) * inside)[..., None]


def _draw_lever(canvas: Canvas, at: Samples, connector: Connector, i: int, light: Light, part: int) -> None:
    cu, cv = _lever_at(connector, i)
    opened = i == connector.opened
    half = (LEVER[0] * (1.15 if opened else 1.0), LEVER[1])
    at = at.near(connector.pose.world(cu, cv), (half[0] + 0.06) * connector.pose.scale)
    d, gu, gv = gradient(
        lambda a, b: rectangle(a - cu, b - cv, *half, 0.010), *connector.pose.local(at.x, at.y)
    )
    if connector.bite:
        d = np.maximum(d, connector.body(at.x, at.y))
    ox, oy = light.cast(0.045 if opened else 0.010)
    su, sv = connector.pose.local(at.x - ox, at.y - oy)
    canvas.multiply(at, 1.0 - 0.4 * smoothstep(0.008, -0.006, rectangle(su - cu, sv - cv, *half, 0.010)))
    u, _ = connector.pose.local(at.x, at.y)
    n = bevel(d, gu, gv, 0.012, 1.1)
    tilt = -0.5 if opened else 0.12 * np.clip((u - cu) / half[0], -1, 1)
    nx, ny = connector.pose.turn(n[0] / n[2] + tilt, n[1] / n[2])
    rgb = plastic(normalise(nx, ny, np.ones_like(u)), np.array(connector.lever), light, 0.4, 45.0)
    grip = 1.0 - 0.22 * smoothstep(0.0035, 0.0015, np.abs(np.abs(u - cu + half[0] * 0.62) - 0.008))
    canvas.paint(at, at.cover(d), rgb * grip[..., None], part)


@dataclass(frozen=True)
class Cable:
    """A cable along a polyline (n, 2), with colour and part number; `bare` in [0, 1]: stripped stretch."""

    path: Array
    rgb: tuple[float, float, float]
    part: int
    cut: tuple[float, float] | None = None  # share of the length where it is missing
    frayed: tuple[float, float] | None = None  # share of the length where the insulation is gone


def route(rng: np.random.Generator, a: tuple[float, float], b: tuple[float, float], slack: float) -> Array:
    """A smooth path (41, 2) that leaves both ends horizontally and wanders in between."""
    reach = abs(b[0] - a[0])
    c1 = (a[0] + reach * rng.uniform(0.35, 0.6), a[1] + slack * rng.uniform(-1.0, 1.0))
    c2 = (b[0] - reach * rng.uniform(0.35, 0.6), b[1] + slack * rng.uniform(-1.0, 1.0))
    start, end = (a[0] + 0.10, a[1]), (b[0] - 0.10, b[1])
    t = np.linspace(0.0, 1.0, 41)[:, None]
    terms = [
        (1 - t) ** 5 * np.array(a),
        5 * (1 - t) ** 4 * t * np.array(start),
        10 * (1 - t) ** 3 * t**2 * np.array(c1),
        10 * (1 - t) ** 2 * t**3 * np.array(c2),
        5 * (1 - t) * t**4 * np.array(end),
        t**5 * np.array(b),
    ]
    return sum(terms[1:], terms[0])


def _nearest(path: Array, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """Distance to the path, position along it in [0, 1], and the unit direction across it.

    The path runs to the right, so that only the pieces around a sample's own x can be nearest to it.
    """
    pieces = len(path) - 1
    home = np.searchsorted(np.maximum.accumulate(path[:, 0]), x) - 1
    best = np.full(x.shape, np.inf)
    along, nx, ny = np.zeros(x.shape), np.zeros(x.shape), np.zeros(x.shape)
    for step in range(-_LOOK, _LOOK + 1):
        k = np.clip(home + step, 0, pieces - 1)
        a, b = path[k], path[k + 1]
        dx, dy = b[..., 0] - a[..., 0], b[..., 1] - a[..., 1]
        px, py = x - a[..., 0], y - a[..., 1]
        t = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0.0, 1.0)
        ex, ey = px - t * dx, py - t * dy
        d = np.hypot(ex, ey)
        closer = d < best
        best = np.where(closer, d, best)
        along = np.where(closer, (k + t) / pieces, along)
        nx, ny = np.where(closer, ex, nx), np.where(closer, ey, ny)
    safe = np.maximum(best, 1e-9)
    return best, along, nx / safe, ny / safe


def _pixels(canvas: Canvas, path: Array, r: float, supersample: int) -> Samples:
    """Pixels near a path, found piece by piece."""
    near = np.zeros((canvas.h, canvas.w), bool)
    for k in range(0, len(path) - 1, 4):
        a, b = path[k], path[min(k + 4, len(path) - 1)]
        at = canvas.capsule(a, b, r + 0.012, 1)
        near[at.rows, at.cols] = True
    rows, cols = np.nonzero(near)
    return canvas.points(rows, cols, supersample)


def draw_cable(canvas: Canvas, cable: Cable, light: Light) -> None:
    """Paint shadow and insulation, copper where it is frayed."""
    wide = _pixels(canvas, cable.path, CABLE_R + 0.035, 1)
    for share, soft, dark in ((0.012, 0.012, 0.42), (0.035, 0.030, 0.28)):
        ox, oy = light.cast(share)
        d, along, _, _ = _nearest(cable.path, wide.x - ox, wide.y - oy)
        canvas.shadow(wide, _shape(cable, d, along), soft, dark)
    at = _pixels(canvas, cable.path, CABLE_R, 2)
    d, along, nx, ny = _nearest(cable.path, at.x, at.y)
    across = np.clip(d / CABLE_R, 0.0, 0.98)
    n = (nx * across, ny * across, np.sqrt(1.0 - across**2))
    rgb = plastic(n, np.array(cable.rgb), light, 0.35, 25.0)
    if cable.frayed:
        rgb = _fray(cable, rgb, n, along, d, light)
    canvas.paint(at, at.cover(_shape(cable, d, along)), rgb, cable.part)


def _shape(cable: Cable, d: Array, along: Array) -> Array:
    radius = CABLE_R
    if cable.frayed:
        a, b = cable.frayed
        radius = CABLE_R * (1.0 - 0.35 * ((along > a) & (along < b)))
    shape = d - radius
    if cable.cut:
        a, b = cable.cut
        shape = np.where((along > a) & (along < b), 1.0, shape)
    return shape


def _fray(
    cable: Cable, rgb: Array, n: tuple[Array, Array, Array], along: Array, d: Array, light: Light
) -> Array:
    assert cable.frayed
    a, b = cable.frayed
    bare = ((along > a) & (along < b))[..., None]
    strand = 0.65 + 0.35 * np.sin(along * 900.0 + d * 700.0)
    copper = (strand * (0.5 + 0.5 * n[2]))[..., None] * srgb("#c4763a") + 0.5 * highlight(n, light, 20.0)[
        ..., None
    ]
    return np.where(bare, copper, rgb)


def cable_mask(
    canvas: Canvas, path: Array, part: tuple[float, float] = (0.0, 1.0), margin: float = 0.002
) -> Mask:
    """Pixels of a stretch of a cable."""
    at = _pixels(canvas, path, CABLE_R + margin, 1)
    d, along, _, _ = _nearest(path, at.x, at.y)
    return canvas.mask(at, ((d < CABLE_R + margin) & (along >= part[0]) & (along <= part[1]))[:, 0])


def length(path: Array) -> float:
    """Length of a path."""
    return float(np.hypot(*np.diff(path, axis=0).T).sum())
