"""PatchCore: distance to the nearest of the normal patches that a memory bank holds."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from scipy.ndimage import gaussian_filter

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Read, Resources, Scores
from methods.patchcore.score import reweighted
from methods.shared.backbones import names
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.nearest import MemoryBank, Vectors
from methods.shared.pixels import Geometry, Side, batches
from methods.shared.weights import assets

Grid = tuple[int, int]
Triple = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


Odd = Annotated[int, Field(gt=0), AfterValidator(_odd)]


def _ignores(params: Mapping[str, Any]) -> frozenset[str]:
    """Only the coreset is random; without one, all run seeds give the same numbers."""
    return frozenset({"run_seed"}) if params["coreset_ratio"] == 1 else frozenset()


BACKBONE = "wide_resnet50_2.tv_in1k"
LAYERS = ("layer2", "layer3")


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    crop, size = params["crop"], params["image_size"]
    found = [("crop", f"{crop} is larger than image_size: {size}")] if crop and crop > size else []
    return found + names.problems(params, (BACKBONE, LAYERS), side="crop" if crop else "image_size")


def _reads(params: Mapping[str, Any], native: tuple[int, int]) -> Sequence[Read]:
    del native
    return PatchCore(Context(), **params).spec.reads


def _sizes(params: Mapping[str, Any], native: tuple[int, int]) -> Sequence[Geometry]:
    del native
    return (Geometry.square(params["image_size"], params["crop"]),)


@final
@dataclass
class PatchCore:
    """Memory bank of normal patch features, searched for the nearest neighbour of every patch.

    Args:
        context: run seed (of the coreset), device, artifact store.
        backbone: a model of timm, or of torchvision as `torchvision:NAME` (`methods.shared.weights`).
        layers: names of its modules (`methods.shared.layers`).
        weights: None for the library's own, a path, or "demo".
        image_size: side in pixels to which images are resized.
        crop: side of the centre that is looked at, None for all. The paper crops 256 to 224; on
            LOCO that would cut off parts.
        neighbourhood: p, side of the patches that are aggregated, in steps of the feature map.
        dimension: None concatenates the layers; 1024 is the authors' adaptive pooling.
        coreset_ratio: l / |M|, the part of the patches that the bank keeps; 1 keeps all.
        coreset_above: with at most so many training images the bank keeps all patches.
        num_neighbours: b of Eq. 7; 1 switches the re-weighting off.
        map_smoothing: standard deviation of the Gaussian over the map, in pixels of the network's
            input.
        precision: of the network; all but float32 also store features as float16.
        mean, std: normalisation of [0, 1] images; None for the library's.
    """

    card: ClassVar[Card] = Card(
        title="PatchCore",
        summary="Distance of patch features to a coreset of the normal ones.",
        version=1,
        paper=Citation(
            "Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler",
            "Towards Total Recall in Industrial Anomaly Detection",
            "CVPR 2022",
            "https://arxiv.org/abs/2106.08265",
        ),
        licence="Apache-2.0",
        weights_licence="BSD-3-Clause (wide_resnet50_2.tv_in1k)",
        trained=False,
        demo=Demo(note="the small demo backbone takes the place of wide_resnet50_2"),
        paths=frozenset({"weights"}),
        assets=assets,
        ignores=_ignores,
        problems=_problems,
        sizes=_sizes,
        reads=_reads,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
        seconds=60.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "backbone": "test_resnet",
        "layers": ("layer2", "layer3"),
        "image_size": 64,
        "coreset_ratio": 0.5,
        "coreset_above": 1,
    }

    context: Context
    _: KW_ONLY
    backbone: str = BACKBONE
    layers: Annotated[tuple[str, ...], Field(min_length=1)] = LAYERS
    weights: str | None = None
    image_size: Side = 256
    crop: PositiveInt | None = None
    neighbourhood: Odd = 3
    dimension: PositiveInt | None = None
    coreset_ratio: Annotated[float, Field(gt=0, le=1)] = 0.1
    coreset_above: NonNegativeInt = 4
    num_neighbours: PositiveInt = 9
    map_smoothing: NonNegativeFloat = 4.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    mean: Triple | None = None
    std: Triple | None = None
    bank: MemoryBank = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Fill the memory bank with the patches of the training images, or with a coreset of them.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: there is no training image.
        """
        if not len(data.train):
            raise NeedNotMet("PatchCore needs at least one training image")
        maps = self._features(data.train)
        whole = self.coreset_ratio == 1 or len(maps) <= self.coreset_above
        rows = self._patches(maps) if whole else self._coreset(maps)
        self.bank = MemoryBank(rows, self.context.device)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Re-weighted distance of the farthest patch (Eq. 6, 7), and the distances of all patches.

        Returns:
            Scores with the part "unweighted" (Eq. 6 alone) and maps at the resolution of the
            patches, smoothed, (n, height, width).
        """
        results = [self._scored(m) for part in batches(images, 32) for m in self._features(part)]
        image, unweighted, maps = zip(*results, strict=True)
        return Scores(np.array(image), {"unweighted": np.array(unweighted)}, np.stack(maps))

    def _scored(self, maps: Maps) -> tuple[float, float, NDArray[np.float32]]:
        vectors, grid = self._embedded(maps)
        distances, nearest = self.bank.search(vectors)
        worst = int(distances[:, 0].argmax())
        s_star = float(distances[worst, 0])  # Eq. 6
        s = reweighted(self.bank, vectors[worst], s_star, int(nearest[worst, 0]), self.num_neighbours)
        return s, s_star, self._map(distances[:, 0].reshape(grid))

    def _map(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        side = self.crop or self.image_size
        smooth = gaussian_filter(distances, [self.map_smoothing * n / side for n in distances.shape])
        margin = (self.image_size - side) / 2 / side  # of the picture around the crop: never looked at
        padded = np.pad(smooth, [(round(margin * n),) * 2 for n in distances.shape])
        return padded.astype(np.float32, copy=False)

    def _features(self, images: ImageSet) -> Sequence[Maps]:
        return features(images, self.spec, self.context.artifacts, self.context.device)

    @property
    def spec(self) -> FeatureSpec:
        """Which features it looks at."""
        mean, std = (None if v is None else tuple(v) for v in (self.mean, self.std))
        geometry = Geometry.square(self.image_size, self.crop)
        layers = tuple(self.layers)
        return FeatureSpec(self.backbone, self.weights, layers, geometry, self.precision, mean, std)

    def _embedded(self, maps: Maps) -> tuple[Vectors, Grid]:
        from methods.patchcore.embedding import patch_features

        return patch_features(maps, self.neighbourhood, self.dimension, self.context.device)

    def _patches(self, maps: Sequence[Maps]) -> Vectors:
        """Every patch of every image, one image at a time into one array."""
        first, _ = self._embedded(maps[0])
        rows = np.empty((len(maps), *first.shape), np.float32)
        for i, image in enumerate(maps):
            rows[i] = self._embedded(image)[0]
        return rows.reshape(-1, first.shape[1])

    def _coreset(self, maps: Sequence[Maps]) -> Vectors:
        """A part of the patches, embedded twice: only projections of all of them are held at once."""
        from methods.patchcore.coreset import k_centres, projection

        seed, first = self.context.run_seed, self._embedded(maps[0])[0]
        psi = projection(first.shape[1], seed)
        points = np.concatenate([self._embedded(image)[0] @ psi for image in maps])
        number = max(1, int(self.coreset_ratio * len(points)))
        chosen = np.sort(k_centres(points, number, seed, self.context.device))
        size = len(first)
        parts = (chosen[chosen // size == i] - i * size for i in range(len(maps)))
        return np.concatenate(
            [self._embedded(image)[0][p] for image, p in zip(maps, parts, strict=True) if len(p)]
        )
