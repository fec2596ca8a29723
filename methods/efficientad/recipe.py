"""What decides the outcome of a training, as plain data: no torch here, planning reads it."""

import math
from dataclasses import dataclass
from typing import Literal, final

from methods.shared.training.precision import Used

Ema = Literal["eval_copy", "inplace", "off"]
Norm = Literal["pre_mask", "post_mask", "none"]
Locations = Literal["all", "occupied"]
Reduction = Literal["mean", "sum"]
Warmup = Literal["exp0.997", "none"]
BETA_2 = 0.997  # of the exponential warm-up: a time constant of 333 steps


@final
@dataclass(frozen=True)
class Constraint:
    """The distinctive feature separation constraint L_DFSC (DFSC, Eq. 3–6).

    Attributes:
        margin: m, how far from the teacher the autoencoder has to stay where it is farthest.
        quantile: of (T - A)², above which elements count as distinctive; gives τ'.
        alpha: weight of L_DFSC in the total loss.
        channel_sum: multiply by the number of channels, as Eq. 6 literally says.
        norm: normalise T and A over channels before masking them, after, or not at all.
        locations: average over all of them, or over those with a distinctive element.
    """

    margin: float
    quantile: float
    alpha: float
    channel_sum: bool
    norm: Norm
    locations: Locations


@final
@dataclass(frozen=True)
class Recipe:
    """A training without its data, its teacher and its seed.

    Attributes:
        image_size: side of the networks' input in pixels.
        steps: of the optimiser, one image each.
        optimiser, learning_rate, weight_decay: of student and autoencoder.
        drop: part of the steps after which the learning rate is a tenth.
        warmup: exponential growth of the learning rate, or none.
        ae_augment: whether the autoencoder's path sees a colour-jittered image.
        penalty: whether images that are not of the category keep S^T small there.
        dropout: probability in the decoder.
        in_relu: instance normalisation before every activation of the autoencoder, one more ReLU on its
            code.
        in_affine: whether that normalisation is followed by a learnt scale and shift.
        stae_detach_ae: whether the term (A - S^A)² leaves the autoencoder alone.
        loss_reduction: means (as code does), or sums (as Eq. 1 says).
        hard_quantile: of (T - S^T)², above which elements are trained; gives τ.
        ema, ema_momentum: average of the student's weights.
        precision: of the convolutions, as the device has it.
        constraint: None for none.
    """

    image_size: int
    steps: int
    optimiser: Literal["adam", "adamw"]
    learning_rate: float
    weight_decay: float
    drop: float
    warmup: Warmup
    ae_augment: bool
    penalty: bool
    dropout: float
    in_relu: bool
    in_affine: bool
    stae_detach_ae: bool
    loss_reduction: Reduction
    hard_quantile: float
    ema: Ema
    ema_momentum: float
    precision: Used
    constraint: Constraint | None

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        risen = 1 - math.exp(-(1 - BETA_2) * (step + 1)) if self.warmup == "exp0.997" else 1.0
        return self.learning_rate * risen * (0.1 if step >= int(self.drop * self.steps) else 1.0)
