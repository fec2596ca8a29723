"""Crops of an image, the elements of each projected onto random directions, through the artifact store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from methods.shared.backbones.features import FeatureSpec
from methods.shared.onepass import OnePass
from methods.shared.pixels import RGB, Geometry, batches, native_size, resized

if TYPE_CHECKING:
    from torch import Tensor

PIXELS = "pixels"
PIXELS_RATIO = 0.999  # of the only crop whose pixels are a set
STEPS = 4  # the stride is a quarter of the canvas
Box = tuple[int, int, int]  # top, left, side
Readings = Mapping[str, NDArray[Any]]


@final
@dataclass(frozen=True)
class CropSpec:
    """What is kept of an image.

    Attributes:
        features: the network, its layers, and the size to which crops are resized.
        side: of the square canvas on which the image lies.
        ratios: sides of crops, as parts of it.
        projections: directions per crop and layer.
        seed: of the directions.
    """

    features: FeatureSpec
    side: int
    ratios: tuple[float, ...]
    projections: int
    seed: int

    def boxes(self, ratio: float) -> list[Box]:
        """Where the crops of one size lie, row by row."""
        size = max(1, int(self.side * ratio))
        starts = range(0, self.side - size + 1, max(1, self.side // STEPS))
        return [(top, left, size) for top, left in product(starts, starts)]

    @property
    def every_box(self) -> list[Box]:
        """The crops of all sizes, one size after the other."""
        return [box for ratio in self.ratios for box in self.boxes(ratio)]

    def ops(self, device: str) -> dict[str, Op]:
        """Name of what is kept -> its operation, in the order of the names."""
        made = {"side": self.side, "ratios": self.ratios, "projections": self.projections, "seed": self.seed}
        found = {
            layer: Op("set_projections", {**self.features.op(layer, device).params, **made})
            for layer in self.features.layers
        }
        where = {"side": self.side, "ratio": PIXELS_RATIO, "size": self.features.geometry.height}
        return dict(sorted({**found, PIXELS: Op("set_pixels", where)}.items()))


def readings(images: ImageSet, spec: CropSpec, store: ArtifactStore, device: str) -> list[Readings]:
    """What is kept of every image, read-only.

    Returns:
        layer -> float16 (crops, projections, elements), the elements of each crop's feature map projected
        onto the directions of that crop; and PIXELS -> uint8 (size, size, 3).

    Raises:
        ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
    """
    names = [*spec.features.layers, PIXELS]
    return [each for part in batches(images, 8) for each in _pass(part, spec, store, device).arrays(names)]


def _pass(images: ImageSet, spec: CropSpec, store: ArtifactStore, device: str) -> OnePass:
    def run(indices: list[int]) -> list[Readings]:
        store.counters["backbone_passes"] += len(indices)
        return [_read(canvas, spec, device) for canvas in _canvases(images.subset(indices), spec, store)]

    return OnePass(store, images.keys(), spec.ops(device), run)


def _canvases(images: ImageSet, spec: CropSpec, store: ArtifactStore) -> list[RGB]:
    """Images with a longer side of `side` at the top left of a black square."""
    found = []
    for i in range(len(images)):
        geometry = Geometry.longer(spec.side, native_size(images, i))
        pixels = resized(images.subset([i]), geometry, store)[0]
        over = [(0, spec.side - n) for n in pixels.shape[:2]]
        found.append(np.pad(pixels, [*over, (0, 0)]))
    return found


def _read(canvas: RGB, spec: CropSpec, device: str) -> Readings:
    from methods.shared.backbones.frozen import half, load, on_host

    network = spec.features
    size = network.geometry.height
    crops = [crop(canvas, box, size) for box in spec.every_box]
    maps = load(network.file, tuple(sorted(network.layers)), device, network.precision)(crops)
    projected = {
        layer: half(_projected([each[layer] for each in maps], layer, spec, device))
        for layer in network.layers
    }
    pixels = crop(canvas, (0, 0, max(1, int(spec.side * PIXELS_RATIO))), size)
    return {**on_host(projected), PIXELS: pixels}


def crop(canvas: RGB, box: Box, size: int) -> RGB:
    """A part of a canvas as (size, size, 3), every pixel the nearest one."""
    top, left, side = box
    at = np.arange(size) * side // size
    return np.ascontiguousarray(canvas[top + at[:, None], left + at])


def _projected(maps: Sequence[NDArray[Any]], layer: str, spec: CropSpec, device: str) -> "Tensor":
    import torch

    elements = torch.from_numpy(np.stack([each.reshape(len(each), -1) for each in maps]).astype(np.float32))
    crops, channels, _ = elements.shape
    drawn = directions(spec.seed, layer, crops, spec.projections, channels, device)
    return torch.bmm(drawn, elements.to(device))


@lru_cache(maxsize=2)
def directions(
    seed: int, layer: str, crops: int, projections: int, channels: int, device: str = "cpu"
) -> "Tensor":
    """Random directions of a layer's crops, float32 (crops, projections, channels)."""
    import torch

    drawn = [drawn_directions(seed, layer, crop, projections, channels) for crop in range(crops)]
    return torch.from_numpy(np.stack(drawn)).to(device)


def drawn_directions(seed: int, name: str, place: int, number: int, channels: int) -> NDArray[np.float32]:
    """Random directions of one set, N(0, 1) and not normalised, (number, channels)."""
    return np.random.default_rng([seed, place, *name.encode()]).standard_normal(
        (number, channels), np.float32
    )
