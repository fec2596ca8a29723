"""SPADE: distance to the nearest normal images, and of every position to theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Demo, Read, Resources, Scores
from methods.shared.backbones import given
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.maps import around, pixel_map
from methods.shared.pixels import Side, batches
from methods.shared.weights import assets
from methods.spade.gallery import Gallery

BACKBONE = "wide_resnet50_2.tv_in1k"
LAYERS = ("layer1", "layer2", "layer3")
POOLED = "global_pool"


def _layers(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of positions, and the one of the image as a whole."""
    return tuple(dict.fromkeys((*params["layers"], params["global_layer"])))


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    asked = {**params, "global_layer": [params["global_layer"]]}
    return given.problems(asked, (BACKBONE, LAYERS, (POOLED,)), ("layers", "global_layer"))


def _reads(params: Mapping[str, Any], native: given.Native) -> Sequence[Read]:
    del native
    return given.spec(params, layers=_layers(params)).reads


@final
@dataclass
class SPADE(given.Cropped):
    """Mean distance to the K nearest normal images; a map of distances to their positions.

    Args:
        context: device and artifact store; nothing is random.
        layers: names of its modules (`methods.shared.layers`) whose positions are compared.
        global_layer: the module whose output, averaged over the picture, stands for an image.
        crop: side of the centre that is looked at, None for all. The public code crops 256 to 224.
        num_neighbours: K, at most the number of training images; 50 in the paper, 5 in the public code.
        squared: average squares of distances.
        truncated_gallery: leave out the positions that the public code leaves out.
        map_smoothing: standard deviation of the Gaussian over the map, in pixels of the network's input.
    """

    card: ClassVar[Card] = Card(
        title="SPADE",
        summary="Distance to the nearest normal images, and of every position to theirs.",
        version=1,
        paper=Citation(
            "Cohen, Hoshen",
            "Sub-Image Anomaly Detection with Deep Pyramid Correspondences",
            "2020",
            "https://arxiv.org/abs/2005.02357",
        ),
        licence="Apache-2.0",
        weights_licence="BSD-3-Clause (wide_resnet50_2.tv_in1k)",
        trained=False,
        validation=False,
        demo=Demo(
            {"image_size": 128, "global_layer": "layer3"},
            "the small demo backbone takes the place of wide_resnet50_2",
            {"shots": [1, 4]},
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        ignores=lambda params: frozenset({"run_seed"}),
        problems=_problems,
        sizes=given.sizes,
        reads=_reads,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=240),
        seconds=60.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "backbone": "test_resnet",
        "image_size": 64,
        "num_neighbours": 2,
    }

    _: KW_ONLY
    backbone: str = BACKBONE
    layers: given.Layers = LAYERS
    global_layer: str = POOLED
    image_size: Side = 256
    num_neighbours: PositiveInt = 50
    squared: bool = False
    truncated_gallery: bool = False
    map_smoothing: NonNegativeFloat = 4.0
    vectors: NDArray[np.float64] = field(init=False, repr=False)
    gallery: Gallery = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Keep the features of the training images.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: there is no training image.
        """
        if not len(data.train):
            raise NeedNotMet("SPADE needs at least one training image")
        self.gallery = Gallery(data.train.keys(), self._features(data.train), self.spec)
        self.vectors = self._pooled(self.gallery.maps)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Mean distance to the K nearest normal images, and of every position to the nearest one of theirs.

        Returns:
            Scores with the part "map" (the largest value of the map) and maps in pixels of the network's
            input, smoothed, (n, height, width).
        """
        found = [self._scored(part) for part in batches(images, 16)]
        maps = np.concatenate([maps for _, maps in found])
        largest = maps.max(axis=(1, 2)).astype(np.float64)
        return Scores(np.concatenate([image for image, _ in found]), {"map": largest}, maps)

    def _scored(self, images: ImageSet) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        maps = self._features(images)
        distances, nearest = self._nearest(self._pooled(maps))
        image = (distances**2 if self.squared else distances).mean(axis=1)
        asked = images.keys(), maps, nearest.tolist()
        where = self.truncated_gallery, self.context.artifacts, self.context.device
        grids = [self.gallery.distances(*asked, layer, *where) for layer in self.layers]
        return image, np.stack([self._map(layers) for layers in zip(*grids, strict=True)])

    def _nearest(self, vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Distances to the K nearest normal images and which these are, (n, K), nearest first."""
        distances = np.sqrt(((vectors[:, None] - self.vectors) ** 2).sum(axis=2))
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.num_neighbours]
        return np.take_along_axis(distances, nearest, axis=1), nearest

    def _map(self, layers: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        side = self.crop or self.image_size
        return around(pixel_map(layers, (side, side), self.map_smoothing), self.image_size)

    def _pooled(self, maps: Sequence[Maps]) -> NDArray[np.float64]:
        return np.stack([each[self.global_layer].mean(axis=(1, 2), dtype=np.float64) for each in maps])

    def _features(self, images: ImageSet) -> Sequence[Maps]:
        return features(images, self.spec, self.context.artifacts, self.context.device)

    @property
    def spec(self) -> FeatureSpec:
        """Which features it looks at, of an image as a whole and of its positions."""
        return given.spec(vars(self), layers=_layers(vars(self)))
