"""Products that several images show: each is one thing to be judged, scored by the highest of its views.

Real-IAD (Wang et al., CVPR 2024) photographs a product from five sides; it is anomalous if any side is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from harness.metrics.targets import Groups

GOOD = "good"


@final
@dataclass(frozen=True)
class ScoredSample:
    """One test image, or one product, as metrics see it.

    Attributes:
        score: higher is more anomalous.
        label: "good", "logical", "structural", or the defect folder of data sets without that division.
        defect: defect type or types that the image shows, if known.
        name: for messages.
        view_of: the product that it is one view of; None where an image is all there is of a product.
    """

    score: float
    label: str
    defect: str | tuple[str, ...] | None = None
    name: str = ""
    view_of: str | None = None

    @property
    def defects(self) -> Groups:
        """Defect types as a tuple, without empty names."""
        named = (self.defect,) if isinstance(self.defect, str) else self.defect or ()
        return tuple(filter(None, named))

    @property
    def groups(self) -> Groups | None:
        """Subsets that the image counts in; None if it is good, which counts in all of them."""
        if self.label == GOOD:
            return None
        return tuple(dict.fromkeys(("all", self.label, *self.defects)))


def products(samples: Sequence[ScoredSample]) -> list[ScoredSample]:
    """The products that images are views of, in the order in which they are met; none unless all images are.

    A product counts in the subsets of all of its views, so that one with another defect is in neither class
    of a defect's subset, although some of its views are normal images.
    """
    views: dict[str, list[ScoredSample]] = {}
    for sample in samples:
        if sample.view_of is None:
            return []
        views.setdefault(sample.view_of, []).append(sample)
    return [_product(name, seen) for name, seen in views.items()]


def _product(name: str, views: Sequence[ScoredSample]) -> ScoredSample:
    score = max(view.score for view in views)
    bad = [view for view in views if view.label != GOOD]
    if not bad:
        return ScoredSample(score, GOOD, name=name)
    shown = tuple(dict.fromkeys(group for view in bad for group in (view.label, *view.defects)))
    return ScoredSample(score, bad[0].label, shown, name)
