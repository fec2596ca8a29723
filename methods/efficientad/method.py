"""EfficientAD and EfficientAD-DFSC: two settings of one training and one reading of its maps."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Self, final

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness.data import FitData, ImageSet
from harness.method import Asset, Card, Context, Resources, Scores, Task
from harness.views import View
from methods.efficientad import detector
from methods.efficientad import task as training
from methods.efficientad.detector import Detector, Fusion, NormSource
from methods.efficientad.recipe import (
    Constraint,
    Ema,
    Locations,
    Norm,
    Precision,
    Recipe,
    Reduction,
    Warmup,
)
from methods.efficientad.teacher import Size, Teacher, folder_digest, teacher_file

Side = Annotated[int, Field(ge=64, multiple_of=32)]
Part = Annotated[float, Field(ge=0, lt=1)]
RESOURCES = Resources(gpus=0.5, cpus=2, timeout_minutes=720)


def _assets(params: Mapping[str, Any], category: str) -> tuple[Asset, ...]:
    del category  # one teacher for all
    file = teacher_file(params["size"], params["weights"])
    found = [Asset(file.backbone, file.sha256, str(file.path), file.marks)]
    if folder := params.get("imagenet_penalty"):
        found.append(Asset("imagenet_penalty", folder_digest(folder)[0], folder))
    return tuple(found)


def _unmet(params: Mapping[str, Any], task: Task) -> str | None:
    del task
    published = {"S": "teacher_small.pth", "M": "teacher_medium.pth"}[params["size"]]
    return (
        None
        if params["weights"]
        else (
            f"no teacher: `weights:` takes {published} of github.com/nelson1425/EfficientAD, anomalib's "
            "pretrained_teacher file, what `python -m methods.efficientad.distill` makes, or `demo`"
        )
    )


def _together(params: Mapping[str, Any]) -> str:
    """What must agree among trials that train as one network: all but the constraint and the reading."""
    free = {"margin", "quantile", "alpha", "q_a", "q_b", "norm_source", "sigmoid", "sigmoid_scale"}
    return json.dumps({k: v for k, v in params.items() if k not in free}, sort_keys=True)


@final
@dataclass
class EfficientAD:
    """A student imitates a frozen teacher on normal images; an autoencoder, what belongs where.

    Args:
        context: run seed, device, artifact store, scratch folder (checkpoints, `losses.csv`).
        size: S or M, of teacher and student.
        weights: file of the teacher, or "demo"; without one the trial is skipped.
        image_size: side in pixels to which images are resized, a multiple of 32.
        steps: of the optimiser, one image each.
        imagenet_penalty: folder of images that are not of the category (ImageNet), on which the student
            is kept from imitating the teacher; None for none.
        ae_augment: jitter brightness, contrast or saturation on the autoencoder's path.
        hard_quantile: of (T - S^T)², above which elements are trained.
        learning_rate, weight_decay: of Adam; the rate falls to a tenth after 95 % of the steps.
        dropout: in the autoencoder's decoder.
        q_a, q_b: quantiles of normal maps that bring the two maps to one scale.
        norm_source: whose maps: "validation" images (training images where there are none), "support" for
            the training images, "none" to add the maps as they are.
        precision: of the convolutions.
    """

    card: ClassVar[Card] = Card(
        title="EfficientAD",
        summary="Where a student fails to imitate its teacher, and an autoencoder its student.",
        version=1,
        paper="Batzner, Heckler, König, EfficientAD, WACV 2024",
        url="https://arxiv.org/abs/2303.14535",
        licence="Apache-2.0",
        paths=frozenset({"weights", "imagenet_penalty"}),
        assets=_assets,
        unmet=_unmet,
        together=_together,
        resources=RESOURCES,
    )
    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 64, "steps": 15}

    context: Context
    _: KW_ONLY
    size: Size = "S"
    weights: str | None = None
    image_size: Side = 256
    steps: PositiveInt = 70_000
    imagenet_penalty: str | None = None
    ae_augment: bool = True
    hard_quantile: Part = 0.999
    learning_rate: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 1e-5
    dropout: Part = 0.2
    q_a: Part = 0.9
    q_b: Part = 0.995
    norm_source: NormSource = "validation"
    precision: Precision = "float32"
    detector: Detector = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Train student and autoencoder, or find them trained; take quantiles of normal maps.

        Raises:
            NeedNotMet: there is no training image.
            HarnessError: a loss is not finite any more; names the step.
            WeightsError, DataError: a file cannot be used.
        """
        self.detector = detector.fit(self._task(data), self._fusion, data)
        return self

    @classmethod
    def fit_together(cls, members: Sequence[tuple[Self, FitData]]) -> None:
        """Train several that differ in seed as one network; each one's `fit` then finds its own."""
        detector.fit_together([method._task(data) for method, data in members])

    def score(self, images: ImageSet) -> Scores:
        """Largest value of the combined map; see `detector.Detector.score`."""
        return self.detector.score(images)

    def explain(self, images: ImageSet) -> list[tuple[View, ...]]:
        """The two maps behind every score."""
        return self.detector.explain(images)

    def _task(self, data: FitData) -> training.Task:
        file = teacher_file(self.size, self.weights)
        teacher = Teacher(self.size, file, self.image_size, self.context.device)
        return training.Task(self._recipe, teacher, data.train, self.imagenet_penalty, self.context)

    @property
    def _recipe(self) -> Recipe:
        return Recipe(
            image_size=self.image_size,
            steps=self.steps,
            optimiser="adam",
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            drop=0.95,
            warmup="none",
            ae_augment=self.ae_augment,
            penalty=self.imagenet_penalty is not None,
            dropout=self.dropout,
            in_relu=False,
            in_affine=False,
            stae_detach_ae=False,
            loss_reduction="mean",
            hard_quantile=self.hard_quantile,
            ema="off",
            ema_momentum=0.0,
            precision=self.precision,
            constraint=None,
        )

    @property
    def _fusion(self) -> Fusion:
        return Fusion(self.q_a, self.q_b, self.norm_source, sigmoid=False, scale=0.1)


