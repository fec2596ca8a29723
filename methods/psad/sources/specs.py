"""What each source of part labels reads of PSAD's hyper-parameters; every field is one of `PSAD`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

if TYPE_CHECKING:
    from methods.psad.losses import HistLoss
    from methods.psad.training import Losses


@final
@dataclass(frozen=True)
class SupportSpec:
    """Whose labels, and of which images."""

    labels_dir: str | None
    n_labelled: int | None
    n_types: int | None


@final
@dataclass(frozen=True)
class OwnSpec:
    """How the few-shot segmenter is taught."""

    losses: "Losses"
    hist_loss: "HistLoss"
    hist_classes: tuple[int, ...] | None
    lambdas: tuple[float, ...]
    unlabelled: Literal["support", "off"]
    warm_up_epochs: int
    epochs: int
    epoch_steps: int | None
    batch_size: int
    learning_rate: float
    rotation: int | None
    pseudo_label_stage: bool
    pseudo_epochs: int


@final
@dataclass(frozen=True)
class FolderSpec:
    """Where another tool's label maps are."""

    segments_dir: str | None


@final
@dataclass(frozen=True)
class RepriSpec:
    """Constants of RePRI's inference."""

    repri_steps: int
    repri_update: int
    repri_temperature: float
    repri_rate: float


@final
@dataclass(frozen=True)
class SegGptSpec:
    """Which weights SegGPT has."""

    seggpt_weights: str


@final
@dataclass(frozen=True)
class CoPartsSpec:
    """How many parts K-means looks for."""

    co_parts: int
