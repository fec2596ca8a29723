"""Procedural textures: fractal noise on the whole canvas or at sample points, and surfaces made of it."""

import numpy as np

from harness.datasets.demo.paint.raster import Array, Canvas

_TABLE = 64


def _blend(lattice: Array, n: int, size: int, cell: float) -> Array:
    """Resample the first axis of a lattice of spacing `cell` to `n` pixels, cubic B-spline."""
    at = (np.arange(n) + 0.5) / size / cell
    base = np.floor(at).astype(np.intp)
    t = (at - base)[:, None]
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    # four explicit terms instead of a matrix product: the same bits with every BLAS
    terms = [w * lattice[base + k] for k, w in enumerate(weights)]
    return (terms[0] + terms[1] + terms[2] + terms[3]) / 6.0


def field(
    rng: np.random.Generator, canvas: Canvas, cell: float | tuple[float, float], octaves: int = 1
) -> Array:
    """Smooth noise (h, w) with about zero mean and unit deviation; `cell` is the coarsest spacing (x, y).

    The lattice does not depend on the image size, so a scene looks the same at every size.
    """
    cx, cy = cell if isinstance(cell, tuple) else (cell, cell)
    total = np.zeros((canvas.h, canvas.w))
    for octave in range(octaves):
        scale = 0.5**octave
        lattice = _lattice(rng, canvas, cx * scale, cy * scale)
        if min(cx, cy) * scale < canvas.px * 0.75:
            continue
        rows = _blend(lattice, canvas.h, canvas.size, cy * scale)
        total += scale * _blend(rows.T, canvas.w, canvas.size, cx * scale).T
    # 0.48: deviation of a cubic B-spline surface over independent unit normals, mean over a cell
    return total / 0.48 / np.sqrt(sum(0.25**o for o in range(octaves)))


def _lattice(rng: np.random.Generator, canvas: Canvas, cx: float, cy: float) -> Array:
    aspect = canvas.aspect
    rows = int(max(1.0, 1.0 / aspect) * 1.02 / cy) + 6
    cols = int(max(1.0, aspect) * 1.02 / cx) + 6
    return rng.standard_normal((rows, cols))


class Noise:
    """Value noise at any points, period 64 cells; about uniform in [-1, 1]."""

    def __init__(self, rng: np.random.Generator, cell: float, octaves: int = 1) -> None:
        self.cell = cell
        self.tables = [rng.uniform(-1.0, 1.0, (_TABLE, _TABLE)) for _ in range(octaves)]

    def __call__(self, x: Array, y: Array) -> Array:
        total, scale = np.zeros(np.broadcast(x, y).shape), 1.0
        for table in self.tables:
            total += scale * _lookup(table, x / (self.cell * scale), y / (self.cell * scale))
            scale *= 0.5
        return total


def _lookup(table: Array, x: Array, y: Array) -> Array:
    fx, fy = np.floor(x), np.floor(y)
    tx, ty = x - fx, y - fy
    tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
    i, j = fx.astype(np.intp) % _TABLE, fy.astype(np.intp) % _TABLE
    i1, j1 = (i + 1) % _TABLE, (j + 1) % _TABLE
    top = table[j, i] * (1 - tx) + table[j, i1] * tx
    bottom = table[j1, i] * (1 - tx) + table[j1, i1] * tx
    return top * (1 - ty) + bottom * ty


def cloth(rng: np.random.Generator, canvas: Canvas, rgb: Array, contrast: float = 1.0) -> Array:
    """A woven surface (h, w, 3): threads in two directions, stains, uneven dye."""
    x, y = canvas.grid()
    wobble = 0.35 * field(rng, canvas, 0.12, 2)
    pitch = 0.0125
    warp = np.sin(2 * np.pi * x / pitch + wobble) * np.sin(2 * np.pi * y / pitch + wobble)
    fade = min(1.0, pitch / canvas.px / 5.0)  # threads finer than the pixels fade out instead of aliasing
    brightness = 1.0 + contrast * (
        0.05 * fade * warp + 0.05 * field(rng, canvas, 0.02, 2) + 0.06 * field(rng, canvas, 0.4, 2)
    )
    return np.maximum(brightness, 0.1)[..., None] * rgb


def board(rng: np.random.Generator, canvas: Canvas, rgb: Array, contrast: float = 1.0) -> Array:
    """A painted or laminated table top (h, w, 3): fine grain, faint long streaks, soft clouds."""
    streak = field(rng, canvas, (0.5, 0.012), 2)
    brightness = 1.0 + contrast * (
        0.022 * field(rng, canvas, 0.009) + 0.03 * streak + 0.05 * field(rng, canvas, 0.5, 3)
    )
    return np.maximum(brightness, 0.1)[..., None] * rgb


def wood(rng: np.random.Generator, canvas: Canvas, rgb: Array, contrast: float = 1.0) -> Array:
    """Planed wood (h, w, 3) with grain along x."""
    x, y = canvas.grid()
    bend = 0.05 * field(rng, canvas, (0.9, 0.25), 2)
    rings = np.sin(2 * np.pi * (y * 5.0 + bend * 5.0 + rng.uniform(0, 1) + 0.1 * x))
    fibre = field(rng, canvas, (0.22, 0.008), 2)
    brightness = 1.0 + contrast * (0.10 * rings + 0.07 * fibre + 0.05 * field(rng, canvas, 0.5, 2))
    tint = np.array([0.0, -0.03, -0.06]) * rings[..., None]
    return np.maximum(brightness[..., None] + tint, 0.1) * rgb
