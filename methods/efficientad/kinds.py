"""What the two recipes are told besides what they share, and what training and reading of maps that comes to.

Detectors and what is built on them take these fields over: a training is known by them alone.
"""

from dataclasses import KW_ONLY, dataclass, replace
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat

from harness.data import FitData
from methods.efficientad.detector import Fusion
from methods.efficientad.recipe import Constraint, Ema, Locations, Norm, Recipe, Reduction, Warmup
from methods.efficientad.settings import Part, Settings, vanilla
from methods.efficientad.task import Task
from methods.efficientad.teacher import Teacher, teacher_file


@dataclass
class Vanilla(Settings):
    """EfficientAD.

    Args:
        imagenet_penalty: folder of images that are not of the category (ImageNet), on which the student
            is kept from imitating the teacher; None for none.
        ae_augment: jitter brightness, contrast or saturation on the autoencoder's path.
    """

    _: KW_ONLY
    imagenet_penalty: str | None = None
    ae_augment: bool = True

    def _task(self, data: FitData) -> Task:
        return _task_of(self, self._recipe, data, self.imagenet_penalty)

    @property
    def _recipe(self) -> Recipe:
        return replace(vanilla(self), ae_augment=self.ae_augment, penalty=self.imagenet_penalty is not None)

    @property
    def _fusion(self) -> Fusion:
        return Fusion(self.q_a, self.q_b, self.norm_source, sigmoid=False, scale=0.1)


@dataclass
class Constrained(Settings):
    """EfficientAD-DFSC.

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


def _task_of(given: Settings, recipe: Recipe, data: FitData, penalty: str | None) -> Task:
    file = teacher_file(given.size, given.weights)
    teacher = Teacher(given.size, file, given.image_size, given.context.device)
    return Task(recipe, teacher, data.train, penalty, given.context)
