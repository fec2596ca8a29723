"""A stroke font for printed labels: letters as polylines on a unit cell."""

import numpy as np

from harness.datasets.demo.paint.raster import Array, polyline

_BOWL = [(0.0, 0.0), (0.4, 0.0), (0.6, 0.12), (0.6, 0.38), (0.4, 0.5), (0.0, 0.5)]
_GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "P": [[(0.0, 1.0), *_BOWL]],
    "R": [[(0.0, 1.0), *_BOWL], [(0.3, 0.5), (0.62, 1.0)]],
    "U": [[(0.0, 0.0), (0.0, 0.75), (0.12, 0.95), (0.3, 1.0), (0.48, 0.95), (0.6, 0.75), (0.6, 0.0)]],
    "E": [[(0.58, 0.0), (0.0, 0.0), (0.0, 1.0), (0.58, 1.0)], [(0.0, 0.5), (0.48, 0.5)]],
    "J": [[(0.55, 0.0), (0.55, 0.78), (0.42, 0.97), (0.2, 1.0), (0.04, 0.86)]],
    "I": [[(0.3, 0.0), (0.3, 1.0)], [(0.12, 0.0), (0.48, 0.0)], [(0.12, 1.0), (0.48, 1.0)]],
    "C": [[(0.58, 0.16), (0.44, 0.02), (0.22, 0.0), (0.04, 0.18), (0.0, 0.5),
           (0.04, 0.82), (0.22, 1.0), (0.44, 0.98), (0.58, 0.84)]],
    " ": [],
}  # fmt: skip
ADVANCE = 0.86


def width(text: str, height: float) -> float:
    """Width of a line of text."""
    return (len(text) * ADVANCE - (ADVANCE - 0.6)) * height


def strokes(u: Array, v: Array, text: str, height: float) -> Array:
    """Distance to the strokes of a centred line of text."""
    best = np.full(u.shape, np.inf)
    left = -width(text, height) / 2
    for i, letter in enumerate(text):
        for glyph in _GLYPHS[letter]:
            points = [(left + (i * ADVANCE + x) * height, (y - 0.5) * height) for x, y in glyph]
            np.minimum(best, polyline(u, v, points), out=best)
    return best
