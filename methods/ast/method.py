"""AST: where a student does not give what its teacher, a normalizing flow, gives of frozen features."""

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
from methods.shared.pixels import Geometry, Side, batches, square_input
from methods.shared.training.precision import Precision, Used, used
from methods.shared.weights import assets

Triple = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
BACKBONE = "tf_efficientnet_b5.aa_in1k"
LAYER = "blocks.5"


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = names.problems({**params, "layers": [params["layer"]]}, (BACKBONE, (LAYER,)))
    return [("layer" if key == "layers" else key, text) for key, text in found]


def _reads(params: Mapping[str, Any], native: tuple[int, int]) -> Sequence[Read]:
    del native
    return AST(Context(), **params).spec.reads


@final
@dataclass
class AST:
    """An asymmetric pair: the flow has to give normal features likely values, the student to imitate it.

    Args:
        context: run seed, device, artifact store, scratch folder (states, losses of both trainings).
        backbone: a model of timm, or of torchvision as `torchvision:NAME` (`methods.shared.weights`).
        layer: name of one of its modules; the authors' is the last of the fifth stage, of stride 32.
        weights: None for the library's own, a path, or "demo".
        image_size: side in pixels to which images are resized.
        epochs: of the training images, for the teacher and for the student.
        steps: of the optimiser instead, for each, whatever the number of images.
        batch_size: images in a step; all where there are fewer.
        learning_rate, weight_decay: of Adam.
        teacher_hidden: channels inside the subnets of the teacher's four couplings.
        student_hidden: channels inside the student's four residual blocks.
        position_channels: of the position encoding, a multiple of 4.
        clamp: bounds the logarithm of the teacher's scales to ±clamp.
        pooling: the largest difference of a position as the image's score, or their mean.
        precision: of the trained convolutions; auto is tf32 on a card that has it, else float32.
        mean, std: normalisation of [0, 1] images; None for the library's.
    """

    card: ClassVar[Card] = Card(
        title="AST",
        summary="Where a student does not give what a normalizing flow gives of frozen features.",
        version=1,
        paper=Citation(
            "Rudolph, Wehrbein, Rosenhahn, Wandt",
            "Asymmetric Student-Teacher Networks for Industrial Anomaly Detection",
            "WACV 2023",
            "https://arxiv.org/abs/2210.07829",
        ),
        licence="Apache-2.0",
        weights_licence="Apache-2.0 (tf_efficientnet_b5.aa_in1k)",
        trained=True,
        validation=False,
        demo=Demo(
            {"layer": "layer2", "image_size": 128, "steps": 30, "student_hidden": 64, "learning_rate": 0.001},
            "30 steps, a narrow student and the small demo backbone: it shows that it runs",
            {"shots": [1], "seeds": [0]},
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        problems=_problems,
        sizes=square_input,
        reads=_reads,
        resources=Resources(gpus=0.5, cpus=2, timeout_minutes=720),
        seconds=900.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "weights": "demo",
        "layer": "layer2",
        "image_size": 64,
        "steps": 30,
        "student_hidden": 16,
        "learning_rate": 0.002,
    }

    context: Context
    _: KW_ONLY
    backbone: str = BACKBONE
    layer: str = LAYER
    weights: str | None = None
    image_size: Side = 768
    epochs: PositiveInt = 240
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 8
    learning_rate: PositiveFloat = 2e-4
    weight_decay: NonNegativeFloat = 1e-5
    teacher_hidden: PositiveInt = 64
    student_hidden: PositiveInt = 1024
    position_channels: Annotated[int, Field(gt=0, multiple_of=4)] = 32
    clamp: PositiveFloat = 1.9
    pooling: Literal["max", "mean"] = "max"
    precision: Precision = "auto"
    mean: Triple | None = None
    std: Triple | None = None
    pair: Any = field(init=False, repr=False)  # of methods.ast.training, which imports torch

    def fit(self, data: FitData) -> Self:
        """Train teacher and student on the features of the training images, or find them trained.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: there is no training image.
            HarnessError: a loss is not finite; names the training and the step.
        """
        from methods.ast.training import Recipe, trained
        from methods.shared.training import draws

        if not len(data.train):
            raise NeedNotMet("AST needs at least one training image")
        recipe = Recipe(
            steps=self.steps or self.epochs * draws.batches(len(data.train), self.batch_size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            hidden=(self.teacher_hidden, self.student_hidden),
            position=self.position_channels,
            clamp=self.clamp,
            precision=self.precision_used,
        )
        found = [each[self.layer] for each in self._features(data.train)]
        identity = {"features": self.spec.reads}
        self.pair = trained(found, tuple(data.train.keys()), identity, recipe, self.context)
        return self

    def score(self, images: ImageSet) -> Scores:
        """The largest squared difference of student and teacher, mean over channels, or the mean one.

        Returns:
            Scores with the parts "max" and "mean", and maps at the resolution of the features, (n, h, w).
        """
        maps = [
            self.pair.differences(each[self.layer])
            for part in batches(images, 32)
            for each in self._features(part)
        ]
        largest = np.array([each.max() for each in maps], np.float64)
        mean = np.array([each.mean(dtype=np.float64) for each in maps], np.float64)
        chosen = largest if self.pooling == "max" else mean
        return Scores(chosen, {"max": largest, "mean": mean}, np.stack(maps))

    def _features(self, images: ImageSet) -> Sequence[Mapping[str, Any]]:
        return features(images, self.spec, self.context.artifacts, self.context.device)

    @property
    def precision_used(self) -> Used:
        """What `precision` comes to on the device."""
        return used(self.precision, self.context.device)

    @property
    def spec(self) -> FeatureSpec:
        """Which features it looks at."""
        mean, std = (None if v is None else tuple(v) for v in (self.mean, self.std))
        geometry = Geometry.square(self.image_size)
        return FeatureSpec(self.backbone, self.weights, (self.layer,), geometry, mean=mean, std=std)
