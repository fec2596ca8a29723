"""One number under several protocols, on the same test images however they are grouped into categories.

Five objects or their sub-categories are the same images: what is resampled are the images of an object,
within label and product type, once for all steps. An image that is drawn twice then counts twice in its
sub-category and in its object, and no sub-category is ever without normal images. Draws of the support set
are averaged inside each resample: intervals are about other images, and say nothing of other draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from harness.metrics.bootstrap import GOOD, Bootstrap
from harness.metrics.weighted import WEIGHTED, weighted

Floats = NDArray[np.float64]
BOOTSTRAP = Bootstrap(resamples=1000, kind="percentile")
KINDS = {
    "all": ("all",),
    "logical": ("logical",),
    "structural": ("structural",),
    "mean": ("logical", "structural"),
}


@final
@dataclass(frozen=True)
class Drawn:
    """A number on the images themselves, and on each resample of them.

    Attributes:
        value: NaN where it is not defined.
        drawn: (resamples,).
    """

    value: float
    drawn: Floats

    def minus(self, other: "Drawn") -> tuple[float, float, float]:
        """The difference with the ends of its interval; both drawn from the same images."""
        tails = (1 - BOOTSTRAP.level) / 2, (1 + BOOTSTRAP.level) / 2
        low, high = np.quantile(self.drawn - other.drawn, tails)
        return self.value - other.value, float(low), float(high)


def mean(some: Sequence[Drawn]) -> Drawn:
    """The mean of several numbers, of seeds or of categories."""
    return Drawn(float(np.mean([d.value for d in some])), np.mean([d.drawn for d in some], axis=0))


@final
@dataclass
class Images:
    """The test images of one object.

    Attributes:
        name: of the object; different objects draw differently.
        labels: image -> its label.
        types: image -> its product type, where it has one.
    """

    name: str
    labels: Mapping[str, str]
    types: Mapping[str, str]
    _place: dict[str, int] = field(init=False, repr=False)
    _weights: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._place = {image: i for i, image in enumerate(self.labels)}
        strata = [(label, self.types.get(image, "")) for image, label in self.labels.items()]
        bootstrap = Bootstrap(BOOTSTRAP.resamples, BOOTSTRAP.level, crc32(self.name.encode()), BOOTSTRAP.kind)
        self._weights = bootstrap.weights(strata)

    def number(self, metric: str, subset: str, scores: Mapping[str, float]) -> Drawn | None:
        """A metric of one trial; None where it is no metric of images, or not defined.

        Args:
            metric: a key of `harness.metrics.weighted.WEIGHTED`.
            subset: a key of `KINDS`.
            scores: image -> score, of all or some of the images.
        """
        if metric not in WEIGHTED:
            return None
        parts = [self._part(metric, kind, scores) for kind in KINDS[subset]]
        defined = [part for part in parts if not np.isnan(part.value) and not np.isnan(part.drawn).any()]
        return mean(defined) if len(defined) == len(parts) else None

    def _part(self, metric: str, kind: str, scores: Mapping[str, float]) -> Drawn:
        images = [i for i in scores if kind == "all" or self.labels[i] in (GOOD, kind)]
        values = np.array([scores[i] for i in images], np.float64)
        anomalous = np.array([self.labels[i] != GOOD for i in images], bool)
        function = weighted(metric, values, anomalous)
        at = [self._place[i] for i in images]
        if not anomalous.any() or anomalous.all():
            return Drawn(float("nan"), np.full(BOOTSTRAP.resamples, np.nan))
        return Drawn(float(function(np.ones((1, len(images))))[0]), function(self._weights[:, at]))
