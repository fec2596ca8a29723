"""Frozen features through the artifact store: one network pass per image, whatever the trials.

The key of a stored array holds the weights' hash, the layer, the precision, the kind of device, the
normalisation, the geometry and the image. One array per layer, so that methods that read different
layers of one network share what they have in common.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from methods.shared.pixels import Geometry, resized
from methods.shared.turning import Turn, turned
from methods.shared.weights import Weights, find

if TYPE_CHECKING:
    from methods.shared.backbones.frozen import Backbone

Maps = Mapping[str, NDArray[np.floating[Any]]]
CHUNK = 32  # images whose layers are held in memory together


@final
@dataclass(frozen=True)
class FeatureSpec:
    """Which features of an image.

    Attributes:
        backbone, weights: see `methods.shared.weights`.
        layers: module names, see `methods.shared.layers`.
        geometry: size of the network's input.
        precision: "float32", or "bfloat16"/"float16" arithmetic with features kept as float16.
        mean, std: normalisation of [0, 1] images; None for the library's.
        turn: how images are turned before the network sees them; None leaves them as they are.
    """

    backbone: str
    weights: str | None
    layers: tuple[str, ...]
    geometry: Geometry
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    turn: Turn | None = None

    @cached_property
    def file(self) -> Weights:
        """The weights file.

        Raises:
            ConfigError, WeightsError: see `methods.shared.weights.find`.
        """
        found = find(self.backbone, self.weights)
        return replace(found, mean=self.mean or found.mean, std=self.std or found.std)

    def op(self, layer: str, device: str) -> Op:
        """The operation "image -> output of one layer"."""
        file = self.file
        params = {
            "backbone": file.backbone,
            "weights": file.sha256,
            "layer": layer,
            "precision": self.precision,
            "device": device.partition(":")[0],
            "mean": file.mean,
            "std": file.std,
            **self.geometry._asdict(),
            **({"options": file.options} if file.options else {}),
            **({"turn": self.turn} if self.turn else {}),
        }
        return Op("features", params)


def features(images: ImageSet, spec: FeatureSpec, store: ArtifactStore, device: str) -> list[Maps]:
    """Features of every image: layer -> float (channels, height, width), read-only.

    The counter "backbone_passes" of the store counts images that went through the network.

    Raises:
        ConfigError: unknown backbone or layer.
        DataError: an image cannot be read.
        WeightsError: the weights are missing or do not fit.
    """
    parts = (images.subset(range(i, min(i + CHUNK, len(images)))) for i in range(0, len(images), CHUNK))
    return [maps for part in parts for maps in _Chunk(part, spec, store, device).maps()]


class _Chunk:
    """The features of a few images; a pass is used for all layers, whichever one asked for it."""

    def __init__(self, images: ImageSet, spec: FeatureSpec, store: ArtifactStore, device: str):
        self.images, self.spec, self.store, self.device = images, spec, store, device
        self.keys = images.keys()
        self.passes: dict[str, Maps] = {}  # image key -> what the network gave
        self.found: dict[tuple[str, str], NDArray[Any]] = {}  # (layer, image key) -> what is stored

    def maps(self) -> list[Maps]:
        layers = sorted(self.spec.layers)  # one order everywhere, or locks could deadlock
        for i, layer in enumerate(layers):
            wanted = [n for n, key in enumerate(self.keys) if (layer, key) not in self.found]
            self._store(layer, wanted, layers[i + 1 :])
        return [{layer: self.found[layer, key] for layer in self.spec.layers} for key in self.keys]

    def _store(self, layer: str, indices: Sequence[int], others: Sequence[str]) -> None:
        """Find or compute one layer; what else a pass gave is stored while its locks are held."""

        def compute(missing: list[int]) -> list[NDArray[Any]]:
            chosen = [indices[i] for i in missing]
            self._run(chosen)
            if others:
                self._store(others[0], chosen, others[1:])
            return [self.passes[self.keys[i]][layer] for i in chosen]

        keys = [self.keys[i] for i in indices]
        arrays = self.store.get_many(self.spec.op(layer, self.device), keys, compute)
        self.found.update({(layer, key): a for key, a in zip(keys, arrays, strict=True)})

    def _run(self, indices: Sequence[int]) -> None:
        new = [i for i in indices if self.keys[i] not in self.passes]
        pixels = resized(self.images.subset(new), self.spec.geometry, self.store)
        if turn := self.spec.turn:
            pixels = [turned(picture, turn) for picture in pixels]
        found = self._network(pixels) if new else []
        self.passes.update({self.keys[i]: maps for i, maps in zip(new, found, strict=True)})
        self.store.counters["backbone_passes"] += len(new)

    @property
    def _network(self) -> "Backbone":
        from methods.shared.backbones.frozen import load

        spec = self.spec
        return load(spec.file, tuple(sorted(spec.layers)), self.device, spec.precision)
