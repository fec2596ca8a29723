"""ComAD: areas, colours and counts of the components that clusters of tokens show, beside normal images'."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Read, Resources, Scores, Segmentation
from methods.comad.components import Heat, Row, Sizes, colour, distance, is_object, otsu, steadiest
from methods.comad.heat import Heater, centres, coreset, unit
from methods.shared.backbones import names
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.pixels import RGB, Geometry, Side, batches, resized, square_input
from methods.shared.weights import assets

Triple = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
BACKBONE = "vit_small_patch8_224.dino"
LAYERS = ("norm",)


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return names.problems(params, (BACKBONE, LAYERS), step=8)


def _reads(params: Mapping[str, Any], native: tuple[int, int]) -> Sequence[Read]:
    del native
    return ComAD(Context(), **params).spec.reads


@final
@dataclass(frozen=True, eq=False)
class Normal:
    """What training images show of one cluster that is no background.

    Attributes:
        cluster: its index.
        factor: of Otsu's threshold.
        area, colour: means over training images; 1 where they are 0.
        sizes: of its components.
        histograms: of training images, (k, labels).
    """

    cluster: int
    factor: float
    area: float
    colour: float
    sizes: Sizes
    histograms: Row

    def mask(self, heats: list[Heat]) -> NDArray[np.bool_]:
        """Where an image has the cluster, (h, w)."""
        heat = heats[self.cluster]
        return heat > self.factor * otsu(heat)

    def features(self, mask: NDArray[np.bool_], lab: NDArray[np.uint8]) -> tuple[float, float]:
        """Area and colour, in units of training images'."""
        return float(mask.sum()) / self.area, colour(lab, mask) / self.colour


