"""From linear light to an 8-bit photograph: uneven light, vignette, lens blur, sensor noise, gamma."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from harness.datasets.demo.paint.raster import Array, Canvas


def develop(canvas: Canvas, rng: np.random.Generator, fall_off: float = 0.10) -> NDArray[np.uint8]:
    """The photograph (h, w, 3) uint8 of a finished canvas.

    Everything random here is drawn after the scene, the per-pixel noise last.
    """
    exposure, balance, lean = rng.normal(1.0, 0.035), rng.normal(0.0, 0.012, 2), rng.normal(0.0, fall_off, 2)
    blur, grain = rng.uniform(0.42, 0.6), rng.uniform(0.75, 1.25)
    light = _uneven(canvas, lean)[..., None] * exposure * np.array([1 + balance[0], 1.0, 1 + balance[1]])
    linear = canvas.image * light
    sigma = blur * max(1.0, (canvas.size / 256.0) ** 0.6)
    linear = gaussian_filter(linear, (sigma, sigma, 0.0), mode="nearest", truncate=3.0)
    return encode(linear, rng.standard_normal(linear.shape), grain)


def _uneven(canvas: Canvas, lean: Array) -> Array:
    x, y = canvas.grid()
    u, v = x / canvas.width - 0.5, y / canvas.height - 0.5
    return (1.0 + lean[0] * u + lean[1] * v) * (1.0 - 0.22 * (u * u + v * v))


def encode(linear: Array, noise: Array, grain: float) -> NDArray[np.uint8]:
    """Add shot and read noise (standard normal `noise`), roll off highlights, gamma, round."""
    deviation = grain * np.sqrt(2.2e-4 * np.maximum(linear, 0.0) + 6e-6)
    signal = np.maximum(linear + deviation * noise, 0.0)
    signal = np.where(signal > 0.8, 0.8 + 0.2 * np.tanh((signal - 0.8) / 0.2 * 0.8), signal)
    return np.rint(255.0 * np.minimum(signal, 1.0) ** (1.0 / 2.2)).astype(np.uint8)
