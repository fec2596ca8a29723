"""Feature pyramid matching: the loss, the training and the map of a pair of networks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from harness.data import ImageSet
from harness.method import Context
from methods.shared.backbones.features import FeatureSpec
from methods.shared.backbones.frozen import load, untrained
from methods.shared.training import draws, held
from methods.shared.training.optimisers import forward, minimise, sgd
from methods.shared.training.precision import Used, arithmetic
from methods.shared.training.room import Training, train
from methods.stfpm.selection import Best
from methods.stfpm.student import Student

ORDER, WEIGHTS = range(2)  # streams of a seed
MOMENTUM = 0.9


@final
@dataclass(frozen=True)
class Recipe:
    """A training without its images and its seed.

    Attributes:
        steps, batch_size, learning_rate, weight_decay: of stochastic gradient descent.
        precision: of the convolutions, as the device has it.
        chosen: content of the images by which an epoch is chosen; none for the last epoch.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    precision: Used
    chosen: tuple[str, ...]


@final
@dataclass
class Pair:
    """A student, and how its input is made.

    Attributes:
        student: see `student`.
        mean, std: normalisation of [0, 1] images, (1, 3, 1, 1) each.
        spec: the teacher's features.
        context: device, artifact store.
    """

    student: Student
    mean: Tensor
    std: Tensor
    spec: FeatureSpec
    context: Context

    def inputs(self, images: ImageSet) -> held.Held:
        """Pixels, and the teacher's features of them."""
        pixels = held.pixels(images, self.spec.geometry, self.context)
        features = held.frozen(images, self.spec, self.context)
        both = [{**p, **f} for p, f in zip(pixels, features, strict=True)]
        return held.Held(both, self.context.device)

    def levels(self, batch: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Features of teacher and student, level by level."""
        images = (batch["pixels"].permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        found = self.student(images)
        return ((batch[layer], s) for layer, s in zip(self.spec.layers, found, strict=True))

    def product(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Eq. 4 on the grid of the largest level, (n, h, w)."""
        with torch.no_grad(), arithmetic("float32"):
            distances = [distance(t, s.float()) for t, s in self.levels(batch)]
        grid = distances[0].shape[1:]
        large = [F.interpolate(d[:, None], grid, mode="bilinear")[:, 0] for d in distances]
        return torch.stack(large).prod(dim=0)

    def map(self, batch: Mapping[str, Tensor]) -> NDArray[np.float32]:
        """The anomaly map of one image at the size of the network's input."""
        size = self.spec.geometry.shape
        return F.interpolate(self.product(batch)[:, None], size, mode="bilinear")[0, 0].cpu().numpy()


def distance(teacher: Tensor, student: Tensor) -> Tensor:
    """Squared distance of features of unit length (Eq. 1 without the half), (n, c, h, w) -> (n, h, w)."""
    return (F.normalize(teacher) - F.normalize(student)).square().sum(dim=1)


def trained(
    images: ImageSet, selection: ImageSet | None, spec: FeatureSpec, recipe: Recipe, context: Context
) -> Pair:
    """A student that has learned from a teacher's features of normal images.

    Args:
        images: to learn from.
        selection: by which the epoch is chosen; None for the last one.
        spec: the teacher's features, the largest grid first.
        recipe: how.
        context: seed, device, artifact store, scratch folder.

    Raises:
        HarnessError: a loss is not finite; names the step.
    """
    teacher = load(spec.file, spec.layers, context.device)
    with draws.seeded(context.run_seed, WEIGHTS):
        student = Student(untrained(spec.file), spec.layers).to(context.device)
    pair = Pair(student, teacher.mean, teacher.std, spec, context)
    best = None if selection is None else Best(student).to(context.device)
    train(_training(pair, images, best, selection, recipe), context)
    pair.student = student if best is None else best.kept
    return pair


def _training(
    pair: Pair, images: ImageSet, best: Best | None, selection: ImageSet | None, recipe: Recipe
) -> Training:
    inputs, seed = pair.inputs(images), pair.context.run_seed
    number, size = len(inputs), min(recipe.batch_size, len(inputs))
    optimiser = sgd(pair.student.parameters(), recipe.learning_rate, MOMENTUM, recipe.weight_decay)
    terms = tuple(f"level{n + 1}" for n in range(len(pair.spec.layers)))

    def step(_: int, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with forward(pair.context.device, recipe.precision):
            levels = list(pair.levels(batch))
        found = [distance(t, s.float()).mean() for t, s in levels]
        return minimise(dict(zip(terms, found, strict=True)), optimiser)

    return Training(
        method="stfpm",
        identity={
            "features": pair.spec.reads,
            "batch_size": size,
            "learning_rate": recipe.learning_rate,
            "weight_decay": recipe.weight_decay,
            "chosen": recipe.chosen,
        },
        inputs=tuple(images.keys()),
        modules={"student": pair.student, **({"best": best} if best else {})},
        optimisers={"sgd": optimiser},
        batch=lambda n: inputs.batch(draws.batch(seed, ORDER, n, number, size)),
        step=step,
        terms=terms,
        steps=recipe.steps,
        precision=recipe.precision,
        after=_chooser(pair, best, selection, draws.batches(number, size), recipe.steps)
        if best is not None and selection is not None
        else None,
    )


def _chooser(pair: Pair, best: Best, selection: ImageSet, every: int, steps: int) -> Callable[[int], None]:
    """Looks at the student at the end of every epoch: at its mean map of the images of the selection."""
    inputs = pair.inputs(selection)

    def after(step: int) -> None:
        if (step + 1) % every and step + 1 < steps:
            return
        pair.student.eval()
        means = [pair.product(inputs.batch([i])).mean() for i in range(len(inputs))]
        pair.student.train()
        best.look(pair.student, torch.stack(means).mean())

    return after
