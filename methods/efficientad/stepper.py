"""One step after the other: data and random numbers are brought in place, then all members step at once."""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.efficientad import draws
from methods.efficientad.ahead import Ahead
from methods.efficientad.members import Feed, Members, dropout_numbers
from methods.efficientad.networks import Way, map_size
from methods.efficientad.task import Task
from methods.efficientad.ways import Clock, by_events, choose
from methods.shared.training.draws import index
from methods.shared.training.graphs import captured
from methods.shared.training.optimisers import set_rate
from methods.shared.training.pdn import shape_of
from methods.shared.training.precision import arithmetic

Array = NDArray[Any]


@final
class Stepper:
    """Members with all that they need to be trained.

    Args:
        tasks: equal but for images, seeds and constraints.
        clock: times the ways of joint convolutions; by default events on a card, and nothing on a CPU.

    Attributes:
        members: what is trained.
        ways: of every joint convolution, student's and then autoencoder's; empty where nothing was timed.
    """

    def __init__(self, tasks: Sequence[Task], clock: Clock | None = None) -> None:
        first = tasks[0]
        device, teacher = torch.device(first.context.device), first.teacher.network
        statistics = zip(*(task.statistics() for task in tasks), strict=True)
        mean, deviation = (torch.from_numpy(np.stack(s)) for s in statistics)
        self.recipe = first.recipe
        self.members = Members(
            first.recipe,
            [task.recipe.constraint for task in tasks],
            [task.context.run_seed for task in tasks],
            teacher,
            shape_of(teacher.state_dict()),
            (mean, deviation),
            device,
        )
        self.feeder = Feeder(tasks, device)
        members, feed = self.members, self.feeder.feed
        self.ways = self._choose(by_events if clock is None and device.type == "cuda" else clock)
        # not through self: a cycle would keep a finished training on the card until Python looks for cycles
        self._step = captured(lambda: members.step(feed), device)

    def take(self, step: int) -> Tensor:
        """Take the step of this number; the terms of the loss before it, (members, 5), on the device."""
        self.feeder.fill(step)
        for group in self.members.optimiser.param_groups:
            set_rate(group, self.recipe.rate(step))
        return self._step()

    def _choose(self, clock: Clock | None) -> list[Way]:
        members, feed = self.members, self.feeder.feed
        if clock is None or members.number == 1:
            return []
        with arithmetic(self.recipe.precision, timed=True):
            return choose([members.student, members.autoencoder], lambda: members.losses(feed), clock)

    def close(self) -> None:
        """End what runs beside the training."""
        self.feeder.close()


@final
class Feeder:
    """Brings images, teacher maps and random numbers of every step to their places.

    Args:
        tasks: of the members.
        device: where the places are.

    Attributes:
        feed: the places.
    """

    def __init__(self, tasks: Sequence[Task], device: torch.device) -> None:
        self.tasks, self.device, recipe = tasks, device, tasks[0].recipe
        side, grid = recipe.image_size, map_size(recipe.image_size)
        shared = {task.inputs: task for task in tasks}  # members on the same images need them once
        held = {inputs: self._held(task) for inputs, task in shared.items()}
        self.data = [held[task.inputs] for task in tasks]
        channels = self.data[0][0][1].shape[0]

        def empty(*shape: int) -> Tensor:
            return torch.empty(len(tasks), *shape, device=device)

        self.feed = Feed(
            image=empty(3, side, side),
            teacher=empty(channels, grid, grid),
            jitter=empty(3) if recipe.ae_augment else None,
            penalty=empty(3, side, side) if recipe.penalty else None,
            uniform=empty(dropout_numbers(side)) if recipe.dropout else None,
        )
        self.generator = torch.Generator(device)
        others = self.feed.penalty
        self.others = None if others is None else Ahead(_penalties(tasks), recipe.steps, others)

    def fill(self, step: int) -> None:
        """Put the step's data where the networks look for them."""
        for i, task in enumerate(self.tasks):
            self._fill(i, task, task.context.run_seed, step)
        if self.others is not None:
            self.others.fill(step)

    def close(self) -> None:
        """End the thread that makes images of the penalty."""
        if self.others is not None:
            self.others.close()

    def _fill(self, i: int, task: Task, seed: int, step: int) -> None:
        n, feed = index(seed, draws.IMAGES, step, len(task.images)), self.feed
        pixels, maps = (_tensor(array) for array in self.data[i][n])
        feed.image[i].copy_(pixels.permute(2, 0, 1))
        feed.teacher[i].copy_(maps)
        if feed.jitter is not None:
            feed.jitter[i].copy_(torch.tensor(draws.jitter(seed, step)), non_blocking=True)
        if feed.uniform is not None:
            draws.uniform(seed, step, feed.uniform[i], self.generator)

    def _held(self, task: Task) -> list[tuple[Array | Tensor, Array | Tensor]]:
        """Pixels and teacher maps of every image; on a GPU they lie there, for a CPU mapped files will do."""
        pairs = zip(task.pixels(), task.maps(), strict=True)
        if self.device.type == "cpu":
            return list(pairs)
        return [(_tensor(x).to(self.device), _tensor(t).to(self.device)) for x, t in pairs]


def _tensor(held: Array | Tensor) -> Tensor:
    return held if isinstance(held, Tensor) else torch.from_numpy(np.array(held))  # the store's is read-only


def _penalties(tasks: Sequence[Task]) -> Callable[[int, Tensor], None]:
    """Puts the penalty's images of a step into (members, 3, s, s); knows nothing of who asks for them."""

    def make(step: int, buffer: Tensor) -> None:
        for place, task in zip(buffer, tasks, strict=True):
            place.copy_(_penalty(task, task.context.run_seed, step))

    return make


def _penalty(task: Task, seed: int, step: int) -> Tensor:
    """The image (3, s, s) in [0, 255] on which S^T is to be small, grey with a probability of 0.3."""
    image = task.other(index(seed, draws.PENALTY, step, task.others))
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    return draws.grey(tensor) if draws.is_grey(seed, step) else tensor
