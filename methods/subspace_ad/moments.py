"""Counts, sums and second moments of the patches of an image and of its turned copies, once per image.

They add up: those of k images are the sum of k matrices, whatever the number of shots and the draw. They are
kept in float64, for a covariance is the difference of two large numbers: the mean of tokens is far larger
than their spread, and the components that are cut off hold a hundredth of the variance.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from harness.errors import ConfigError
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.backbones.grids import Grid, patch_vectors
from methods.shared.onepass import OnePass, with_others
from methods.shared.pixels import resized
from methods.shared.turning import Border, Turn, turned

if TYPE_CHECKING:
    from torch import Tensor

Combine = Literal["mean", "concat"]
Moments = NDArray[np.float64]
TURNED = 8  # copies that are turned and held at a time


@final
@dataclass(frozen=True)
class MomentSpec:
    """Of which vectors.

    Attributes:
        features: layers of an upright image.
        combine: the mean of the layers, or all of them side by side.
        rotations: how many turned copies are added.
        seed: of their angles, which depend on it and on the image alone.
        border: what comes in at their corners.
    """

    features: FeatureSpec
    combine: Combine
    rotations: int
    seed: int
    border: Border

    @property
    def pass_key(self) -> str:
        """Stands for the passes of an image and its turned copies."""
        turns = {"rotations": self.rotations, "seed": self.seed, "border": self.border}
        return Op("turned", {"of": self.features.pass_key, **turns}).key()

    @property
    def vectors(self) -> str:
        """Which vectors are made of a pass, as text: "mean blocks.6 blocks.7"."""
        return " ".join([self.combine, *self.features.layers])

    @property
    def reads(self) -> list[tuple[str, str]]:
        """What is read, for `Card.reads`."""
        return [*self.features.reads, (self.pass_key, self.vectors)]

    def of(self, vectors: str) -> "MomentSpec":
        """The same of other vectors of the same passes, named as `vectors` names them."""
        combine, *layers = vectors.split()
        return replace(self, features=replace(self.features, layers=tuple(layers)), combine=combine)

    def op(self, device: str) -> Op:
        """The operation "image -> moments"."""
        params = {"pass": self.pass_key, "vectors": self.vectors, "device": device.partition(":")[0]}
        return Op("moments", params)

    def turns(self, key: str) -> list[Turn]:
        """The turns of an image, uniform over the full circle.

        Args:
            key: the image's content hash.
        """
        rng = np.random.default_rng([self.seed, *key.encode()])
        return [Turn(float(angle), self.border) for angle in rng.uniform(0, 360, self.rotations)]


def total_moments(images: ImageSet, spec: MomentSpec, store: ArtifactStore, device: str) -> Moments:
    """The sum over images of [x 1]ᵀ[x 1], float64 (d + 1, d + 1): the last entry is the number of vectors.

    Images are added in the order of their keys, so that the order of a support set changes no bit.

    Raises:
        ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
        ConfigError: the mean was asked for of layers of different widths.
    """

    def made(vectors: Sequence[str]) -> list[Moments]:
        return _stored(images, {name: spec.of(name) for name in vectors}, spec.vectors, store, device)

    found = with_others(spec.pass_key, [spec.vectors], store, made)
    return _unpacked(np.sum(found, axis=0))


def _stored(
    images: ImageSet, every: Mapping[str, MomentSpec], own: str, store: ArtifactStore, device: str
) -> list[Moments]:
    """The moments of every image for one kind of vectors, out of passes that give all kinds."""
    keys = images.keys()

    def run(indices: list[int]) -> list[Mapping[str, Moments]]:
        return [_moments(images.subset([i]), keys[i], every, store, device) for i in indices]

    ops = {name: each.op(device) for name, each in every.items()}
    found = OnePass(store, keys, ops, run, batch=1).arrays([own])
    return [found[i][own] for i in sorted(range(len(keys)), key=keys.__getitem__)]


def _moments(
    image: ImageSet, key: str, every: Mapping[str, MomentSpec], store: ArtifactStore, device: str
) -> Mapping[str, Moments]:
    """The moments of one image for all kinds of vectors."""
    spec = next(iter(every.values()))
    layers = tuple(sorted({layer for each in every.values() for layer in each.features.layers}))
    joint = replace(spec.features, layers=layers)
    views = chain(
        features(image, joint, store, device), _turned(image, spec.turns(key), joint, store, device)
    )
    total: dict[str, Moments] = {}
    for maps in views:
        for name, each in every.items():
            total[name] = total.get(name, 0) + _second(_some(maps, each), each.combine, device)
    return {name: _packed(matrix) for name, matrix in total.items()}


def _some(maps: Maps, spec: MomentSpec) -> Maps:
    return {layer: maps[layer] for layer in spec.features.layers}


def _turned(
    image: ImageSet, turns: Sequence[Turn], spec: FeatureSpec, store: ArtifactStore, device: str
) -> Iterator[Maps]:
    """Layers of the turned copies, one at a time; not kept: nobody else turns an image by these angles."""
    from methods.shared.backbones.frozen import load

    if not turns:
        return
    (pixels,) = resized(image, spec.geometry, store)
    network = load(spec.file, spec.layers, device, spec.precision)
    store.counters["backbone_passes"] += len(turns)
    for start in range(0, len(turns), TURNED):
        yield from network([turned(pixels, turn) for turn in turns[start : start + TURNED]])


def _second(maps: Maps, combine: Combine, device: str) -> Moments:
    import torch

    vectors, _ = combined(maps, combine, device)
    ones = torch.ones(len(vectors), 1, dtype=torch.float64, device=vectors.device)
    extended = torch.cat([vectors.double(), ones], dim=1)
    return (extended.T @ extended).cpu().numpy()


def combined(maps: Maps, combine: Combine, device: str) -> tuple["Tensor", Grid]:
    """One vector per patch, float32 (rows * columns, d), and (rows, columns).

    Raises:
        ConfigError: layers of different widths have no mean.
    """
    import torch

    layers, grid = patch_vectors(maps, device)
    if combine == "concat":
        return torch.cat(layers, dim=1), grid
    widths = {name: layer.shape[1] for name, layer in zip(maps, layers, strict=True)}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{name} has {width}" for name, width in widths.items())
        raise ConfigError(f"combine: mean needs layers of the same width ({told}); or combine: concat")
    return torch.stack(layers).mean(dim=0), grid


def _packed(matrix: Moments) -> Moments:
    """The upper triangle, row by row: half the bytes."""
    return matrix[np.triu_indices(len(matrix))]


def _unpacked(triangle: Moments) -> Moments:
    side = int(((8 * len(triangle) + 1) ** 0.5 - 1) / 2)
    matrix = np.zeros((side, side))
    matrix[np.triu_indices(side)] = triangle
    return matrix + np.triu(matrix, 1).T
