"""The teacher is trained to make normal features likely, then the student to give what it gives."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.method import Context
from methods.ast.networks import Student, Teacher, distance, positions, unlikelihood
from methods.shared.training import draws
from methods.shared.training.held import Held
from methods.shared.training.optimisers import adam, forward, minimise
from methods.shared.training.precision import Used, arithmetic
from methods.shared.training.room import Training, train

TEACHER, STUDENT, WEIGHTS = range(3)  # streams of a seed
Arrays = Sequence[NDArray[Any]]


@final
@dataclass(frozen=True)
class Recipe:
    """Both trainings without their images and their seed.

    Attributes:
        steps: of each.
        batch_size, learning_rate, weight_decay: of Adam.
        hidden: channels inside the teacher's subnets and inside the student.
        position: channels of the position encoding.
        clamp: of the teacher's scales.
        precision: of the convolutions, as the device has it.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    hidden: tuple[int, int]
    position: int
    clamp: float
    precision: Used


@final
class Pair:
    """Teacher and student on a device.

    Args:
        shape: (channels, height, width) of the features.
        recipe: sizes of the networks.
        seed: of their first weights.
        device: torch device name.
    """

    def __init__(self, shape: tuple[int, ...], recipe: Recipe, seed: int, device: str) -> None:
        channels, height, width = shape
        with draws.seeded(seed, WEIGHTS):
            self.teacher = Teacher(channels, recipe.position, recipe.hidden[0], recipe.clamp).to(device)
            self.student = Student(channels, recipe.position, recipe.hidden[1]).to(device)
        self.where = positions(recipe.position, height, width).to(device)

    def placed(self, x: Tensor) -> Tensor:
        """The position encoding for a batch."""
        return self.where.expand(len(x), -1, -1, -1)

    def differences(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Mean squared difference of student and teacher of one image, (height, width)."""
        x = torch.from_numpy(np.array(features, np.float32))[None].to(self.where.device)
        with torch.inference_mode(), arithmetic("float32"):
            taught, _ = self.teacher(x, self.placed(x))
            return distance(taught, self.student(x, self.placed(x)))[0].cpu().numpy()


def trained(
    features: Arrays, inputs: tuple[str, ...], identity: Mapping[str, Any], recipe: Recipe, context: Context
) -> Pair:
    """Teacher and student of some normal images.

    Args:
        features: (channels, height, width) of every image.
        inputs: content of the images.
        identity: of the features.
        recipe: how.
        context: seed, device, artifact store, scratch folder.

    Raises:
        HarnessError: a loss is not finite; names the training and the step.
    """
    pair = Pair(features[0].shape, recipe, context.run_seed, context.device)
    known = Held([{"x": each} for each in features], context.device)
    both = {**identity, **asdict(recipe)}
    train(_of_teacher(pair, known, inputs, both, recipe, context), context)
    # once per image, and not in every step
    targets = Held([{"x": each, "z": _taught(pair, each)} for each in features], context.device)
    train(_of_student(pair, targets, inputs, both, recipe, context), context)
    return pair


def _taught(pair: Pair, features: NDArray[Any]) -> NDArray[np.float32]:
    x = torch.from_numpy(np.array(features, np.float32))[None].to(pair.where.device)
    with torch.inference_mode(), arithmetic("float32"):
        return pair.teacher(x, pair.placed(x))[0][0].cpu().numpy()


def _of_teacher(
    pair: Pair,
    known: Held,
    inputs: tuple[str, ...],
    identity: Mapping[str, Any],
    recipe: Recipe,
    context: Context,
) -> Training:
    optimiser = _adam(pair.teacher, recipe)

    def step(_: int, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with forward(context.device, recipe.precision):
            z, volume = pair.teacher(batch["x"], pair.placed(batch["x"]))
        return minimise({"unlikelihood": unlikelihood(z.float(), volume.float()).mean()}, optimiser)

    return Training(
        method="ast",
        identity=identity,
        inputs=inputs,
        modules={"teacher": pair.teacher},
        optimisers={"adam": optimiser},
        batch=lambda n: _batch(known, n, TEACHER, recipe, context),
        step=step,
        terms=("unlikelihood",),
        steps=recipe.steps,
        precision=recipe.precision,
        name="teacher",
    )


def _of_student(
    pair: Pair,
    targets: Held,
    inputs: tuple[str, ...],
    identity: Mapping[str, Any],
    recipe: Recipe,
    context: Context,
) -> Training:
    optimiser = _adam(pair.student, recipe)

    def step(_: int, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with forward(context.device, recipe.precision):
            learned = pair.student(batch["x"], pair.placed(batch["x"]))
        return minimise({"distance": distance(batch["z"], learned.float()).mean()}, optimiser)

    return Training(
        method="ast",
        identity=identity,
        inputs=inputs,
        modules={"student": pair.student},
        optimisers={"adam": optimiser},
        batch=lambda n: _batch(targets, n, STUDENT, recipe, context),
        step=step,
        terms=("distance",),
        steps=recipe.steps,
        precision=recipe.precision,
        name="student",
    )


def _adam(network: torch.nn.Module, recipe: Recipe) -> torch.optim.Adam:
    return adam(network.parameters(), recipe.learning_rate, decay=recipe.weight_decay)


def _batch(held: Held, step: int, stream: int, recipe: Recipe, context: Context) -> dict[str, Tensor]:
    # no batch is dropped: with fewer images than a batch there is no other
    return held.batch(draws.batch(context.run_seed, stream, step, len(held), recipe.batch_size))
