"""PaDiM: a Gaussian of patch features at every position of the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Demo, Resources, Scores
from methods.shared.backbones import given
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.maps import around, pixel_map
from methods.shared.pixels import Side, batches
from methods.shared.weights import assets

if TYPE_CHECKING:
    from torch import Tensor

BACKBONE = "wide_resnet50_2.tv_in1k"
LAYERS = ("layer1", "layer2", "layer3")


def _ignores(params: Mapping[str, Any]) -> frozenset[str]:
    """Only the choice of channels is random."""
    return frozenset({"run_seed"}) if params["dimension"] is None else frozenset()


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return given.problems(params, (BACKBONE, LAYERS))


@final
@dataclass
class PaDiM(given.Cropped):
    """Mahalanobis distance of patch features to those that normal images have at the same place.

    Args:
        context: run seed (of the choice of channels), device, artifact store.
        layers: names of its modules (`methods.shared.layers`); positions are those of the largest.
        crop: side of the centre that is looked at, None for all. The authors crop 256 to 224.
        dimension: so many channels of all layers, drawn at random, are looked at; all where there are no
            more, and with None. The paper has 550 of WideResNet-50's and 100 of ResNet-18's.
        regularisation: ε of εI, added to the covariance.
        map_smoothing: standard deviation of the Gaussian over the map, in pixels of the network's input.
    """

    card: ClassVar[Card] = Card(
        title="PaDiM",
        summary="Mahalanobis distance to a Gaussian of normal patch features at every position.",
        version=1,
        paper=Citation(
            "Defard, Setkov, Loesch, Audigier",
            "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization",
            "ICPR 2020 Workshops",
            "https://arxiv.org/abs/2011.08785",
        ),
        licence="Apache-2.0",
        weights_licence="BSD-3-Clause (wide_resnet50_2.tv_in1k)",
        trained=False,
        validation=False,
        demo=Demo(
            {"image_size": 128, "dimension": 100},
            "the small demo backbone takes the place of wide_resnet50_2",
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        ignores=_ignores,
        problems=_problems,
        sizes=given.sizes,
        reads=given.reads,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
        seconds=45.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "backbone": "test_resnet",
        "image_size": 64,
        "dimension": 60,
    }

    _: KW_ONLY
    backbone: str = BACKBONE
    layers: given.Layers = LAYERS
    image_size: Side = 256
    dimension: PositiveInt | None = 550
    regularisation: PositiveFloat = 0.01
    map_smoothing: NonNegativeFloat = 4.0
    normal: Any = field(init=False, repr=False)  # of methods.padim.gaussian, which imports torch

    def fit(self, data: FitData) -> Self:
        """Mean and covariance of the features of the training images, at every position.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: there is no training image.
        """
        from methods.padim.gaussian import gaussians

        if not len(data.train):
            raise NeedNotMet("PaDiM needs at least one training image")
        self.normal = gaussians(self._samples(data.train), self.regularisation)
        return self

    def score(self, images: ImageSet) -> Scores:
        """The largest value of the smoothed map of distances.

        Returns:
            Scores with maps at the size of the network's input, in it smoothed, (n, height, width).
        """
        side = self.crop or self.image_size
        maps = [
            pixel_map([self._distances(each)], (side, side), self.map_smoothing)
            for part in batches(images, 32)
            for each in self._features(part)
        ]
        image = np.array([each.max() for each in maps], np.float64)
        return Scores(image, maps=np.stack([around(each, self.image_size) for each in maps]))

    def _samples(self, images: ImageSet) -> "Tensor":
        """Vectors of all images, float32 (positions, images, dimensions), read a few images at a time."""
        vectors = (self._vectors(maps)[0] for part in batches(images, 32) for maps in self._features(part))
        first = next(vectors)
        found = first.new_empty(len(first), len(images), first.shape[1])
        for i, each in enumerate(chain([first], vectors)):
            found[:, i] = each
        return found

    def _distances(self, maps: Maps) -> NDArray[np.float32]:
        vectors, grid = self._vectors(maps)
        return self.normal.distances(vectors).reshape(grid).cpu().numpy()

    def _vectors(self, maps: Maps) -> "tuple[Tensor, tuple[int, int]]":
        from methods.padim.embedding import position_vectors

        return position_vectors(maps, self.dimension, self.context.run_seed, self.context.device)

    def _features(self, images: ImageSet) -> Sequence[Maps]:
        return features(images, self.spec, self.context.artifacts, self.context.device)

    @property
    def spec(self) -> FeatureSpec:
        """Which features it looks at."""
        return given.spec(vars(self))
