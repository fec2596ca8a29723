"""Both branches of one field of view, trained together on what a frozen teacher says of every pixel."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from harness.data import ImageSet
from harness.method import Context
from methods.gcad.networks import STRIDE, Bottleneck, Regressor
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
TERMS = ("local", "distillation", "global")
Maps = dict[str, NDArray[np.float32]]


@final
@dataclass(frozen=True)
class Recipe:
    """The trainings without their images and their seed.

    Attributes:
        teachers, width: which ones (`descriptors.teachers.loaded`).
        image_size: side in pixels.
        code, hidden: numbers in the global branch's code, channels inside its networks.
        steps: of each field's training.
        batch_size, learning_rate, weight_decay: of Adam.
        precision: of the convolutions, as the device has it.
    """

    teachers: str
    width: float
    image_size: int
    code: int
    hidden: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    precision: Used


@final
class Branches:
    """Teacher, local regressor, global encoder and global regressor of one field, on a device.

    Args:
        field: of view of the local branch.
        recipe: sizes of the networks.
        context: seed of the networks, device.
    """

    def __init__(self, field: int, recipe: Recipe, context: Context) -> None:
        self.field, self.recipe, self.device = field, recipe, context.device
        self.teacher = loaded(recipe.teachers, field, recipe.width, context.device)
        with draws.seeded(context.run_seed, WEIGHTS, field):
            self.local = Descriptor(field, self.teacher.width)
            self.encoder = Bottleneck(recipe.image_size, recipe.code, recipe.hidden)
            self.regressor = Regressor(recipe.image_size, recipe.hidden)
        self.modules = {"local": self.local, "encoder": self.encoder, "regressor": self.regressor}
        for module in self.modules.values():
            module.to(context.device)

    def maps(self, image: RGB) -> Maps:
        """What tells of one image: "local" and "global" of every pixel, (side, side) each."""
        x = placed(image, self.device)
        with torch.inference_mode(), arithmetic("float32"):
            wanted = self.moments.standardised(self.teacher(x))
            found = {"local": error(self.local(x), wanted)}
            coarse = error(self.regressor(x), self.encoder(x))[None]
            found["global"] = F.interpolate(coarse, x.shape[-2:], mode="bilinear")[0]
        return {name: values[0].cpu().numpy() for name, values in found.items()}

    def learn(self, images: ImageSet, inputs: Mapping[str, Any], context: Context) -> None:
        """Train on images, from the teacher's descriptions of them, taken once.

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
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        optimiser = adam(parameters, recipe.learning_rate, decay=recipe.weight_decay)

        def step(_: int, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            x, wanted = normalised(batch["x"]), batch["wanted"]
            with forward(self.device, recipe.precision):
                local, whole, again = self.local(x), self.encoder(x), self.regressor(x)
            losses = (
                error(local.float(), wanted),
                error(whole.float(), F.avg_pool2d(wanted, STRIDE)),
                error(again.float(), whole.float().detach()),
            )
            return minimise(dict(zip(TERMS, (each.mean() for each in losses), strict=True)), optimiser)

        return Training(
            method="gcad",
            identity={
                **asdict(recipe),
                **inputs,
                "teachers": None,  # known by their content, not by where they lie
                "field": self.field,
            },
            inputs=tuple(images.keys()),
            modules=self.modules,
            optimisers={"adam": optimiser},
            batch=lambda n: held.batch(draws.batch(context.run_seed, ORDER, n, len(held), recipe.batch_size)),
            step=step,
            terms=TERMS,
            steps=recipe.steps,
            precision=recipe.precision,
            name=f"p{self.field}",
        )
