"""SubspaceAD: what of a patch token lies outside the principal subspace of the normal ones."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Read, Resources, Scores
from methods.shared.backbones import given
from methods.shared.backbones.features import Maps, features
from methods.shared.backbones.grids import whole_map
from methods.shared.pixels import Geometry, Side, batches, native_size
from methods.shared.turning import Border
from methods.shared.weights import assets
from methods.subspace_ad.moments import Combine, MomentSpec, combined, total_moments
from methods.subspace_ad.subspace import Subspace

BACKBONE = "vit_giant_patch14_reg4_dinov2.lvd142m"
LAYERS = tuple(f"blocks.{i}" for i in range(22, 29))  # hidden states -18 … -12 of 40 blocks
STEP = 14


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    # the demo's transformer has 12 blocks: it is asked about
    usual = (BACKBONE, LAYERS) if params["weights"] is None else ("", ())
    return given.problems(params, usual, step=STEP)


def _reads(params: Mapping[str, Any], native: given.Native) -> Sequence[Read]:
    method = SubspaceAD(Context(), **params)
    method.geometry = given.shaped(method.image_size, method.aspect, native)
    return method.spec.reads


@final
@dataclass
class SubspaceAD(given.Frozen):
    """Residual of patch tokens after principal component analysis of a few normal images.

    Args:
        context: device and artifact store; the run seed does not matter.
        layers: names of its modules (`methods.shared.layers`).
        weights: None for the library's own, a path, or "demo" (12 blocks: name layers that it has).
        combine: "mean" of the layers, or "concat".
        image_size: of the shorter side in pixels; a multiple of the patches.
        aspect: squeeze to a "square", or "keep" the aspect ratio (of the first training image).
        rotations: how many copies of every normal image, turned at random, are added.
        rotation_seed: of their angles, which depend on it and on the image alone.
        border: what comes in at the corners of a turned image.
        pca_ev: part of the variance that the subspace holds at least.
        score_of: the image's score is the mean over the largest values of the "map" at the size of the
            network's input, or of the "patches".
        top_fraction: part of the values that are the largest.
    """

    card: ClassVar[Card] = Card(
        title="SubspaceAD",
        summary="Part of patch tokens outside the principal subspace of k normal images.",
        version=1,
        paper=Citation(
            "Lendering, Akdag, Bondarev",
            "SubspaceAD: Training-Free Few-Shot Anomaly Detection via Subspace Modeling",
            "CVPR 2026",
            "https://arxiv.org/abs/2602.23013",
        ),
        licence="Apache-2.0",
        weights_licence="Apache-2.0 (vit_giant_patch14_reg4_dinov2.lvd142m)",
        trained=False,
        validation=False,
        demo=Demo(
            {"layers": ("blocks.6", "blocks.7", "blocks.8"), "image_size": 112, "rotations": 4},
            "three middle blocks of the small demo transformer in place of seven of DINOv2 giant",
            {"shots": [1, 4]},
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        ignores=lambda params: frozenset({"run_seed"}),
        problems=_problems,
        sizes=given.shaped_sizes,
        reads=_reads,
        resources=Resources(gpus=0.5, cpus=2, timeout_minutes=240),
        seconds=90.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "weights": "demo",
        "layers": ("blocks.6", "blocks.7", "blocks.8"),
        "image_size": 64,
        "rotations": 3,
    }

    _: KW_ONLY
    backbone: str = BACKBONE
    layers: given.Layers = LAYERS
    combine: Combine = "mean"
    image_size: Side = 672
    aspect: given.Aspect = "square"
    rotations: NonNegativeInt = 30
    rotation_seed: NonNegativeInt = 0
    border: Border = "mirror"
    pca_ev: Annotated[float, Field(gt=0, le=1)] = 0.99
    score_of: Literal["map", "patches"] = "map"
    top_fraction: Annotated[float, Field(gt=0, le=1)] = 0.01
    geometry: Geometry = field(init=False, repr=False)
    subspace: Subspace = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Find the principal subspace of the patches of the training images and their turned copies.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.subspace_ad.moments.total_moments`.
            NeedNotMet: there is no training image.
        """
        if not len(data.train):
            raise NeedNotMet("SubspaceAD needs at least one training image")
        self.geometry = given.shaped(self.image_size, self.aspect, native_size(data.train, 0))
        total = total_moments(data.train, self.spec, self.context.artifacts, self.context.device)
        self.subspace = Subspace.of(total, self.pca_ev)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Mean of the largest residuals, and the residuals of all patches.

        Returns:
            Scores with the parts "map" and "patches" (see `score_of`) and maps at the resolution of the
            patches, (n, height, width).
        """
        store, device = self.context.artifacts, self.context.device
        grids = [
            self._residuals(maps)
            for part in batches(images, 32)
            for maps in features(part, self.spec.features, store, device)
        ]
        parts = {
            "map": np.array([self._largest(self._enlarged(grid)) for grid in grids]),
            "patches": np.array([self._largest(grid) for grid in grids]),
        }
        shown = np.stack([whole_map(grid, self.geometry.shape, 0) for grid in grids])
        return Scores(parts[self.score_of], parts, shown)

    def _residuals(self, maps: Maps) -> NDArray[np.float32]:
        vectors, grid = combined(maps, self.combine, self.context.device)
        return self.subspace.residuals(vectors.cpu().numpy()).reshape(grid)

    def _enlarged(self, grid: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bilinear to the size of what the patches cover, then a Gaussian of σ 4 cut down to 3 × 3 pixels."""
        import torch
        from torch.nn import functional as F

        patch = min(self.geometry.shape) // min(grid.shape)
        size = (grid.shape[0] * patch, grid.shape[1] * patch)
        large = F.interpolate(torch.from_numpy(grid)[None, None], size, mode="bilinear")
        tap = torch.exp(torch.tensor([-1.0, 0, -1]) / 32)  # e^(-x² / 2σ²)
        kernel = torch.outer(tap, tap)[None, None] / tap.sum() ** 2
        return F.conv2d(F.pad(large, (1, 1, 1, 1), mode="reflect"), kernel)[0, 0].numpy()

    def _largest(self, values: NDArray[np.float32]) -> float:
        number = max(1, int(self.top_fraction * values.size))
        return float(np.partition(values.ravel(), -number)[-number:].astype(np.float64).mean())

    @property
    def spec(self) -> MomentSpec:
        """Which vectors it looks at; known once the geometry is."""
        frozen = given.spec(vars(self), self.geometry)
        return MomentSpec(frozen, self.combine, self.rotations, self.rotation_seed, self.border)
