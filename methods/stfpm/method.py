"""STFPM: a student that imitates the features of a frozen teacher of its own architecture."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Read, Resources, Scores
from harness.notes import note
from methods.shared.backbones import names
from methods.shared.backbones.features import FeatureSpec
from methods.shared.pixels import Geometry, Side, batches, square_input
from methods.shared.training.precision import Precision, Used, used
from methods.shared.weights import assets

Triple = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
BACKBONE = "resnet18.tv_in1k"
LAYERS = ("layer1", "layer2", "layer3")


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return names.problems(params, (BACKBONE, LAYERS))


def _reads(params: Mapping[str, Any], native: tuple[int, int]) -> Sequence[Read]:
    del native
    return STFPM(Context(), **params).spec.reads


@final
@dataclass
class STFPM:
    """Where a student that has seen normal images alone does not give its teacher's features.

    Args:
        context: run seed, device, artifact store, scratch folder (state, `losses.csv`).
        backbone: a model of timm, or of torchvision as `torchvision:NAME` (`methods.shared.weights`); teacher
            and student.
        layers: names of its modules that are compared, the largest grid first.
        weights: of the teacher: None for the library's own, a path, or "demo".
        image_size: side in pixels to which images are resized.
        stfpm_select: which epoch's student is kept: the last, or the one with the least mean map over a fifth
            of the training images, which is then held out ("train20", the authors' code), or over the
            validation images ("val"). Where there is nothing to hold out it is the last; the row says so.
        epochs: of the training images.
        steps: of the optimiser instead, whatever the number of images.
        batch_size: images in a step; all where there are fewer.
        learning_rate, weight_decay: of stochastic gradient descent with a momentum of 0.9.
        precision: of the trained convolutions; auto is tf32 on a card that has it, else float32.
        mean, std: normalisation of [0, 1] images; None for the library's.
    """

    card: ClassVar[Card] = Card(
        title="STFPM",
        summary="Where a student does not give the features of its teacher, at three levels.",
        version=1,
        paper=Citation(
            "Wang, Han, Ding, Huang",
            "Student-Teacher Feature Pyramid Matching for Anomaly Detection",
            "BMVC 2021",
            "https://arxiv.org/abs/2103.04257",
        ),
        licence="Apache-2.0",
        weights_licence="BSD-3-Clause (resnet18.tv_in1k)",
        trained=True,
        demo=Demo(
            {"image_size": 128, "steps": 60},
            "60 steps instead of 100 and the small demo backbone: it shows that it runs",
            {"shots": [1], "seeds": [0]},
        ),
        paths=frozenset({"weights"}),
        assets=assets,
        problems=_problems,
        sizes=square_input,
        reads=_reads,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=240),
        seconds=180.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 64, "steps": 15}

    context: Context
    _: KW_ONLY
    backbone: str = BACKBONE
    layers: Annotated[tuple[str, ...], Field(min_length=1)] = LAYERS
    weights: str | None = None
    image_size: Side = 256
    stfpm_select: Literal["last", "val", "train20"] = "last"
    epochs: PositiveInt = 100
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 0.4
    weight_decay: NonNegativeFloat = 1e-4
    precision: Precision = "auto"
    mean: Triple | None = None
    std: Triple | None = None
    pair: Any = field(init=False, repr=False)  # of methods.stfpm.training, which imports torch

    def fit(self, data: FitData) -> Self:
        """Train the student on the teacher's features of the training images, or find it trained.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: there is no training image.
            HarnessError: a loss is not finite; names the step.
        """
        from methods.shared.training import draws
        from methods.stfpm.training import Recipe, trained

        if not len(data.train):
            raise NeedNotMet("STFPM needs at least one training image")
        images, selection = self._parted(data)
        recipe = Recipe(
            steps=self.steps or self.epochs * draws.batches(len(images), self.batch_size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            precision=self.precision_used,
            chosen=() if selection is None else tuple(selection.keys()),
        )
        self.pair = trained(images, selection, self.spec, recipe, self.context)
        return self

    def score(self, images: ImageSet) -> Scores:
        """The largest value of the map, in which the levels' squared distances are multiplied.

        Returns:
            Scores with maps at the size of the network's input, (n, height, width).
        """
        maps = []
        for part in batches(images, 32):
            inputs = self.pair.inputs(part)
            maps += [self.pair.map(inputs.batch([i])) for i in range(len(part))]
        return Scores(np.array([each.max() for each in maps], np.float64), maps=np.stack(maps))

    def _parted(self, data: FitData) -> tuple[ImageSet, ImageSet | None]:
        """Images to learn from, and those by which an epoch is chosen."""
        from methods.stfpm.selection import held_out

        if self.stfpm_select == "last":
            return data.train, None
        if self.stfpm_select == "val" and len(data.validation):
            return data.train, data.validation
        out = held_out(len(data.train))
        rest = [i for i in range(len(data.train)) if i not in out]
        if self.stfpm_select == "train20" and rest:
            return data.train.subset(rest), data.train.subset(out)
        note(f"stfpm_select: {self.stfpm_select}: there are no images to hold out; the last epoch is kept")
        return data.train, None

    @property
    def precision_used(self) -> Used:
        """What `precision` comes to on the device."""
        return used(self.precision, self.context.device)

    @property
    def spec(self) -> FeatureSpec:
        """The teacher's features."""
        mean, std = (None if v is None else tuple(v) for v in (self.mean, self.std))
        geometry = Geometry.square(self.image_size)
        return FeatureSpec(self.backbone, self.weights, tuple(self.layers), geometry, mean=mean, std=std)
