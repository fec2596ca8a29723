"""From a support set to the segmenter that learns from it: whose labels, which images, for how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from harness.data import FitData, ImageSet
from harness.method import Context
from methods.psad import labelling
from methods.psad.augment import rotation_of
from methods.psad.canvas import Canvas, Frame
from methods.psad.embedding import globally_averaged
from methods.psad.labelling import counted
from methods.psad.losses import HistLoss
from methods.psad.segmentation import Material, PartSegmenter
from methods.psad.training import Losses, TrainingSpec
from methods.shared.backbones.features import FeatureSpec

EPOCH = 70  # steps of an epoch of the paper: about 350 images, batch 5


@final
@dataclass(frozen=True)
class SupportSpec:
    """Who teaches the segmenter, and how; every field is that of `PSAD`."""

    labels_dir: str | None
    n_labelled: int | None
    n_types: int | None
    losses: Losses
    hist_loss: HistLoss
    hist_classes: tuple[int, ...] | None
    lambdas: tuple[float, ...]
    unlabelled: Literal["support", "off"]
    warm_up_epochs: int
    epochs: int
    epoch_steps: int | None
    batch_size: int
    learning_rate: float
    rotation: int | None
    canvas: Frame
    pseudo_label_stage: bool
    pseudo_epochs: int


def segmenter(
    data: FitData, spec: SupportSpec, canvas: Canvas, encoder: FeatureSpec, context: Context
) -> tuple[PartSegmenter, tuple[str, ...]]:
    """A segmenter that is not trained yet, and the names of its classes.

    Args:
        data: images as they are stored.
        spec: hyper-parameters.
        canvas: on which the segmenter sees them.
        encoder: what it is made of.
        context: seed, device, store, scratch folder.

    Raises:
        ConfigError, WeightsError: see `methods.shared.backbones.features.features`.
        DataError: a label file is wrong.
        NeedNotMet: no training image has labels.
    """
    known = labelling.Known.of(data, spec.labels_dir)
    types = spec.n_types or labelling.TYPES.get(data.category, 1)
    number = spec.n_labelled or (types if types > 1 else labelling.N_L)
    candidates, train = sorted(known.sources), canvas.framed(data.train, context.artifacts)
    pooled = _pooled(train, encoder, context, types > 1 or len(candidates) > number)
    labelled = labelling.to_label(candidates, number, pooled)
    others = _unlabelled(spec, len(train), labelled)
    labels = tuple(canvas.labels(known.read(data.train, i)) for i in labelled)
    match = labelling.matched(others, labelled, pooled) if types > 1 and others else None
    material = Material(train.subset(labelled), labels, train.subset(others), match, len(known.classes))
    recipe = _recipe(spec, data.category, material, context.run_seed)
    return PartSegmenter(encoder, recipe, material, context), known.classes


def _pooled(train: ImageSet, encoder: FeatureSpec, context: Context, needed: bool) -> NDArray[np.float32]:
    return globally_averaged(train, encoder, context) if needed else np.zeros((len(train), 1), np.float32)


def _unlabelled(spec: SupportSpec, n: int, labelled: Sequence[int]) -> list[int]:
    if spec.unlabelled == "off":
        return []
    return [i for i in range(n) if i not in labelled] or list(labelled)


def _recipe(spec: SupportSpec, category: str, material: Material, seed: int) -> TrainingSpec:
    epoch = spec.epoch_steps or max(EPOCH, ceil(len(material.unlabelled) / spec.batch_size))
    l1, l2, l3 = spec.lambdas
    return TrainingSpec(
        losses=spec.losses,
        hist_loss=spec.hist_loss,
        hist_classes=counted(spec.hist_loss, spec.hist_classes, category, material.n_classes),
        lambdas=(l1, l2, l3),
        warm_up=spec.warm_up_epochs * epoch,
        joint=spec.epochs * epoch,
        second=spec.pseudo_epochs * epoch if spec.pseudo_label_stage else 0,
        batch=spec.batch_size,
        learning_rate=spec.learning_rate,
        rotation=rotation_of(category) if spec.rotation is None else spec.rotation,
        room=spec.canvas == "native",
        seed=seed,
    )
