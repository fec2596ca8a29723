"""Frozen features through the artifact store: one network pass per image, whatever the trials.

The key of a stored array holds the weights' hash, the layer, the precision, the kind of device, the
normalisation, the geometry and the image. One array per layer, so that methods that read different
layers of one network share what they have in common; a pass gives all layers that the sweep wants of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from methods.shared.onepass import OnePass, with_others
from methods.shared.pixels import Geometry, batches, resized
from methods.shared.turning import Turn, turned
from methods.shared.weights import Weights, find

Maps = Mapping[str, NDArray[np.floating[Any]]]
CHUNK, FEWEST = 32, 4  # images whose layers are held in memory together


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
        return Op("features", {**self._of, "layer": layer, "device": device.partition(":")[0]})

    @cached_property
    def pass_key(self) -> str:
        """Stands for a pass of an image; the layers of two specs with the same key come out of one."""
        return Op("pass", self._of).key()

    @property
    def reads(self) -> list[tuple[str, str]]:
        """What is read, for `Card.reads`."""
        return [(self.pass_key, layer) for layer in self.layers]

    @cached_property
    def _of(self) -> dict[str, Any]:
        file = self.file
        return {
            "backbone": file.backbone,
            "weights": file.sha256,
            "precision": self.precision,
            "mean": file.mean,
            "std": file.std,
            **self.geometry._asdict(),
            **({"options": file.options} if file.options else {}),
            **({"turn": self.turn} if self.turn else {}),
        }


def features(images: ImageSet, spec: FeatureSpec, store: ArtifactStore, device: str) -> list[Maps]:
    """Features of every image: layer -> float (channels, height, width), read-only.

    The counter "backbone_passes" of the store counts images that went through the network.

    Raises:
        ConfigError: unknown backbone or layer.
        DataError: an image cannot be read.
        WeightsError: the weights are missing or do not fit.
    """

    def made(layers: Sequence[str]) -> list[Maps]:
        return _layers(images, replace(spec, layers=tuple(layers)), spec.layers, store, device)

    return with_others(spec.pass_key, spec.layers, store, made)


def _layers(
    images: ImageSet, spec: FeatureSpec, own: Sequence[str], store: ArtifactStore, device: str
) -> list[Maps]:
    """The layers `own` of every image, out of passes that give all of the spec."""
    # all layers of a chunk are in memory together: the more of them, the fewer images
    size = max(FEWEST, CHUNK * len(own) // len(spec.layers))
    parts = (_pass(part, spec, store, device) for part in batches(images, size))
    return [maps for part in parts for maps in part.arrays(own)]


def _pass(images: ImageSet, spec: FeatureSpec, store: ArtifactStore, device: str) -> OnePass:
    """The layers of a few images."""

    def run(indices: list[int]) -> list[Maps]:
        from methods.shared.backbones.frozen import load

        pixels = resized(images.subset(indices), spec.geometry, store)
        if turn := spec.turn:
            pixels = [turned(picture, turn) for picture in pixels]
        store.counters["backbone_passes"] += len(indices)
        return list(load(spec.file, spec.layers, device, spec.precision)(pixels))

    ops = {layer: spec.op(layer, device) for layer in spec.layers}
    return OnePass(store, images.keys(), ops, run)
