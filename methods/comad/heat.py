"""Clusters of tokens, and what of an image belongs to which: one heat map per cluster."""

import hashlib
from dataclasses import dataclass
from typing import Any, final

import cv2
import numpy as np
from numpy.typing import NDArray

from methods.comad.components import Heat
from methods.comad.lattice import Filter, mean_field, over_places, permutohedral

Tokens = NDArray[np.float64]
STARTS, STEPS = 10, 300  # of K-means, as scikit-learn's
SURE = 128  # heat of probability 1
PLACES, SMOOTH = 1.0, 3.0  # standard deviation in pixels, weight
FAR_PLACES, COLOURS, ALIKE = 67.0, 3.0, 4.0  # pixels, grey levels, weight


def unit(rows: Tokens) -> Tokens:
    """Rows of length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def coreset(tokens: Tokens, number: int) -> Tokens:
    """Tokens of one image of which each is the farthest from those before; begins farthest from the mean."""
    far = np.linalg.norm(tokens - tokens.mean(axis=0), axis=1)
    chosen = [int(far.argmax())]
    least = np.linalg.norm(tokens - tokens[chosen[0]], axis=1)
    for _ in range(number - 1):
        chosen.append(int(least.argmax()))
        least = np.minimum(least, np.linalg.norm(tokens - tokens[chosen[-1]], axis=1))
    return tokens[chosen]


def centres(tokens: Tokens, number: int, seed: int) -> Tokens:
    """K-means of rows (n, d), begun as K-means++; the best of ten. At most as many as different rows."""
    number = min(number, len(np.unique(tokens, axis=0)))
    rng = np.random.default_rng(seed)
    found = [_settled(tokens, _spread(tokens, number, rng)) for _ in range(STARTS)]
    return min(found, key=lambda each: each[0])[1]


def _settled(tokens: Tokens, middles: Tokens) -> tuple[float, Tokens]:
    """Lloyd's steps until nothing moves: (sum of squared distances, centres). An empty cluster stays."""
    labels = np.full(len(tokens), -1)
    for _ in range(STEPS):
        squares = np.square(tokens[:, None] - middles).sum(axis=2)
        if np.array_equal(labels, labels := squares.argmin(axis=1)):
            break
        middles = np.stack(
            [tokens[labels == i].mean(axis=0) if (labels == i).any() else m for i, m in enumerate(middles)]
        )
    return float(np.square(tokens - middles[labels]).sum()), middles


def _spread(tokens: Tokens, number: int, rng: np.random.Generator) -> Tokens:
    """K-means++: each drawn with the square of its distance to those before."""
    chosen = [int(rng.integers(len(tokens)))]
    while len(chosen) < number:
        square = np.square(tokens[:, None] - tokens[chosen]).sum(axis=2).min(axis=1)
        chosen.append(int(rng.choice(len(tokens), p=square / square.sum())))
    return tokens[chosen]


@final
@dataclass(frozen=True, eq=False)
class Heater:
    """From tokens to heat maps.

    Attributes:
        centres: of the clusters, of length 1, (clusters, d).
        iterations: of the mean field; 0 for none.
        jpeg: whether heat maps make the detour through a lossy file, as the authors' do.
    """

    centres: Tokens
    iterations: int
    jpeg: bool

    @property
    def identity(self) -> dict[str, Any]:
        """What heat maps depend on besides tokens and pixels, for keys of stored ones."""
        middles = hashlib.sha256(np.ascontiguousarray(self.centres).tobytes()).hexdigest()
        return {"centres": middles, "iterations": self.iterations, "jpeg": self.jpeg}

    def maps(self, tokens: Tokens, grid: tuple[int, int], image: NDArray[np.uint8]) -> list[Heat]:
        """One map per cluster, as large as the image.

        Args:
            tokens: (rows * columns, d).
            grid: (rows, columns).
            image: RGB, uint8 (h, w, 3).
        """
        cosines = unit(tokens) @ self.centres.T
        warm = np.maximum(cosines - cosines.mean(axis=0), 0).reshape(*grid, -1)
        h, w = image.shape[:2]
        logits = enlarged(warm, (h, w)).reshape(h * w, -1)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        if self.iterations:
            p = mean_field(p, _kernels(image), self.iterations)
        heats = np.round(SURE * p).astype(np.uint8).reshape(h, w, -1)
        return [self._kept(np.ascontiguousarray(heats[..., i])) for i in range(heats.shape[2])]

    def _kept(self, heat: Heat) -> Heat:
        if not self.jpeg:
            return heat
        return np.asarray(cv2.imdecode(cv2.imencode(".jpg", heat)[1], cv2.IMREAD_GRAYSCALE), np.uint8)


def _kernels(image: NDArray[np.uint8]) -> list[tuple[float, Filter]]:
    h, w = image.shape[:2]
    places = np.indices((h, w)).reshape(2, -1).T / FAR_PLACES
    features = np.concatenate([places, image.reshape(-1, 3) / COLOURS], axis=1)
    return [(SMOOTH, over_places((h, w), PLACES)), (ALIKE, permutohedral(features))]


def enlarged(maps: Tokens, shape: tuple[int, int]) -> Tokens:
    """Bilinear, corner to corner: (rows, columns, m) as large as `shape`."""
    return _along(_along(maps, shape[0], 0), shape[1], 1)


def _along(maps: Tokens, size: int, axis: int) -> Tokens:
    old = maps.shape[axis]
    at = np.linspace(0, old - 1, size)
    low = np.minimum(at.astype(int), max(old - 2, 0))
    part = np.expand_dims(at - low, tuple(range(1, maps.ndim - axis)))
    high = np.minimum(low + 1, old - 1)
    return (1 - part) * maps.take(low, axis) + part * maps.take(high, axis)
