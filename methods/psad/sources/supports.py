"""The labelled images of a support set: whose labels, which images."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from harness.data import ImageSet
from harness.data.labels import Labels
from methods.psad import labelling
from methods.psad.embedding import globally_averaged
from methods.psad.sources.source import Given
from methods.psad.sources.specs import SupportSpec


@final
@dataclass(frozen=True)
class Supports:
    """What is known of the parts of a support set.

    Attributes:
        train: all training images, on the canvas.
        labelled: which of them have labels that are used.
        labels: their label maps on the canvas, at native size.
        classes: names of the labels.
        types: number of product types.
        pooled: GAP features of the training images (n, d), or zeros where nobody needs them.
    """

    train: ImageSet
    labelled: list[int]
    labels: tuple[Labels, ...]
    classes: tuple[str, ...]
    types: int
    pooled: NDArray[np.float32]

    @property
    def images(self) -> ImageSet:
        """The labelled images."""
        return self.train.subset(self.labelled)


def supports(given: Given, spec: SupportSpec) -> Supports:
    """The labelled images; where more training images have labels, the medoids in GAP features.

    Raises:
        ConfigError, WeightsError: see `methods.shared.backbones.features.features`.
        DataError: a label file is wrong.
        NeedNotMet: no training image has labels.
    """
    data, canvas = given.data, given.canvas
    known = labelling.Known.of(data, spec.labels_dir)
    types = spec.n_types or labelling.TYPES.get(data.category, 1)
    number = spec.n_labelled or (types if types > 1 else labelling.N_L)
    candidates, train = sorted(known.sources), canvas.framed(data.train, given.context.artifacts)
    pooled = _pooled(train, given, types > 1 or len(candidates) > number)
    labelled = labelling.to_label(candidates, number, pooled)
    labels = tuple(canvas.labels(known.read(data.train, i)) for i in labelled)
    return Supports(train, labelled, labels, known.classes, types, pooled)


def _pooled(train: ImageSet, given: Given, needed: bool) -> NDArray[np.float32]:
    if not needed:
        return np.zeros((len(train), 1), np.float32)
    return globally_averaged(train, given.encoder, given.context)