@final
@dataclass
class ComAD:
    """Clusters of the tokens of a vision transformer, taken for components and measured.

    Args:
        context: run seed (of K-means), device, artifact store.
        backbone: a model of timm, or of torchvision as `torchvision:NAME` (`methods.shared.weights`).
        layers: name of one of its modules (`methods.shared.layers`); "norm" are the tokens after the last
            block and its norm.
        weights: None for the library's own, a path, or "demo".
        image_size: side in pixels to which images are resized; a multiple of the patches.
        coreset_ratio: part of an image's tokens that K-means sees.
        clusters: at most so many.
        crf_iterations: of the mean field that lets heat maps follow the image's edges; 0 for none.
        jpeg: read heat maps from a lossy file, as the authors' code does.
        neighbours: training images, and components, that another one is held against.
        min_samples: components of about one size that make a kind.
            Of both, at most as many as there are training images.
        precision: of the network; all but float32 also store features as float16.
        mean, std: normalisation of [0, 1] images; None for the library's.
    """

    card: ClassVar[Card] = Card(
        title="ComAD",
        summary="Areas, colours and counts of components that clusters of patch tokens show.",
        version=1,
        paper=Citation(
            "Liu, Li, Du, Jiang, Jin, Jin, Zhao",
            "Component-aware anomaly detection framework for adjustable and logical industrial "
            "visual inspection",
            "Advanced Engineering Informatics 58, 2023",
            "https://arxiv.org/abs/2305.08509",
        ),
        licence="Apache-2.0",
        weights_licence="Apache-2.0 (vit_small_patch8_224.dino)",
        trained=False,
        demo=Demo(
            {"image_size": 112, "coreset_ratio": 0.04},
            "7 of 196 tokens, as of 784; the small demo transformer takes the place of DINO",
            {"categories": ["juice_bottle"], "shots": [4], "seeds": [0]},
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        problems=_problems,
        sizes=square_input,
        reads=_reads,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
    )
    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 64, "coreset_ratio": 0.1}

    context: Context
    _: KW_ONLY
    backbone: str = BACKBONE
    layers: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)] = LAYERS
    weights: str | None = None
    image_size: Side = 224
    coreset_ratio: Annotated[float, Field(gt=0, le=1)] = 0.01
    clusters: PositiveInt = 5
    crf_iterations: NonNegativeInt = 2
    jpeg: bool = False
    neighbours: PositiveInt = 5
    min_samples: PositiveInt = 10
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    mean: Triple | None = None
    std: Triple | None = None
    heater: Heater = field(init=False, repr=False)
    normal: tuple[Normal, ...] = field(init=False, repr=False)
    vectors: Row = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Cluster the training images' tokens, choose the clusters that are no background, measure them.

        Training images are taken in the order of their content, so that theirs does not matter.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: there is no training image.
        """
        if not len(data.train):
            raise NeedNotMet("ComAD needs at least one training image")
        keys = data.train.keys()
        train = data.train.subset(sorted(range(len(keys)), key=keys.__getitem__))
        rows = [_tokens(maps)[0] for maps in self._features(train)]
        some = [unit(coreset(each, max(1, int(self.coreset_ratio * len(each))))) for each in rows]
        middles = centres(np.concatenate(some), self.clusters, self.context.run_seed)
        self.heater = Heater(unit(middles), self.crf_iterations, self.jpeg)
        heats, labs = zip(*self._seen(train), strict=True)
        self.normal = tuple(self._learnt(i, heats, labs) for i in self._objects(heats[0]))
        self.vectors = np.stack([self._vector(h, lab) for h, lab in zip(heats, labs, strict=True)])
        return self

    def score(self, images: ImageSet) -> Scores:
        """Distance of areas and colours to normal ones, plus that of the counts of components.

        Returns:
            Scores with the parts "features" and "components", whose sum is the score; no maps.
        """
        found = [self._scored(heats, lab) for heats, lab in self._seen(images)]
        features_part, components = (np.array(part, np.float64) for part in zip(*found, strict=True))
        return Scores(features_part + components, {"features": features_part, "components": components})

    def segment(self, images: ImageSet) -> Segmentation:
        """The likeliest cluster of every place that its mask holds; 0 is none of those that are looked at."""
        labels = [self._labelled(heats) for heats, _ in self._seen(images)]
        named = ("background", *(f"cluster {normal.cluster + 1}" for normal in self.normal))
        return Segmentation(np.stack(labels), named)

    def _labelled(self, heats: list[Heat]) -> NDArray[np.uint8]:
        held = np.stack([np.where(n.mask(heats), heats[n.cluster], 0) for n in self.normal])
        return np.where(held.any(axis=0), held.argmax(axis=0) + 1, 0).astype(np.uint8)

    def _scored(self, heats: list[Heat], lab: NDArray[np.uint8]) -> tuple[float, float]:
        apart = distance(self._vector(heats, lab), self.vectors, self.neighbours)
        counted = (
            0.5 / n.sizes.number**2 * distance(row, n.histograms, self.neighbours)
            for n in self.normal
            if n.sizes.number
            for row in [n.sizes.histogram(n.mask(heats))]
        )
        return apart, sum(counted)

    def _vector(self, heats: list[Heat], lab: NDArray[np.uint8]) -> Row:
        return np.array([value for n in self.normal for value in n.features(n.mask(heats), lab)])

    def _objects(self, heats: list[Heat]) -> list[int]:
        """Clusters of the first training image that are no background; all, where none is one."""
        return [i for i, heat in enumerate(heats) if is_object(heat)] or list(range(len(heats)))

    def _learnt(self, cluster: int, heats: Sequence[list[Heat]], labs: Sequence[NDArray[np.uint8]]) -> Normal:
        own = [each[cluster] for each in heats]
        factor = steadiest(own)
        masks = [heat > factor * otsu(heat) for heat in own]
        area = float(np.mean([mask.sum() for mask in masks])) or 1.0
        shade = float(np.mean([colour(lab, mask) for lab, mask in zip(labs, masks, strict=True)])) or 1.0
        # a kind of size need not be met more often than once per image, neither to be one nor to be told
        neighbours, least = (min(number, len(masks)) for number in (self.neighbours, self.min_samples))
        sizes = Sizes.learnt(masks, neighbours, least)
        histograms = np.stack([sizes.histogram(mask) for mask in masks])
        return Normal(cluster, factor, area, shade, sizes, histograms)

    def _seen(self, images: ImageSet) -> Iterator[tuple[list[Heat], NDArray[np.uint8]]]:
        """Heat maps, and the image in OpenCV's 8-bit Lab, of every image."""
        geometry, store = Geometry.square(self.image_size), self.context.artifacts
        for part in batches(images, 32):
            for maps, image in zip(self._features(part), resized(part, geometry, store), strict=True):
                yield self.heater.maps(*_tokens(maps), image), _lab(image)

    def _features(self, images: ImageSet) -> Sequence[Maps]:
        return features(images, self.spec, self.context.artifacts, self.context.device)

    @property
    def spec(self) -> FeatureSpec:
        """Which features it looks at."""
        mean, std = (None if v is None else tuple(v) for v in (self.mean, self.std))
        geometry, layers = Geometry.square(self.image_size), tuple(self.layers)
        return FeatureSpec(self.backbone, self.weights, layers, geometry, self.precision, mean, std)


def _tokens(maps: Maps) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """(tokens (rows * columns, d), (rows, columns))."""
    (array,) = maps.values()
    d, rows, columns = array.shape
    return array.reshape(d, -1).T.astype(np.float64), (rows, columns)


def _lab(image: RGB) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB), np.uint8)
