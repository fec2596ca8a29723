"""PUAD: how unusual the mean of the student's maps is, added to EfficientAD's score.

Nothing is trained that EfficientAD or EfficientAD-DFSC with the same settings would not train: the training
has their identity, and whoever comes first leaves it in the store.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Annotated, ClassVar, Literal, TypeVar, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.method import Card, Scores
from harness.views import View
from methods.efficientad import detector
from methods.efficientad.detector import Detector
from methods.efficientad.gaussian import Gaussian
from methods.efficientad.kinds import Constrained, Vanilla
from methods.efficientad.method import DFSC, EFFICIENTAD, EfficientAD, EfficientADDFSC

Either = TypeVar("Either", "PUAD", "PUADDFSC")
Of = Literal["student", "teacher"]
Least = Annotated[int, Field(ge=3)]


@final
@dataclass(frozen=True, eq=False)
class Unusual:
    """The unpictorial half: a Gaussian of means, and the scale of both scores.

    Attributes:
        of: whose maps the means are of.
        gaussian: of the training images' means.
        centre, spread: mean and standard deviation of EfficientAD's score and of the distance, (2,) each.
    """

    of: Of
    gaussian: Gaussian
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

    @staticmethod
    def learnt(found: Detector, of: Of, data: FitData) -> "Unusual":
        """That of the training images; validation images, or else these, set the scale."""
        gaussian = Gaussian.of(_means(found, of, data.train))
        normal = data.validation if len(data.validation) else data.train
        both = np.stack([found.score(normal).image, _distances(gaussian, _means(found, of, normal))])
        spread = both.std(axis=1)
        # equal scores of all normal images say nothing of a scale
        return Unusual(of, gaussian, both.mean(axis=1), np.where(spread > 0, spread, 1.0))

    def distances(self, found: Detector, images: ImageSet) -> NDArray[np.float64]:
        """Mahalanobis' distance of every image, (n,)."""
        return _distances(self.gaussian, _means(found, self.of, images))

    def summed(self, scores: NDArray[np.float64], distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Both on the scale of normal images, added up; (n,)."""
        return sum(
            ((each - self.centre[i]) / self.spread[i] for i, each in enumerate((scores, distances))),
            np.zeros(len(scores)),
        )


def _means(found: Detector, of: Of, images: ImageSet) -> NDArray[np.float64]:
    row = {"student": 0, "teacher": 1}[of]
    return np.stack([means[row] for means in found.reader.means(images)]).astype(np.float64)


def _distances(gaussian: Gaussian, means: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([gaussian.distance(row) for row in means])


# As in `method`, what both do is written once.


def _fit(self: Either, data: FitData) -> Either:
    """Fit the detector below, and a Gaussian to the means of the training images where there are enough.

    Raises:
        NeedNotMet, HarnessError: see `EfficientAD.fit`.
    """
    self.detector = detector.fit(self._task(data), self._fusion, data)
    enough = len(data.train) >= self.least_images
    self.unusual = Unusual.learnt(self.detector, self.of, data) if enough else None
    return self


def _fit_together(cls: type[Either], members: Sequence[tuple[Either, FitData]]) -> None:
    """Train several as one network (`settings.together`); each one's `fit` then finds its own."""
    del cls
    detector.fit_together([method._task(data) for method, data in members])


def _score(self: Either, images: ImageSet) -> Scores:
    """Both scores on the scale of normal images, added up.

    Returns:
        Scores with the parts "efficientad" (the score of the detector below, as it is) and "mahalanobis";
        with fewer than `least_images` training images the score is the former, and the latter 0. Maps are
        those of the detector below.
    """
    below = self.detector.score(images)
    if self.unusual is None:
        parts = {"efficientad": below.image, "mahalanobis": np.zeros(len(images))}
        return Scores(below.image, parts, below.maps)
    distances = self.unusual.distances(self.detector, images)
    parts = {"efficientad": below.image, "mahalanobis": distances}
    return Scores(self.unusual.summed(below.image, distances), parts, below.maps)


def _explain(self: Either, images: ImageSet) -> list[tuple[View, ...]]:
    """The two maps behind EfficientAD's half of every score."""
    return self.detector.explain(images)


@final
@dataclass
class PUAD(Vanilla):
    """EfficientAD, and the distance of the mean of the student's maps from that of normal images.

    Args:
        of: whose maps are averaged over all places: the student's (those that imitate the teacher), or the
            teacher's.
        least_images: with fewer training images there is no distance, and the score is EfficientAD's.
    """

    card: ClassVar[Card] = replace(
        EfficientAD.card,
        title="PUAD",
        summary="EfficientAD's score plus how unusual the mean of its student's maps is.",
        version=1,
        paper=Citation(
            "Sugawara, Imamura",
            "PUAD: Frustratingly Simple Method for Robust Anomaly Detection",
            "ICIP 2024",
            "https://arxiv.org/abs/2402.15143",
        ),
        further=(("The detector below", EFFICIENTAD),),
    )

    _: KW_ONLY
    of: Of = "student"
    least_images: Least = 3
    unusual: Unusual | None = field(init=False, repr=False)

    fit, score, explain = _fit, _score, _explain
    fit_together = classmethod(_fit_together)


@final
@dataclass
class PUADDFSC(Constrained):
    """EfficientAD-DFSC, and the distance of the mean of the student's maps from that of normal images.

    Args:
        of: whose maps are averaged over all places: the student's (those that imitate the teacher), or the
            teacher's.
        least_images: with fewer training images there is no distance, and the score is EfficientAD-DFSC's.
    """

    card: ClassVar[Card] = replace(
        EfficientADDFSC.card,
        title="PUAD on EfficientAD-DFSC",
        summary="EfficientAD-DFSC's score plus how unusual the mean of its student's maps is.",
        version=1,
        paper=PUAD.card.paper,
        further=(("The detector below", DFSC),),
    )

    _: KW_ONLY
    of: Of = "student"
    least_images: Least = 3
    unusual: Unusual | None = field(init=False, repr=False)

    fit, score, explain = _fit, _score, _explain
    fit_together = classmethod(_fit_together)
