"""ST, Uninformed Students: where students cannot predict a teacher's descriptions, or do not agree."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, final

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Resources, Scores
from methods.shared.descriptors import teachers as files
from methods.shared.descriptors.scales import Fields
from methods.shared.pixels import RGB, Geometry, Side, resized, square_input
from methods.shared.training.precision import Precision, Used, used


@final
@dataclass
class ST:
    """Ensembles of students, one for each field of view, that regress a frozen teacher on normal images.

    Args:
        context: run seed, device, artifact store, scratch folder (states, losses of every field).
        teachers: folder of distilled teachers, or "random"; without one the trial is skipped.
        fields: of view, in pixels.
        students: how many for each field.
        width: factor of the inner channels of random teachers; others have their file's.
        image_size: side in pixels to which images are resized.
        epochs: of the training images, for each field.
        steps: of the optimiser instead, whatever the number of images.
        batch_size: images in a step.
        learning_rate, weight_decay: of Adam.
        calibration: whose maps bring errors and variances to one scale: validation images (training images
            where there are none), or training images.
        precision: of the trained convolutions; auto is tf32 on a card that has it, else float32.
    """

    card: ClassVar[Card] = Card(
        title="ST",
        summary="Where students do not predict a teacher's descriptions of patches, or do not agree.",
        version=1,
        paper=Citation(
            "Bergmann, Fauser, Sattlegger, Steger",
            "Uninformed Students: Student-Teacher Anomaly Detection With Discriminative Latent Embeddings",
            "CVPR 2020",
            "https://arxiv.org/abs/1911.02357",
        ),
        licence="Apache-2.0",
        weights_licence="that of the network which the teachers were distilled from",
        trained=True,
        uses=frozenset({"external images"}),
        demo=Demo(
            {
                "teachers": "random",
                "width": 0.05,
                "image_size": 64,
                "fields": [17, 33],
                "steps": 30,
                "learning_rate": 0.002,
            },
            "narrow random teachers and 30 steps: it shows that it runs, not what it can",
            {"shots": [1], "seeds": [0]},
        ),
        paths=frozenset({"teachers"}),
        assets=files.assets,
        unmet=files.unmet,
        sizes=square_input,
        resources=Resources(gpus=0.5, cpus=2, timeout_minutes=1440),
        seconds=3600.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "teachers": "random",
        "width": 0.05,
        "fields": [17],
        "students": 2,
        "image_size": 32,
        "steps": 15,
        "learning_rate": 0.003,
    }

    context: Context
    _: KW_ONLY
    teachers: str | None = None
    fields: Annotated[tuple[Literal[17, 33, 65], ...], Field(min_length=1)] = (17, 33, 65)
    students: PositiveInt = 3
    width: PositiveFloat = 1.0
    image_size: Side = 256
    epochs: PositiveInt = 100
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 1e-5
    calibration: Literal["validation", "train"] = "validation"
    precision: Precision = "auto"
    fitted: Fields = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Train the students of every field, or find them trained; then take moments of normal maps.

        Raises:
            NeedNotMet: there is no training image, or there are no teachers.
            DataError, WeightsError: an image or a teacher cannot be used.
            HarnessError: a loss is not finite; names the field and the step.
        """
        from methods.st.training import Ensemble, Recipe

        if not len(data.train):
            raise NeedNotMet("ST needs at least one training image")
        if self.teachers is None:
            raise NeedNotMet("ST needs teachers")
        recipe = Recipe(
            teachers=self.teachers,
            width=self.width,
            image_size=self.image_size,
            students=self.students,
            steps=self._steps(len(data.train)),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            precision=self.precision_used,
        )
        params = {"teachers": self.teachers, "fields": self.fields, "width": self.width}
        ensembles = [Ensemble(p, recipe, self.context) for p in files.fields_of(self.fields)]
        for ensemble in ensembles:
            ensemble.learn(data.train, files.digests(params, ensemble.field), self.context)
        chosen = data.validation if self.calibration == "validation" and len(data.validation) else data.train
        self.fitted = Fields.scaled(ensembles, self._pixels(chosen))
        return self

    def score(self, images: ImageSet) -> Scores:
        """The largest value of the mean over fields of the two standardised maps (Eq. 11).

        Returns:
            Scores with the parts "error" and "variance" (each one's own largest value), and maps
            (n, image_size, image_size).
        """
        return self.fitted.scores(self._pixels(images))

    def _pixels(self, images: ImageSet) -> list[RGB]:
        return resized(images, Geometry.square(self.image_size), self.context.artifacts)

    def _steps(self, number: int) -> int:
        return self.steps or self.epochs * -(-number // self.batch_size)

    @property
    def precision_used(self) -> Used:
        """What `precision` comes to on the device."""
        return used(self.precision, self.context.device)
