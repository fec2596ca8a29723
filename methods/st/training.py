"""Students of one field of view: several networks that regress what a frozen teacher says of every pixel."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.data import ImageSet
from harness.method import Context
from methods.shared.descriptors.networks import Descriptor, normalised
from methods.shared.descriptors.teachers import loaded
from methods.shared.descriptors.teaching import error, placed, taught
from methods.shared.pixels import RGB, Geometry, resized
from methods.shared.training import draws
from methods.shared.training.held import Held
from methods.shared.training.optimisers import adam, forward, minimise
from methods.shared.training.precision import Used, arithmetic
from methods.shared.training.room import Training, train

ORDER, WEIGHTS = range(2)  # streams of a seed
Maps = dict[str, NDArray[np.float32]]


@final
@dataclass(frozen=True)
class Recipe:
    """The trainings without their images and their seed.

    Attributes:
        teachers, width: which ones (`descriptors.teachers.loaded`).
        image_size: side in pixels.
        students: how many for each field.
        steps: of each field's training.
        batch_size, learning_rate, weight_decay: of Adam.
        precision: of the convolutions, as the device has it.
    """

    teachers: str
    width: float
    image_size: int
    students: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    precision: Used


@final
class Ensemble:
    """Teacher and students of one field on a device.

    Args:
        field: of view.
        recipe: sizes of the networks.
        context: seed of the students, device.
    """

    def __init__(self, field: int, recipe: Recipe, context: Context) -> None:
        self.field, self.recipe, self.device = field, recipe, context.device
        self.teacher = loaded(recipe.teachers, field, recipe.width, context.device)
        with draws.seeded(context.run_seed, WEIGHTS, field):
            self.students = nn.ModuleList(
                Descriptor(field, self.teacher.width) for _ in range(recipe.students)
            )
        self.students.to(context.device)

    def maps(self, image: RGB) -> Maps:
        """What tells of one image: "error" and "variance" of every pixel, (side, side) each."""
        x = placed(image, self.device)
        with torch.inference_mode(), arithmetic("float32"):
            wanted = self.moments.standardised(self.teacher(x))
            given = torch.stack([student(x) for student in self.students])
            mean = given.mean(dim=0)
            found = {"error": error(mean, wanted), "variance": variance(given)}
        return {name: values[0].cpu().numpy() for name, values in found.items()}

    def learn(self, images: ImageSet, inputs: Mapping[str, Any], context: Context) -> None:
        """Train the students on images, from the teacher's descriptions of them, taken once.

        Raises:
            HarnessError: a loss is not finite; names the field and the step.
        """
        pixels = resized(images, Geometry.square(self.recipe.image_size), context.artifacts)
        held, self.moments = taught(self.teacher, pixels, self.device)
        train(self._training(held, images, inputs, context), context)

    def _training(
        self, held: Held, images: ImageSet, inputs: Mapping[str, Any], context: Context
    ) -> Training:
        recipe = self.recipe
        optimiser = adam(self.students.parameters(), recipe.learning_rate, decay=recipe.weight_decay)
        names = tuple(f"student{n}" for n in range(1, recipe.students + 1))

        def step(_: int, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            x = normalised(batch["x"])
            with forward(self.device, recipe.precision):
                given = [student(x) for student in self.students]
            losses = [error(each.float(), batch["wanted"]).mean() for each in given]
            return minimise(dict(zip(names, losses, strict=True)), optimiser)

        return Training(
            method="st",
            identity={
                **asdict(recipe),
                **inputs,
                "teachers": None,  # known by their content, not by where they lie
                "field": self.field,
            },
            inputs=tuple(images.keys()),
            modules={"students": self.students},
            optimisers={"adam": optimiser},
            batch=lambda n: held.batch(draws.batch(context.run_seed, ORDER, n, len(held), recipe.batch_size)),
            step=step,
            terms=names,
            steps=recipe.steps,
            precision=recipe.precision,
            name=f"p{self.field}",
        )


def variance(given: Tensor) -> Tensor:
    """How much the students (m, n, 128, h, w) differ from each other: (n, h, w) (Eq. 10)."""
    return given.square().sum(dim=2).mean(dim=0) - given.mean(dim=0).square().sum(dim=1)
