"""SINBAD: the elements of many crops as sets, compared by histograms of random projections."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Demo, Resources, Scores
from methods.shared.backbones import given, names
from methods.shared.norm_source import too_few, unmet
from methods.shared.pixels import Geometry, Side, batches
from methods.shared.weights import assets
from methods.sinbad.banks import Bank, Distances, SetSpec
from methods.sinbad.crops import PIXELS, CropSpec, Readings, readings
from methods.sinbad.whitening import Whiten

Ratio = Annotated[float, Field(gt=0, le=1)]
BACKBONE = "wide_resnet50_2.tv_in1k"
LAYERS = ("layer4", "layer3")
NormSource = Literal["validation", "support_loo", "none"]


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    twice = [name for name in ("layers", "ratios") if len(set(params[name])) < len(params[name])]
    found = [(name, "names something twice") for name in twice]
    return found + names.problems(params, (BACKBONE, LAYERS), side="crop_size")


def _sizes(params: Mapping[str, Any], native: tuple[int, int]) -> Sequence[Geometry]:
    return (Geometry.longer(params["image_size"], native),)


@final
@dataclass
class SINBAD(given.Frozen):
    """Distance of the sets of elements of many crops to those of the nearest normal image.

    Args:
        context: device and artifact store; the run seed does not matter.
        layers: names of its modules (`methods.shared.layers`), each a set of its own per crop.
        image_size: of the longer side in pixels; the picture lies at the top left of a black square.
        ratios: sides of the crops as parts of that square; they lie a quarter of it apart.
        crop_size: side in pixels to which crops are resized (nearest pixel).
        projections: random directions per set.
        projection_seed: of the directions, which differ from crop to crop.
        shrinkage: of the covariance of descriptors.
        whiten: by the "inverse" of the covariance, as the public code does, or by its root.
        crop_mean: over the crops of one size, as in the public code ("cubic") or "plain".
        pixel_repetitions: sets of plain pixels, each with ten directions of its own; 0 for none.
        pixel_weight: of their median distance.
        norm_source: whose mean distances scale those of layers, sizes and pixels before they are added:
            "validation" images, training images each left out in turn ("support_loo"; fits again for each),
            or nobody's ("none").
        precision: of the network; what is stored of it is float16 anyway.
    """

    card: ClassVar[Card] = Card(
        title="SINBAD",
        summary="Crops as sets of features: histograms of random projections, whitened, nearest image.",
        version=1,
        paper=Citation(
            "Cohen, Tzachor, Hoshen",
            "Set Features for Fine-grained Anomaly Detection",
            "2023",
            "https://arxiv.org/abs/2302.12245",
        ),
        licence="Apache-2.0",
        weights_licence="BSD-3-Clause (wide_resnet50_2.tv_in1k)",
        trained=False,
        demo=Demo(
            {
                "layers": ("layer3", "layer2"),
                "image_size": 256,
                "crop_size": 64,
                "projections": 100,
                "pixel_repetitions": 5,
            },
            "small crops of a small picture; the small demo backbone takes the place of wide_resnet50_2",
            {"categories": ["juice_bottle"], "shots": [4]},
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        ignores=lambda params: frozenset({"run_seed"}),
        unmet=unmet,
        problems=_problems,
        sizes=_sizes,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=240),
        seconds=300,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "backbone": "test_resnet",
        "image_size": 64,
        "ratios": (0.5, 0.99),
        "crop_size": 32,
        "projections": 20,
        "pixel_repetitions": 3,
        "norm_source": "none",
    }

    _: KW_ONLY
    backbone: str = BACKBONE
    layers: given.Layers = LAYERS
    image_size: Side = 1024
    ratios: Annotated[tuple[Ratio, ...], Field(min_length=1)] = (0.25, 0.5, 0.7, 0.99)
    crop_size: Side = 224
    projections: PositiveInt = 1000
    projection_seed: NonNegativeInt = 0
    shrinkage: Annotated[float, Field(gt=0, le=1)] = 0.1
    whiten: Whiten = "inverse"
    crop_mean: Literal["cubic", "plain"] = "cubic"
    pixel_repetitions: NonNegativeInt = 100
    pixel_weight: NonNegativeFloat = 0.1
    norm_source: NormSource = "validation"
    bank: Bank = field(init=False, repr=False)
    scales: Distances = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Thresholds, covariances and descriptors of the training images, and the scales of all distances.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: no training image, or too few images for `norm_source`.
        """
        if not len(data.train):
            raise NeedNotMet("SINBAD needs at least one training image")
        if reason := too_few(self.norm_source, len(data.train), len(data.validation)):
            raise NeedNotMet(reason)
        train = self._readings(data.train)
        self.bank = Bank.of(train, self._spec)
        self.scales = _scales(self._calibration(train, data.validation))
        return self

    def score(self, images: ImageSet) -> Scores:
        """Mean over layers and sizes of scaled distances, and the weighted median of those of pixel sets.

        Returns:
            Scores with a part per layer and "pixels" (not weighted); no maps.
        """
        found = [
            self._parts(self.bank.distances(each))
            for part in batches(images, 8)
            for each in self._readings(part)
        ]
        parts = {name: np.array([each[name] for each in found]) for name in found[0]}
        image = np.mean([parts[name] for name in self.layers], axis=0)
        return Scores(image + self.pixel_weight * parts[PIXELS] if PIXELS in parts else image, parts)

    def _parts(self, distances: Distances) -> dict[str, float]:
        scaled = {name: each / self.scales[name] if self.scales else each for name, each in distances.items()}
        pixels = {PIXELS: float(np.median(scaled[PIXELS]))} if len(scaled[PIXELS]) else {}
        return {**{name: float(scaled[name].mean()) for name in self.layers}, **pixels}

    def _calibration(self, train: Sequence[Readings], validation: ImageSet) -> list[Distances]:
        """Distances of normal images that are not in the bank."""
        if self.norm_source == "none":
            return []
        if self.norm_source == "validation":
            parts = batches(validation, 8)
            return [self.bank.distances(each) for part in parts for each in self._readings(part)]
        others = ([*train[:i], *train[i + 1 :]] for i in range(len(train)))
        return [Bank.of(rest, self._spec).distances(own) for rest, own in zip(others, train, strict=True)]

    def _readings(self, images: ImageSet) -> list[Readings]:
        return readings(images, self._spec.crops, self.context.artifacts, self.context.device)

    @cached_property
    def _spec(self) -> SetSpec:
        network = given.spec(vars(self), Geometry.square(self.crop_size))
        crops = CropSpec(network, self.image_size, tuple(self.ratios), self.projections, self.projection_seed)
        return SetSpec(crops, self.shrinkage, self.whiten, self.crop_mean, self.pixel_repetitions)


def _scales(normal: Sequence[Distances]) -> Distances:
    """Mean distances, by what they are of; 1 where every one is 0 (as with a crop beside the picture)."""
    means = {name: np.mean([each[name] for each in normal], axis=0) for name in (normal[0] if normal else ())}
    return {name: np.where(each > 0, each, 1.0) for name, each in means.items()}
