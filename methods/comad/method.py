"""ComAD: areas, colours and counts of the components that clusters of tokens show, beside normal images'."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, final

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.artifacts import Op
from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Demo, Resources, Scores, Segmentation
from methods.comad.components import Heat, Row, Sizes, colour, distance, is_object, otsu, steadiest
from methods.comad.heat import Heater, centres, coreset, unit
from methods.comad.settings import Settings, problems
from methods.shared.backbones import given
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.pixels import RGB, batches, resized
from methods.shared.weights import assets


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
class ComAD(Settings):
    """Clusters of the tokens of a vision transformer, taken for components and measured."""

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
        validation=False,
        demo=Demo(
            {"image_size": 112, "coreset_ratio": 0.04},
            "7 of 196 tokens, as of 784; the small demo transformer takes the place of DINO",
            {"shots": [4], "seeds": [0]},
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        problems=problems,
        sizes=given.sizes,
        reads=given.reads,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
    )
    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 64, "coreset_ratio": 0.1}

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
        geometry, store = self.spec.geometry, self.context.artifacts
        for part in batches(images, 32):
            pixels = resized(part, geometry, store)
            yield from zip(map(list, self._heats(part, pixels)), map(_lab, pixels), strict=True)

    def _heats(self, images: ImageSet, pixels: Sequence[RGB]) -> Sequence[NDArray[np.uint8]]:
        """Heat maps of every image, (clusters, h, w); stored, for others may have the same clusters."""

        def compute(missing: list[int]) -> list[NDArray[np.uint8]]:
            maps = self._features(images.subset(missing))
            pairs = zip(maps, missing, strict=True)
            return [np.stack(self.heater.maps(*_tokens(each), pixels[i])) for each, i in pairs]

        (op,) = (self.spec.op(layer, self.context.device) for layer in self.layers)
        of = {"features": op.params, **self.heater.identity}
        return self.context.artifacts.get_many(Op("heat", of), images.keys(), compute)

    def _features(self, images: ImageSet) -> Sequence[Maps]:
        return features(images, self.spec, self.context.artifacts, self.context.device)

    @property
    def spec(self) -> FeatureSpec:
        """Which features it looks at."""
        return given.spec(vars(self))


def _tokens(maps: Maps) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """(tokens (rows * columns, d), (rows, columns))."""
    (array,) = maps.values()
    d, rows, columns = array.shape
    return array.reshape(d, -1).T.astype(np.float64), (rows, columns)


def _lab(image: RGB) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB), np.uint8)
