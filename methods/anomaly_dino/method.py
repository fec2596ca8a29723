"""AnomalyDINO: cosine distance of every patch to the nearest patch of a few turned normal images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Annotated, Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Read, Resources, Scores
from methods.anomaly_dino.mask import Masking, foreground, masked
from methods.shared.backbones import given
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.backbones.grids import Grid, patch_vectors, whole_map
from methods.shared.nearest import MemoryBank, Vectors
from methods.shared.pixels import Geometry, Side, batches, native_size
from methods.shared.turning import Border, Turn
from methods.shared.weights import assets

BACKBONE = "vit_small_patch14_dinov2.lvd142m"
LAYERS = ("norm",)
STEP = 56  # the least common multiple of its patches of 14 pixels and the demo's of 8


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return given.problems(params, (BACKBONE, LAYERS), step=STEP)


def _reads(params: Mapping[str, Any], native: given.Native) -> Sequence[Read]:
    method = AnomalyDINO(Context(), **params)
    method.geometry = given.shaped(method.image_size, method.aspect, native)
    return [read for turn in method.turns for read in replace(method.spec, turn=turn).reads]


@final
@dataclass
class AnomalyDINO(given.Frozen):
    """One-nearest-neighbour search among the patch tokens of a vision transformer.

    Args:
        context: device and artifact store; nothing is random.
        layers: names of its modules (`methods.shared.layers`); "norm" are the tokens after the last block
            and its norm. Those of several layers are normalised each, then joined.
        image_size: of the shorter side in pixels; a multiple of the patches. What is over of the longer side
            is cut off at the right or at the bottom.
        aspect: "keep" the aspect ratio (of the first training image), or squeeze to a "square".
        rotations: how often every normal image enters the bank, turned in equal steps; 1 is as it is.
        border: what comes in at the corners of a turned image.
        mask: "off"; "pca" leaves out patches of the background; "paper" does so for the objects of MVTec AD
            and VisA for which the authors do.
        mask_threshold: of the first principal component, in units of the features.
        mask_reference: leave out background patches of the normal images too.
        top_fraction: part of the patches, the farthest ones, whose mean distance is the image's score.
        map_smoothing: standard deviation of the Gaussian over the map, in pixels of the network's input.
    """

    card: ClassVar[Card] = Card(
        title="AnomalyDINO",
        summary="Cosine distance of patch tokens to the nearest one of k normal images, turned eight ways.",
        version=1,
        paper=Citation(
            "Damm, Laszkiewicz, Lederer, Fischer",
            "AnomalyDINO: Boosting Patch-based Few-shot Anomaly Detection with DINOv2",
            "WACV 2025",
            "https://arxiv.org/abs/2405.14529",
        ),
        licence="Apache-2.0",
        weights_licence="Apache-2.0 (vit_small_patch14_dinov2.lvd142m)",
        trained=False,
        validation=False,
        demo=Demo(
            {"image_size": 112, "aspect": "square", "rotations": 2},
            "14 x 14 patches and two rotations; the small demo transformer takes the place of DINOv2",
            {"shots": [1, 4]},
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        ignores=lambda params: frozenset({"run_seed"}),
        problems=_problems,
        sizes=given.shaped_sizes,
        reads=_reads,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
        seconds=45.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 64, "rotations": 2}

    _: KW_ONLY
    backbone: str = BACKBONE
    layers: given.Layers = LAYERS
    image_size: Side = 448
    aspect: given.Aspect = "keep"
    rotations: PositiveInt = 8
    border: Border = "mirror"
    mask: Masking = "off"
    mask_threshold: float = 10.0
    mask_reference: bool = False
    top_fraction: Annotated[float, Field(gt=0, le=1)] = 0.01
    map_smoothing: NonNegativeFloat = 4.0
    bank: MemoryBank = field(init=False, repr=False)
    geometry: Geometry = field(init=False, repr=False)
    masking: bool = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Fill the memory bank with the patches of the training images, turned.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: there is no training image.
        """
        if not len(data.train):
            raise NeedNotMet("AnomalyDINO needs at least one training image")
        self.geometry = given.shaped(self.image_size, self.aspect, native_size(data.train, 0))
        self.masking = masked(self.mask, data.category)
        rows = [self._reference(maps) for maps in self._turned(data.train)]
        self.bank = MemoryBank(np.concatenate(rows), self.context.device)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Mean distance of the farthest patches, and the distances of all patches.

        Returns:
            Scores with the part "largest" (the distance of the farthest patch) and maps at the resolution of
            the patches, smoothed, (n, height, width).
        """
        parts = batches(images, 32)
        distances = [self._distances(m) for part in parts for m in self._features(part, self.spec)]
        ordered = [np.sort(each, axis=None)[::-1].astype(np.float64) for each in distances]
        top = np.array([each[: max(1, int(self.top_fraction * len(each)))].mean() for each in ordered])
        maps = np.stack([whole_map(each, self.geometry.shape, self.map_smoothing) for each in distances])
        return Scores(top, {"largest": np.array([each[0] for each in ordered])}, maps)

    def _distances(self, maps: Maps) -> NDArray[np.float32]:
        """Cosine distances (rows, columns); 0 where a patch is masked out."""
        vectors, raw, grid = self._embedded(maps)
        kept = foreground(raw, grid, self.mask_threshold) if self.masking else np.ones(len(vectors), bool)
        found = np.zeros(len(vectors), np.float32)
        if kept.any():
            # of unit vectors: 1 - cosine = |a - b|² / 2
            found[kept] = self.bank.search(vectors[kept])[0][:, 0] ** 2 / 2
        return found.reshape(grid)

    def _reference(self, maps: Maps) -> Vectors:
        vectors, raw, grid = self._embedded(maps)
        if not (self.masking and self.mask_reference):
            return vectors
        kept = foreground(raw, grid, self.mask_threshold)
        return vectors[kept] if kept.any() else vectors

    def _embedded(self, maps: Maps) -> tuple[Vectors, Vectors, Grid]:
        """Unit vectors, and vectors as the network gives them, (rows * columns, d)."""
        import torch
        from torch.nn import functional as F

        layers, grid = patch_vectors(maps, self.context.device)
        unit = torch.cat([F.normalize(layer, dim=1) for layer in layers], dim=1) / len(layers) ** 0.5
        return unit.cpu().numpy(), torch.cat(layers, dim=1).cpu().numpy(), grid

    def _turned(self, images: ImageSet) -> Iterator[Maps]:
        for turn in self.turns:
            yield from self._features(images, replace(self.spec, turn=turn))

    def _features(self, images: ImageSet, spec: FeatureSpec) -> Sequence[Maps]:
        return features(images, spec, self.context.artifacts, self.context.device)

    @property
    def turns(self) -> Sequence[Turn | None]:
        """How the normal images are turned; None leaves one as it is."""
        angles = [360 * i / self.rotations for i in range(self.rotations)]
        return [Turn(angle, self.border) if angle else None for angle in angles]

    @property
    def spec(self) -> FeatureSpec:
        """Which features of an upright image it looks at; known once the geometry is."""
        return given.spec(vars(self), self.geometry)
