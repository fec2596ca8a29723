"""The hyper-parameters that EfficientAD and EfficientAD-DFSC share, and what planning asks of them."""

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness.method import Asset, Context, Resources
from harness.method import Task as Situation
from methods.efficientad.detector import Detector, NormSource
from methods.efficientad.recipe import Recipe
from methods.efficientad.teacher import Size, folder_digest, teacher_file
from methods.shared.pixels import LARGEST_SIDE
from methods.shared.training.precision import Precision, Used, used

Side = Annotated[int, Field(ge=64, le=LARGEST_SIDE, multiple_of=32)]
Part = Annotated[float, Field(ge=0, lt=1)]
RESOURCES = Resources(gpus=0.5, cpus=2, timeout_minutes=720)
SECONDS = 3600.0  # 70,000 steps
# after the training: of maps, and of means
READING = {"q_a", "q_b", "norm_source", "sigmoid", "sigmoid_scale", "of", "least_images"}
CONSTRAINT = {"margin", "quantile", "alpha"}  # may differ between members of a joint training


@dataclass
class Settings:
    """Fields: what is done with them is in `method`.

    Args:
        context: run seed, device, artifact store, scratch folder (checkpoints, `losses.csv`).
        size: S or M, of teacher and student.
        weights: file of the teacher, or "demo"; without one the trial is skipped.
        image_size: side in pixels to which images are resized, a multiple of 32.
        steps: of the optimiser, one image each.
        hard_quantile: of (T - S^T)², above which elements are trained.
        learning_rate, weight_decay: of the optimiser.
        dropout: in the autoencoder's decoder.
        q_a, q_b: quantiles of normal maps that bring the two maps to one scale.
        norm_source: whose maps: "validation" images (training images where there are none), "support" for
            the training images, "none" to add the maps as they are.
        precision: of the convolutions; auto is tf32 on a card that has it, else float32; the row tells
            what it came to (`precision_used`).
    """

    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 64, "steps": 15}

    context: Context
    _: KW_ONLY
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
    precision: Precision = "auto"
    detector: Detector = field(init=False, repr=False)

    @property
    def precision_used(self) -> Used:
        """What `precision` comes to on the device."""
        return used(self.precision, self.context.device)


def vanilla(given: Settings) -> Recipe:
    """EfficientAD's training with the given hyper-parameters, without a penalty."""
    return Recipe(
        image_size=given.image_size,
        steps=given.steps,
        optimiser="adam",
        learning_rate=given.learning_rate,
        weight_decay=given.weight_decay,
        drop=0.95,
        warmup="none",
        ae_augment=True,
        penalty=False,
        dropout=given.dropout,
        in_relu=False,
        in_affine=False,
        stae_detach_ae=False,
        loss_reduction="mean",
        hard_quantile=given.hard_quantile,
        ema="off",
        ema_momentum=0.0,
        precision=given.precision_used,
        constraint=None,
    )


def assets(params: Mapping[str, Any], category: str) -> tuple[Asset, ...]:
    """The teacher, and the folder of the penalty where there is one."""
    del category  # one teacher for all
    file = teacher_file(params["size"], params["weights"])
    found = [Asset(file.backbone, file.sha256, str(file.path), file.marks)]
    if folder := params.get("imagenet_penalty"):
        found.append(Asset("imagenet_penalty", folder_digest(folder)[0], folder))
    return tuple(found)


def unmet(params: Mapping[str, Any], task: Situation) -> str | None:
    """Why it cannot run: no teacher is named."""
    del task
    if params["weights"]:
        return None
    published = {"S": "teacher_small.pth", "M": "teacher_medium.pth"}[params["size"]]
    return (
        f"no teacher: `weights:` takes {published} of github.com/nelson1425/EfficientAD, anomalib's "
        "pretrained_teacher file, what `python -m methods.efficientad.distill` makes, or `demo`"
    )


def together(params: Mapping[str, Any]) -> str:
    """What must agree among trials that train as one network: all but the constraint and the reading."""
    free = CONSTRAINT | READING
    return json.dumps({k: v for k, v in params.items() if k not in free}, sort_keys=True)
