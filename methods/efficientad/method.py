"""EfficientAD and EfficientAD-DFSC: two recipes of one training, two readings of its maps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar, final

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.method import Card, Demo, Scores
from harness.views import View
from methods.efficientad import detector
from methods.efficientad.kinds import Constrained, Vanilla
from methods.efficientad.settings import RESOURCES, SECONDS, assets, together, unmet
from methods.shared.pixels import square_input

Either = TypeVar("Either", "EfficientAD", "EfficientADDFSC")

EFFICIENTAD = Citation(
    "Batzner, Heckler, König",
    "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies",
    "WACV 2024",
    "https://arxiv.org/abs/2303.14535",
)
DFSC = Citation(
    "Lee, Kim",
    "Separating Novel Features for Logical Anomaly Detection: A Straightforward yet Effective Approach",
    "arXiv:2407.17909, 2024",
    "https://arxiv.org/abs/2407.17909",
)
_DEMO = {"image_size": 64, "steps": 200, "learning_rate": 0.001}
_ON = {"categories": ["juice_bottle"], "shots": ["full"], "seeds": [0]}  # one training, not 18 of 12 steps

# What both do is written once, as functions which both classes take for their methods: neither stands above
# the other, and no class between them would be one that anybody runs.


def _fit(self: Either, data: FitData) -> Either:
    """Train student and autoencoder, or find them trained; take quantiles of normal maps.

    Raises:
        NeedNotMet: there is no training image.
        HarnessError: a loss is not finite any more; names the step.
        WeightsError, DataError: a file cannot be used.
    """
    self.detector = detector.fit(self._task(data), self._fusion, data)
    return self


def _fit_together(cls: type[Either], members: Sequence[tuple[Either, FitData]]) -> None:
    """Train several as one network (`settings.together`); each one's `fit` then finds its own."""
    del cls
    detector.fit_together([method._task(data) for method, data in members])


def _score(self: Either, images: ImageSet) -> Scores:
    """Largest value of the combined map; see `detector.Detector.score`."""
    return self.detector.score(images)


def _explain(self: Either, images: ImageSet) -> list[tuple[View, ...]]:
    """The two maps behind every score."""
    return self.detector.explain(images)


@final
@dataclass
class EfficientAD(Vanilla):
    """A student imitates a frozen teacher on normal images; an autoencoder, what belongs where.

    Adam; its rate falls to a tenth after 95 % of the steps.
    """

    card: ClassVar[Card] = Card(
        title="EfficientAD",
        summary="Where a student fails to imitate its teacher, and an autoencoder its student.",
        version=1,
        paper=EFFICIENTAD,
        licence="Apache-2.0",
        weights_licence="that of the teacher given; Apache-2.0 of nelson1425/EfficientAD's",
        trained=True,
        uses=frozenset({"external images"}),
        demo=Demo(_DEMO, "200 steps instead of 70,000: it shows that it runs, not what it can", _ON),
        paths=frozenset({"weights", "imagenet_penalty"}),
        assets=assets,
        unmet=unmet,
        together=together,
        resources=RESOURCES,
        seconds=SECONDS,
        sizes=square_input,
    )

    fit, score, explain = _fit, _score, _explain
    fit_together = classmethod(_fit_together)


@final
@dataclass
class EfficientADDFSC(Constrained):
    """EfficientAD-S whose autoencoder has to stay away from the teacher where they differ most.

    AdamW; its rate falls to a tenth after 90 % of the steps.
    """

    card: ClassVar[Card] = replace(
        EfficientAD.card,
        title="EfficientAD-DFSC",
        summary="EfficientAD whose autoencoder keeps a margin to the teacher's most distinctive features.",
        version=1,
        paper=DFSC,
        uses=frozenset(),
        demo=Demo(
            _DEMO | {"warmup": "none", "ema_momentum": 0.9},
            "warm-up and average are made for thousands of steps",
            _ON,
        ),
        paths=frozenset({"weights"}),
    )

    fit, score, explain = _fit, _score, _explain
    fit_together = classmethod(_fit_together)
