"""RD4AD: a decoder that makes a frozen encoder's features again of their condensation."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Read, Resources, Scores
from methods.shared.backbones import names
from methods.shared.backbones.features import FeatureSpec, features
from methods.shared.pixels import LARGEST_SIDE, Geometry, batches, square_input
from methods.shared.training.precision import Precision, Used, used
from methods.shared.weights import assets

Triple = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
Side = Annotated[int, Field(ge=64, le=LARGEST_SIDE, multiple_of=32)]
BACKBONE = "wide_resnet50_2.tv_in1k"
LAYERS = ("layer1", "layer2", "layer3")


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return names.problems(params, (BACKBONE, LAYERS))


def _reads(params: Mapping[str, Any], native: tuple[int, int]) -> Sequence[Read]:
    del native
    return RD4AD(Context(), **params).spec.reads


@final
@dataclass
class RD4AD:
    """Where features of a frozen encoder cannot be made again of a condensation that knows normal ones.

    Args:
        context: run seed, device, artifact store, scratch folder (state, `losses.csv`).
        backbone: a model of timm, or of torchvision as `torchvision:NAME` (`methods.shared.weights`).
        layers: names of three of its modules, each with half the grid of the one before.
        weights: None for the library's own, a path, or "demo".
        image_size: side in pixels to which images are resized, a multiple of 32.
        rd_loss: cosine of all of an image's features at once ("flat", the authors' code), or position by
            position ("per_pixel", the paper).
        epochs: of the training images.
        steps: of the optimiser instead, whatever the number of images.
        batch_size: images in a step; all where there are fewer.
        learning_rate: of Adam.
        width: part of a block's channels that it has inside; 0.5 as wide_resnet50_2, 0.25 as ResNet-50.
        map_smoothing: standard deviation of the Gaussian over the map, in pixels of the network's input.
        precision: of the trained convolutions; auto is tf32 on a card that has it, else float32.
        mean, std: normalisation of [0, 1] images; None for the library's.
    """

    card: ClassVar[Card] = Card(
        title="RD4AD",
        summary="Where a decoder cannot make features again of their condensation.",
        version=1,
        paper=Citation(
            "Deng, Li",
            "Anomaly Detection via Reverse Distillation from One-Class Embedding",
            "CVPR 2022",
            "https://arxiv.org/abs/2201.10703",
        ),
        licence="Apache-2.0",
        weights_licence="BSD-3-Clause (wide_resnet50_2.tv_in1k)",
        trained=True,
        validation=False,
        demo=Demo(
            {"image_size": 128, "steps": 30},
            "30 steps instead of 200 and the small demo backbone: it shows that it runs",
            {"shots": [1], "seeds": [0]},
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        problems=_problems,
        sizes=square_input,
        reads=_reads,
        resources=Resources(gpus=0.5, cpus=2, timeout_minutes=720),
        seconds=600.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {"backbone": "test_resnet", "image_size": 64, "steps": 15}

    context: Context
    _: KW_ONLY
    backbone: str = BACKBONE
    layers: Annotated[tuple[str, ...], Field(min_length=3, max_length=3)] = LAYERS
    weights: str | None = None
    image_size: Side = 256
    rd_loss: Literal["flat", "per_pixel"] = "flat"
    epochs: PositiveInt = 200
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 16
    learning_rate: PositiveFloat = 0.005
    width: Annotated[float, Field(gt=0, le=1)] = 0.5
    map_smoothing: NonNegativeFloat = 4.0
    precision: Precision = "auto"
    mean: Triple | None = None
    std: Triple | None = None
    networks: Any = field(init=False, repr=False)  # of methods.rd4ad.training, which imports torch

    def fit(self, data: FitData) -> Self:
        """Train embedding and decoder on the features of the training images, or find them trained.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`; or the
                grids of the layers do not halve.
            NeedNotMet: there is no training image.
            HarnessError: a loss is not finite; names the step.
        """
        from methods.rd4ad.training import Recipe, trained
        from methods.shared.training import draws, held

        if not len(data.train):
            raise NeedNotMet("RD4AD needs at least one training image")
        number = self.steps or self.epochs * draws.batches(len(data.train), self.batch_size)
        recipe = Recipe(
            self.rd_loss, number, self.batch_size, self.learning_rate, self.width, self.precision_used
        )
        self.networks = trained(
            held.frozen(data.train, self.spec, self.context),
            tuple(data.train.keys()),
            {"features": self.spec.reads},
            self.spec.layers,
            recipe,
            self.context,
        )
        return self

    def score(self, images: ImageSet) -> Scores:
        """The largest value of the smoothed sum of the levels' differences.

        Returns:
            Scores with maps at the size of the network's input, (n, height, width).
        """
        from methods.rd4ad.training import anomaly_map

        maps = [
            anomaly_map(self.networks.differences(each), self.image_size, self.map_smoothing)
            for part in batches(images, 32)
            for each in features(part, self.spec, self.context.artifacts, self.context.device)
        ]
        return Scores(np.array([each.max() for each in maps], np.float64), maps=np.stack(maps))

    @property
    def precision_used(self) -> Used:
        """What `precision` comes to on the device."""
        return used(self.precision, self.context.device)

    @property
    def spec(self) -> FeatureSpec:
        """Which features it looks at."""
        mean, std = (None if v is None else tuple(v) for v in (self.mean, self.std))
        geometry = Geometry.square(self.image_size)
        return FeatureSpec(self.backbone, self.weights, tuple(self.layers), geometry, mean=mean, std=std)
