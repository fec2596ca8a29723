"""Which unlabelled images a training step looks at, and what their histograms should be.

In the paper, the histogram of a random labelled image of the same product type. In the released code, that
of the labels which the same step is taught with, turned as they are; and where there are several types,
the unlabelled image is drawn for the labelled one, not the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from harness.data.labels import IGNORED, Labels
from methods.psad.augment import Sample
from methods.shared.pixels import RGB

Histograms = NDArray[np.float32]


class Pairs(NamedTuple):
    """Unlabelled images of a step and their targets.

    Attributes:
        images: indices of unlabelled images, maybe none.
        targets: part of the image that each class should take, (images, N_C).
    """

    images: Sequence[int]
    targets: Histograms


@final
@dataclass(frozen=True)
class Lessons:
    """The images a segmenter learns from, at the size of its input.

    Attributes:
        labelled: with their labels and coordinates.
        unlabelled: may be empty.
        match: for every unlabelled image the labelled one of its product type; None: any will do.
        n_classes: N_C.
    """

    labelled: Sequence[Sample]
    unlabelled: Sequence[RGB]
    match: Sequence[int] | None
    n_classes: int

    @property
    def histograms(self) -> Histograms:
        """Part of each labelled image that each class takes, (N_L, N_C)."""
        shown = [s.labels[s.labels != IGNORED] for s in self.labelled]
        counts = [np.bincount(labels, minlength=self.n_classes) for labels in shown]
        return np.stack([c / max(c.sum(), 1) for c in counts]).astype(np.float32)

    def epoch_batch(self, number: int, size: int, seed: int) -> list[int]:
        """Indices of the unlabelled images of the `number`-th batch; every epoch shuffles anew."""
        n = len(self.unlabelled)
        positions = range(number * size, (number + 1) * size)
        return [int(np.random.default_rng([seed, 1, p // n]).permutation(n)[p % n]) for p in positions]

    def pairs(self, images: Sequence[int], chosen: Sequence[int], histograms: Histograms) -> Pairs:
        """Unlabelled images with the histograms of labelled ones (paper).

        Args:
            images: of the step, see `epoch_batch`.
            chosen: labelled images of the step; of several types, the image decides instead.
            histograms: `histograms`, computed once.
        """
        labels = chosen[: len(images)] if self.match is None else [self.match[i] for i in images]
        return Pairs(images, histograms[list(labels)])

    def drawn_pairs(
        self, images: Sequence[int], chosen: Sequence[int], turned: Sequence[Labels], rng: np.random.Generator
    ) -> Pairs:
        """Unlabelled images with the histograms of the step's labels, turned as they are (released code).

        Args:
            images: of the step, see `epoch_batch`; of several types, others are drawn in their place.
            chosen: labelled images of the step.
            turned: their labels as the step shows them.
            rng: of the draw.
        """
        found = [(self._of_type(j, i, rng), y) for i, j, y in zip(images, chosen, turned, strict=False)]
        kept = [(i, self._share(y)) for i, y in found if i is not None]
        targets = (
            np.stack([share for _, share in kept]) if kept else np.empty((0, self.n_classes), np.float32)
        )
        return Pairs([i for i, _ in kept], targets)

    def _of_type(self, labelled: int, image: int, rng: np.random.Generator) -> int | None:
        if self.match is None:
            return image
        alike = [i for i, j in enumerate(self.match) if j == labelled]
        return int(rng.choice(alike)) if alike else None  # few shots: there may be none of its type

    def _share(self, labels: Labels) -> Histograms:
        """Part of the image, not of a canvas that was enlarged to turn it, that each class takes."""
        counts = np.bincount(labels[labels != IGNORED], minlength=self.n_classes)
        return (counts / self.labelled[0].labels.size).astype(np.float32)
