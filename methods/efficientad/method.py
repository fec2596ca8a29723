"""EfficientAD and EfficientAD-DFSC: two recipes of one training, two readings of its maps."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Annotated, ClassVar, TypeVar, final

from pydantic import Field, NonNegativeFloat, PositiveFloat

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.method import Card, Demo, Scores
from harness.views import View
from methods.efficientad import detector
from methods.efficientad.detector import Fusion
from methods.efficientad.recipe import Constraint, Ema, Locations, Norm, Recipe, Reduction, Warmup
from methods.efficientad.settings import RESOURCES, Part, Settings, assets, together, unmet, vanilla
from methods.efficientad.task import Task
from methods.efficientad.teacher import Teacher, teacher_file
from methods.shared.pixels import square_input

Either = TypeVar("Either", "EfficientAD", "EfficientADDFSC")

_DEMO = {"image_size": 64, "steps": 400, "learning_rate": 0.001}
_ON = {"categories": ["juice_bottle"], "shots": ["full"], "seeds": [0]}  # one training, not 18 of 12 steps

# What both do is written once, as functions which both classes take for their methods: neither stands above
# the other, and no class between them would be one that anybody runs.


def _fit(self: Either, data: FitData) -> Either:
    """Train student and autoencoder, or find them trained; take quantiles of normal maps.

    Raises:
        NeedNotMet: there is no training image.
        HarnessError: a loss is not finite any more; names the step.
        WeightsError, DataError: a file cannot be used.
    """
    self.detector = detector.fit(self._task(data), self._fusion, data)
    return self


def _fit_together(cls: type[Either], members: Sequence[tuple[Either, FitData]]) -> None:
    """Train several as one network (`settings.together`); each one's `fit` then finds its own."""
    del cls
    detector.fit_together([method._task(data) for method, data in members])


def _score(self: Either, images: ImageSet) -> Scores:
    """Largest value of the combined map; see `detector.Detector.score`."""
    return self.detector.score(images)


def _explain(self: Either, images: ImageSet) -> list[tuple[View, ...]]:
    """The two maps behind every score."""
    return self.detector.explain(images)


def _task_of(given: Settings, recipe: Recipe, data: FitData, penalty: str | None) -> Task:
    file = teacher_file(given.size, given.weights)
    teacher = Teacher(given.size, file, given.image_size, given.context.device)
    return Task(recipe, teacher, data.train, penalty, given.context)


@final
@dataclass
class EfficientAD(Settings):
    """A student imitates a frozen teacher on normal images; an autoencoder, what belongs where.

    Adam; its rate falls to a tenth after 95 % of the steps.

    Args:
        imagenet_penalty: folder of images that are not of the category (ImageNet), on which the student
            is kept from imitating the teacher; None for none.
        ae_augment: jitter brightness, contrast or saturation on the autoencoder's path.
    """

    card: ClassVar[Card] = Card(
        title="EfficientAD",
        summary="Where a student fails to imitate its teacher, and an autoencoder its student.",
        version=1,
        paper=Citation(
            "Batzner, Heckler, König",
            "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies",
            "WACV 2024",
            "https://arxiv.org/abs/2303.14535",
        ),
        licence="Apache-2.0",
        weights_licence="that of the teacher given; Apache-2.0 of nelson1425/EfficientAD's",
        trained=True,
        uses=frozenset({"external images"}),
        demo=Demo(_DEMO, "400 steps instead of 70,000: it shows that it runs, not what it can", _ON),
        paths=frozenset({"weights", "imagenet_penalty"}),
        assets=assets,
        unmet=unmet,
        together=together,
        resources=RESOURCES,
        sizes=square_input,
    )

    _: KW_ONLY
    imagenet_penalty: str | None = None
    ae_augment: bool = True

    fit, score, explain = _fit, _score, _explain
    fit_together = classmethod(_fit_together)

    def _task(self, data: FitData) -> Task:
        return _task_of(self, self._recipe, data, self.imagenet_penalty)

    @property
    def _recipe(self) -> Recipe:
        return replace(vanilla(self), ae_augment=self.ae_augment, penalty=self.imagenet_penalty is not None)

    @property
    def _fusion(self) -> Fusion:
        return Fusion(self.q_a, self.q_b, self.norm_source, sigmoid=False, scale=0.1)


@final
@dataclass
class EfficientADDFSC(Settings):
    """EfficientAD-S whose autoencoder has to stay away from the teacher where they differ most.

    AdamW; its rate falls to a tenth after 90 % of the steps.

    Args:
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
    """

    card: ClassVar[Card] = replace(
        EfficientAD.card,
        title="EfficientAD-DFSC",
        summary="EfficientAD whose autoencoder keeps a margin to the teacher's most distinctive features.",
        version=1,
        paper=Citation(
            "Lee, Kim",
            "Separating Novel Features for Logical Anomaly Detection: "
            "A Straightforward yet Effective Approach",
            "arXiv:2407.17909, 2024",
            "https://arxiv.org/abs/2407.17909",
        ),
        uses=frozenset(),
        demo=Demo(
            _DEMO | {"warmup": "none", "ema_momentum": 0.9},
            "warm-up and average are made for thousands of steps",
            _ON,
        ),
        paths=frozenset({"weights"}),
    )

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

    fit, score, explain = _fit, _score, _explain
    fit_together = classmethod(_fit_together)

    def _task(self, data: FitData) -> Task:
        return _task_of(self, self._recipe, data, None)

    @property
    def _recipe(self) -> Recipe:
        return replace(
            vanilla(self),
            optimiser="adamw",
            drop=0.9,
            warmup=self.warmup,
            ae_augment=False,
            in_relu=self.in_relu,
            in_affine=self.in_affine,
            stae_detach_ae=self.stae_detach_ae,
            loss_reduction=self.loss_reduction,
            ema=self.ema,
            ema_momentum=self.ema_momentum,
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
