"""PSAD's own few-shot segmenter: which images it learns from, and for how long."""

from collections.abc import Sequence
from math import ceil

from methods.psad import labelling
from methods.psad.augment import rotation_of
from methods.psad.labelling import counted
from methods.psad.segmentation import Material, PartSegmenter
from methods.psad.sources.source import Given
from methods.psad.sources.specs import OwnSpec, SupportSpec
from methods.psad.sources.supports import supports
from methods.psad.training import TrainingSpec

EPOCH = 70  # steps of an epoch of the paper: about 350 images, batch 5


def source(given: Given, support: SupportSpec, spec: OwnSpec) -> tuple[PartSegmenter, tuple[str, ...]]:
    """A segmenter that is not trained yet, and the names of its classes.

    Raises:
        ConfigError, WeightsError, DataError, NeedNotMet: see `supports`.
    """
    known = supports(given, support)
    labelled, train = known.labelled, known.train
    others = _unlabelled(spec, len(train), labelled)
    match = labelling.matched(others, labelled, known.pooled) if known.types > 1 and others else None
    n_classes = len(known.classes)
    material = Material(train.subset(labelled), known.labels, train.subset(others), match, n_classes)
    recipe = _recipe(spec, given, material)
    return PartSegmenter(given.encoder, recipe, material, given.context), known.classes


def _unlabelled(spec: OwnSpec, n: int, labelled: Sequence[int]) -> list[int]:
    if spec.unlabelled == "off":
        return []
    return [i for i in range(n) if i not in labelled] or list(labelled)


def _recipe(spec: OwnSpec, given: Given, material: Material) -> TrainingSpec:
    category = given.data.category
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
        room=not given.canvas.square,
        seed=given.context.run_seed,
        tf32=given.tf32,
    )
