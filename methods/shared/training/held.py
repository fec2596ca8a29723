"""Frozen inputs of a training: computed once per image, kept by the artifact store, given out as batches."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data import ImageSet
from harness.method import Context
from methods.shared.backbones.features import FeatureSpec, features
from methods.shared.pixels import Geometry, resized

Arrays = Mapping[str, NDArray[Any]]
LIMIT_MIB = 4096  # of a card's memory per training: 560 images of three layers of wide_resnet50_2 at 256


@final
class Held:
    """Arrays of images, by name, of which batches are made.

    On a CPU they stay as the store gives them: large ones are mapped files, which take no memory of the
    process, and without a store they are held. On a card the first ones lie there, as far as the limit goes;
    the rest is copied there batch by batch.

    Args:
        arrays: name -> array of every image, the same shapes for all.
        device: of the batches.
        limit_mib: of the card's memory.
    """

    def __init__(self, arrays: Sequence[Arrays], device: str, limit_mib: float = LIMIT_MIB) -> None:
        self.arrays, self.device = arrays, torch.device(device)
        room = 0 if self.device.type == "cpu" else int(limit_mib * 2**20)
        size = sum(array.nbytes for array in arrays[0].values())
        self.placed = [self._tensors([i]) for i in range(min(len(arrays), room // size))]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.arrays)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Arrays of some images, name -> (b, ...), floats as float32, on the device."""
        if self.placed:
            rows = [self.placed[i] if i < len(self.placed) else self._tensors([i]) for i in indices]
            found = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        else:
            found = self._tensors(indices)
        return {name: t.float() if t.is_floating_point() else t for name, t in found.items()}

    def _tensors(self, indices: Sequence[int]) -> dict[str, Tensor]:
        stacked = {n: np.stack([self.arrays[i][n] for i in indices]) for n in self.arrays[0]}
        return {name: torch.from_numpy(array).to(self.device) for name, array in stacked.items()}


def frozen(images: ImageSet, spec: FeatureSpec, context: Context) -> list[Arrays]:
    """Layer -> features of every image; one pass per image, whatever the trials and epochs.

    Raises:
        ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
    """
    return [dict(maps) for maps in features(images, spec, context.artifacts, context.device)]


def pixels(images: ImageSet, geometry: Geometry, context: Context) -> list[Arrays]:
    """Under the name "pixels", uint8 (height, width, 3) of every image.

    Raises:
        DataError: an image cannot be read.
    """
    return [{"pixels": array} for array in resized(images, geometry, context.artifacts)]