@final
@dataclass
class EfficientADDFSC:
    """EfficientAD-S whose autoencoder has to stay away from the teacher where they differ most.

    Args:
        context: run seed, device, artifact store, scratch folder (checkpoints, `losses.csv`).
        margin: m of Eq. 6, the distance to be kept, in [0, 2]; 0 switches the constraint off.
        quantile: of (T - A)², above which elements are distinctive (τ').
        alpha: weight of L_DFSC.
        dfsc_channel_sum: multiply L_DFSC by the number of channels, as Eq. 6 literally says.
        dfsc_norm: normalise T and A over channels before masking, after, or not at all.
        dfsc_locations: average the hinge over all locations, or over those with a distinctive element.
        loss_reduction: means of squared differences, or sums as Eq. 1 says.
        stae_detach_ae: whether the term between student and autoencoder leaves the latter alone.
        in_relu: instance normalisation and one more ReLU in the autoencoder.
        in_affine: whether that normalisation learns a scale and a shift.
        ema: evaluate an average of the student ("eval_copy"), put it in the student's place after every
            step ("inplace"), or none.
        ema_momentum: of the average.
        sigmoid: whether each map goes through a sigmoid before they are added.
        sigmoid_scale: factor of the normalised maps before that.
        warmup: of the learning rate.
        size, weights, image_size, steps, hard_quantile: see `EfficientAD`.
        learning_rate, weight_decay: of AdamW; the rate falls to a tenth after 90 % of the steps.
        dropout, q_a, q_b, norm_source, precision: see `EfficientAD`.
    """

    card: ClassVar[Card] = Card(
        title="EfficientAD-DFSC",
        summary="EfficientAD whose autoencoder keeps a margin to the teacher's most distinctive features.",
        version=1,
        paper="Lee, Kim, Separating Novel Features for Logical Anomaly Detection, 2024",
        url="https://arxiv.org/abs/2407.17909",
        licence="Apache-2.0",
        paths=frozenset({"weights"}),
        assets=_assets,
        unmet=_unmet,
        together=_together,
        resources=RESOURCES,
    )
    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 64, "steps": 15}

    context: Context
    _: KW_ONLY
    margin: Annotated[float, Field(ge=0, le=2)] = 0.4
    quantile: Part = 0.999
    alpha: NonNegativeFloat = 2.0
    dfsc_channel_sum: bool = False
    dfsc_norm: Norm = "pre_mask"
    dfsc_locations: Locations = "all"
    loss_reduction: Reduction = "mean"
    stae_detach_ae: bool = False
    in_relu: bool = True
    in_affine: bool = False
    ema: Ema = "eval_copy"
    ema_momentum: Part = 0.99
    sigmoid: bool = True
    sigmoid_scale: PositiveFloat = 0.1
    warmup: Warmup = "exp0.997"
    size: Size = "S"
    weights: str | None = None
    image_size: Side = 256
    steps: PositiveInt = 70_000
    hard_quantile: Part = 0.999
    learning_rate: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 1e-5
    dropout: Part = 0.2
    q_a: Part = 0.9
    q_b: Part = 0.995
    norm_source: NormSource = "validation"
    precision: Precision = "float32"
    detector: Detector = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Train student and autoencoder, or find them trained; take quantiles of normal maps.

        Raises:
            NeedNotMet: there is no training image.
            HarnessError: a loss is not finite any more; names the step.
            WeightsError, DataError: a file cannot be used.
        """
        self.detector = detector.fit(self._task(data), self._fusion, data)
        return self

    @classmethod
    def fit_together(cls, members: Sequence[tuple[Self, FitData]]) -> None:
        """Train several that differ in seed or constraint as one network; each `fit` finds its own."""
        detector.fit_together([method._task(data) for method, data in members])

    def score(self, images: ImageSet) -> Scores:
        """Largest value of the combined map; see `detector.Detector.score`."""
        return self.detector.score(images)

    def explain(self, images: ImageSet) -> list[tuple[View, ...]]:
        """The two maps behind every score."""
        return self.detector.explain(images)

    def _task(self, data: FitData) -> training.Task:
        file = teacher_file(self.size, self.weights)
        teacher = Teacher(self.size, file, self.image_size, self.context.device)
        return training.Task(self._recipe, teacher, data.train, None, self.context)

    @property
    def _recipe(self) -> Recipe:
        return Recipe(
            image_size=self.image_size,
            steps=self.steps,
            optimiser="adamw",
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            drop=0.9,
            warmup=self.warmup,
            ae_augment=False,
            penalty=False,
            dropout=self.dropout,
            in_relu=self.in_relu,
            in_affine=self.in_affine,
            stae_detach_ae=self.stae_detach_ae,
            loss_reduction=self.loss_reduction,
            hard_quantile=self.hard_quantile,
            ema=self.ema,
            ema_momentum=self.ema_momentum,
            precision=self.precision,
            constraint=self._constraint,
        )

    @property
    def _constraint(self) -> Constraint | None:
        """None where its loss would be 0 anyway: all such trials are one training."""
        if self.margin == 0 or self.alpha == 0:
            return None
        return Constraint(
            margin=self.margin,
            quantile=self.quantile,
            alpha=self.alpha,
            channel_sum=self.dfsc_channel_sum,
            norm=self.dfsc_norm,
            locations=self.dfsc_locations,
        )

    @property
    def _fusion(self) -> Fusion:
        return Fusion(self.q_a, self.q_b, self.norm_source, self.sigmoid, self.sigmoid_scale)
