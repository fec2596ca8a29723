"""A model of anomalib, on the images, with the seeds and under the metrics of everybody else."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, final

from pydantic import AfterValidator, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Resources, Scores
from methods.anomalib.asked import assets, problems, sizes, unmet
from methods.anomalib.catalogue import CATALOGUE, canonical
from methods.shared.pixels import Side

Model = Annotated[str, AfterValidator(canonical)]


def _ignores(params: Mapping[str, Any]) -> frozenset[str]:
    """A model without references sees no training image; which ones draw numbers, only anomalib knows."""
    shown = CATALOGUE[params["model"]].kind == "is shown" and params["init_args"].get("k_shot") == 0
    return frozenset({"shots", "split_seed"}) if shown else frozenset()


@final
@dataclass
class Anomalib:
    """A model of anomalib 2.7 behind the protocol of all methods.

    Args:
        context: run seed, set before the model is built; device; artifact store, of pixels alone.
        model: class of `anomalib.models`, or its name in small letters ("reverse_distillation").
        init_args: arguments of the class; the others keep anomalib's defaults.
        weights: None for what anomalib loads, a path, or "demo"; see README.md for which models.
        images: folder of further images: textures for anomalies, or of another kind for a penalty.
        image_size: side in pixels to which images are resized; None for the model's own size and cropping.
        crop: side of the centre that is looked at, None for all.
        max_steps: of training, as Lightning counts them: steps of optimisers, of all together.
        max_epochs: of training; the first limit that is met ends it.
        batch_size: images in a step of training; None for 32, or the one that a model insists on.
        precision: of training and scoring; bfloat16 is Lightning's mixed precision.
    """

    card: ClassVar[Card] = Card(
        title="anomalib",
        summary="Any model of anomalib by its name, on the same images and under the same metrics.",
        version=1,
        paper=Citation(
            "Akcay, Ameln, Vaidya, Lakshmanan, Ahuja, Genc",
            "Anomalib: A Deep Learning Library for Anomaly Detection",
            "ICIP 2022",
            "https://arxiv.org/abs/2202.08341",
        ),
        licence="Apache-2.0",
        weights_licence="those of the model's backbone",
        trained=True,
        extra="anomalib",
        paths=frozenset({"weights", "images"}),
        assets=assets,
        ignores=_ignores,
        unmet=unmet,
        problems=problems,
        sizes=sizes,
        resources=Resources(gpus=0.5, cpus=2, timeout_minutes=120),
        seconds=300.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "model": "Patchcore",
        "weights": "demo",
        "image_size": 64,
        "init_args": {"coreset_sampling_ratio": 0.2},
    }

    context: Context
    _: KW_ONLY
    model: Model = "Padim"
    init_args: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    images: str | None = None
    image_size: Side | None = None
    crop: PositiveInt | None = None
    max_steps: PositiveInt | None = None
    max_epochs: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    detector: Any = field(init=False, repr=False)  # of methods.anomalib.room, which imports torch

    @property
    def params(self) -> dict[str, Any]:
        """Its hyper-parameters, as the card's functions take them."""
        names = (f for f, x in self.__dataclass_fields__.items() if x.init and f not in ("context", "_"))
        return {name: getattr(self, name) for name in names}

    def fit(self, data: FitData) -> Self:
        """Build the model and let it learn as anomalib lets it, from the images that it is given.

        Validation images, where there are any, are what the model takes thresholds and scales from
        (EfficientAd); where there are none, the training images are.

        Raises:
            NeedNotMet: there is no training image, or a file that the model wants is not here.
            WeightsError: a file of weights does not fit.
        """
        from methods.anomalib.room import fitted

        if not len(data.train) and CATALOGUE[self.model].kind != "is shown":
            raise NeedNotMet(f"{self.model} needs training images")
        self.detector = fitted(self.params, data, self.context)
        return self

    def score(self, images: ImageSet) -> Scores:
        """What the model says of each image by itself, before anomalib normalises or thresholds it.

        Returns:
            Scores with maps at the model's own resolution, (n, h, w), or None where it has none.
        """
        return self.detector.scores(images, self.context)
