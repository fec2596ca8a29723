"""Where the textures come from: a folder of pictures, or pictures that are drawn here and need no file.

Drawn ones are of four kinds, each with what photographs of surfaces have: spectra that fall with frequency,
threads, cells with borders, spots of one size. They are the same pictures for every trial, as a folder's are.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from harness.artifacts import ArtifactStore
from harness.data import ImageSet
from methods.shared.pixels import Geometry, resized

DRAWN = 500  # pictures; DTD, the authors' folder, has 5,640
SEED = 1009  # of the drawn pictures, whatever a trial's seeds are
KEPT = 2**28  # bytes of pictures that stay in memory
Array = NDArray[np.float64]


class Pictures(Protocol):
    """A row of pictures."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """One of them, uint8 (side, side, 3)."""
        ...


@final
class Folder:
    """The pictures of a folder, resized to squares.

    Args:
        paths: of the pictures.
        side: in pixels.
        store: keeps them at that size.
    """

    def __init__(self, paths: tuple[Path, ...], side: int, store: ArtifactStore) -> None:
        self.paths, self.side, self.store = paths, side, store

    def __len__(self) -> int:
        """How many there are."""
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """One of them; DataError where it cannot be read."""
        path = self.paths[index]
        return resized(ImageSet((path.name,), (path,)), Geometry.square(self.side), self.store)[0]


@final
class Drawn:
    """Pictures that are drawn.

    Args:
        side: in pixels.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def __len__(self) -> int:
        """How many there are."""
        return DRAWN

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """One of them, of the four kinds in turn."""
        rng = np.random.default_rng([SEED, index])
        picture = KINDS[index % len(KINDS)](rng, self.side)
        low, high = np.quantile(picture, (0.01, 0.99))
        return np.rint(255 * ((picture - low) / max(high - low, 1e-9)).clip(0, 1)).astype(np.uint8)


@final
class Textures:
    """Pictures as tensors, each made once as long as there is room.

    Args:
        pictures: to choose from.
        device: of the tensors.
    """

    def __init__(self, pictures: Pictures, device: str) -> None:
        self.pictures, self.device = pictures, device
        self._kept: dict[int, Tensor] = {}

    def drawn(self, rng: np.random.Generator) -> Tensor:
        """One of the pictures, uint8 (3, side, side)."""
        index = int(rng.integers(len(self.pictures)))
        found = self._kept.get(index)
        if found is None:
            picture = np.ascontiguousarray(self.pictures[index].transpose(2, 0, 1))
            found = torch.from_numpy(picture).to(self.device)
            if (len(self._kept) + 1) * found.numel() <= KEPT:
                self._kept[index] = found
        return found


def _clouds(rng: np.random.Generator, side: int) -> Array:
    """Two colours, and a third, mixed by noise without a scale of its own."""
    first, second = (_noise(rng, side, rng.uniform(1, 3))[..., None] for _ in range(2))
    a, b, c = _colours(rng, 3)
    t, u = _steep(first, rng.uniform(1, 4)), _steep(second, rng.uniform(1, 4))
    return a + t * (b - a) + u * (c - b)


def _threads(rng: np.random.Generator, side: int) -> Array:
    """Stripes in one or two directions, bent, with a grain."""
    y, x = np.mgrid[:side, :side] / side
    bend = rng.uniform(0, 0.08) * _noise(rng, side, 3)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(4, 40)
    along = np.sin(2 * np.pi * pitch * (x * np.cos(angle) + y * np.sin(angle) + bend))
    across = np.sin(2 * np.pi * pitch * (y * np.cos(angle) - x * np.sin(angle) + bend))
    t = _steep(along + rng.choice([0.0, 1.0]) * across + 0.3 * _noise(rng, side, 1), 3)[..., None]
    a, b = _colours(rng, 2)
    return a + t * (b - a)


def _cells(rng: np.random.Generator, side: int) -> Array:
    """Cells around random points, each of its own colour, with dark borders."""
    points = rng.uniform(0, side, (int(np.exp(rng.uniform(2.5, 5.5))), 2))
    places = np.moveaxis(np.indices((side, side)), 0, -1).reshape(-1, 2)
    distance, nearest = KDTree(points).query(places, k=2)
    fill = _colours(rng, len(points))[np.asarray(nearest)[:, 0]]
    border = 1 - np.exp(-(distance[:, 1] - distance[:, 0]) / rng.uniform(0.005, 0.02) / side)
    grain = 1 + 0.1 * _noise(rng, side, 1.5)[..., None]
    return (fill * border[:, None]).reshape(side, side, 3) * grain


def _spots(rng: np.random.Generator, side: int) -> Array:
    """A band of frequencies, made steep: spots and labyrinths of about one size."""
    period = rng.uniform(0.02, 0.15)
    band = _filtered(rng, side, lambda f: np.exp(-8 * (f * side * period - 1) ** 2))
    t = _steep(band - rng.uniform(-1, 1), rng.uniform(2, 8))[..., None]
    a, b = _colours(rng, 2)
    return (a + t * (b - a)) * (1 + 0.1 * _noise(rng, side, 1)[..., None])


KINDS: Final[tuple[Callable[[np.random.Generator, int], Array], ...]] = (_clouds, _threads, _cells, _spots)


def _colours(rng: np.random.Generator, number: int) -> Array:
    return rng.uniform(0, 1, (number, 3))


def _steep(values: Array, slope: float) -> Array:
    return 1 / (1 + np.exp(-slope * values))


def _noise(rng: np.random.Generator, side: int, exponent: float) -> Array:
    """Noise of unit deviation whose power falls with frequency to this exponent."""
    return _filtered(rng, side, lambda f: f ** (-exponent / 2))


def _filtered(rng: np.random.Generator, side: int, amplitude: Callable[[Array], Array]) -> Array:
    """White noise (side, side) with its amplitudes at frequencies (cycles per pixel) changed."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * amplitude(frequency.clip(1 / side / 2))
    spectrum[0, 0] = 0
    values = np.fft.irfft2(spectrum, (side, side))
    return values / max(values.std(), 1e-9)
