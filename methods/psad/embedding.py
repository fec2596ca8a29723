"""From stored features to what the banks hold: pooled layers, compositions of parts, patches."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from harness.artifacts import Op
from harness.data import ImageSet
from harness.method import Context
from methods.psad.banks import ClassMean, Floats, PatchBank, composition
from methods.psad.contraction import Vectors
from methods.psad.sources.source import PartSource
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.pixels import batches

BATCH = 16  # images whose features or rows are held in memory together


def averaged(layer: NDArray[np.floating[Any]], neighbourhood: int, device: str) -> NDArray[np.float32]:
    """Mean over p × p features (zero outside the map): (c, h, w) at the same size."""
    with torch.inference_mode():
        maps = torch.from_numpy(np.array(layer, np.float32))[None].to(device)  # the store's is read-only
        pooled = F.avg_pool2d(maps, neighbourhood, stride=1, padding=neighbourhood // 2)
        return pooled[0].cpu().numpy()


def globally_averaged(images: ImageSet, spec: FeatureSpec, context: Context) -> NDArray[np.float32]:
    """GAP features of the deepest layer, (n, channels)."""
    deepest = spec.layers[-1]
    parts = (features(part, spec, context.artifacts, context.device) for part in batches(images, BATCH))
    return np.stack([maps[deepest].mean(axis=(1, 2), dtype=np.float32) for part in parts for maps in part])


@final
@dataclass
class PatchSearch:
    """Distances of the patches of images to those of every training image, through the artifact store.

    Attributes:
        spec: layers and input size of h_ψ.
        neighbourhood: p of the average pooling.
        train: images of the bank.
        context: device and store.
    """

    spec: FeatureSpec
    neighbourhood: int
    train: ImageSet
    context: Context
    _bank: PatchBank | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bank": None}

    @property
    def bank(self) -> PatchBank:
        """M_patch: every patch of the training images; made only where rows are missing."""
        if self._bank is None:
            rows = [vectors for part in batches(self.train, BATCH) for vectors in self.patches(part)]
            self._bank = PatchBank(np.stack(rows), self.context.device)
        return self._bank

    def patches(self, images: ImageSet) -> Iterator[Vectors]:
        """h_ψ(X)_l of every image: float32 (N_P, d), row by row over the finest layer."""
        for maps in features(images, self.spec, self.context.artifacts, self.context.device):
            yield self._patches(maps)

    def _patches(self, maps: Maps) -> Vectors:
        layers = [averaged(maps[name], self.neighbourhood, self.context.device) for name in self.spec.layers]
        size = layers[0].shape[1:]
        joined = np.concatenate([_repeated(layer, size) for layer in layers])
        return np.ascontiguousarray(joined.reshape(len(joined), -1).T)

    def minima(self, images: ImageSet) -> Iterator[Vectors]:
        """Distances of every image's patches to the nearest one of each training image, (n_train, N_P)."""
        for part in batches(images, BATCH):
            yield from self.context.artifacts.get_many(
                self._op,
                part.keys(),
                lambda missing, part=part: [self.bank.minima(p) for p in self.patches(part.subset(missing))],
            )

    @property
    def _op(self) -> Op:
        bank = hashlib.sha256(json.dumps(self.train.keys()).encode()).hexdigest()
        features_of = self.spec.op(",".join(self.spec.layers), self.context.device).params
        return Op("psad_patch_minima", {**features_of, "neighbourhood": self.neighbourhood, "bank": bank})


@final
@dataclass(frozen=True)
class Compositions:
    """Elements of M_comp through the artifact store: mean features of every part.

    Attributes:
        spec: layers and input size of h_ψ.
        neighbourhood: p of the average pooling.
        class_mean: see `banks.composition`.
        parts: whose part labels.
    """

    spec: FeatureSpec
    neighbourhood: int
    class_mean: ClassMean
    parts: PartSource

    def of(self, images: ImageSet) -> list[Floats]:
        """One vector per image, ((N_C - 1) * channels,), layer by layer."""

        def compute(missing: list[int]) -> list[Floats]:
            return self._computed(images.subset(missing))

        return self.parts.context.artifacts.get_many(self._op, images.keys(), compute)

    @property
    def _op(self) -> Op:
        features_of = self.spec.op(",".join(self.spec.layers), self.parts.context.device).params
        own = {"segmenter": self.parts.key, "pool": self.neighbourhood, "mean": self.class_mean}
        return Op("psad_composition", {**features_of, **own})

    def _computed(self, images: ImageSet) -> list[Floats]:
        context, n = self.parts.context, self.parts.n_classes
        found = []
        maps = features(images, self.spec, context.artifacts, context.device)
        for layers, labels in zip(maps, self.parts.labels(images), strict=True):
            pooled = [averaged(layers[name], self.neighbourhood, context.device) for name in self.spec.layers]
            found.append(np.concatenate([composition(f, labels, n, self.class_mean) for f in pooled]))
        return found


def _repeated(layer: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Nearest neighbour, to the size of the finest layer, as the released code does."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, layer.shape[1:], strict=True))
    return layer[:, rows[:, None], columns]
