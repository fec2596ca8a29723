"""The data of every step on the device, and the step that takes them; on a card a graph that is replayed."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import final

import torch
from torch import Tensor

from methods.shared.training.graphs import captured

Batch = Mapping[str, Tensor]
Terms = Mapping[str, Tensor]
Shapes = tuple[tuple[str, torch.Size, torch.dtype], ...]
AHEAD = 4  # steps for which batches are made beside the training


@final
class Feeding:
    """Steps of a training with their batches.

    Args:
        batch: step -> tensors.
        step: (step, batch on the device) -> terms of the loss.
        steps: how many there are: no batch is made for those after.
        device: of the step.
        graph: whether a card may replay the step as a graph, one for all batches of the same shapes.
        ahead: whether a thread makes batches while steps are taken.
    """

    def __init__(
        self,
        batch: Callable[[int], Batch],
        step: Callable[[int, Batch], Terms],
        steps: int,
        device: torch.device,
        graph: bool,
        ahead: bool,
    ) -> None:
        self._step, self._device = step, device
        self._graph = graph and device.type == "cuda"
        self._made = _Ahead(batch, steps) if ahead else batch
        self._graphs: dict[Shapes, tuple[dict[str, Tensor], Callable[[], Terms]]] = {}

    def take(self, step: int) -> Terms:
        """Take the step of this number."""
        batch = self._made(step)
        if not self._graph:
            return self._step(step, {name: t.to(self._device) for name, t in batch.items()})
        shapes = tuple((name, t.shape, t.dtype) for name, t in batch.items())
        if shapes not in self._graphs:
            self._graphs[shapes] = _placed(self._step, step, batch, self._device)
        places, replay = self._graphs[shapes]
        for name, place in places.items():
            place.copy_(batch[name], non_blocking=True)
        return replay()

    def close(self) -> None:
        """End the thread beside the training."""
        if isinstance(self._made, _Ahead):
            self._made.close()


def _placed(
    step: Callable[[int, Batch], Terms], number: int, batch: Batch, device: torch.device
) -> tuple[dict[str, Tensor], Callable[[], Terms]]:
    """Fixed places for batches of these shapes, and the step with what lies there; it forgets its number."""
    places = {name: torch.empty_like(t, device=device) for name, t in batch.items()}
    return places, captured(lambda: step(number, places), device)


@final
class _Ahead:
    """Batches of coming steps, made by a thread; which one a step gets is a function of the step."""

    def __init__(self, batch: Callable[[int], Batch], steps: int) -> None:
        self._batch, self._steps = batch, steps
        self._coming: deque[tuple[int, Future[Batch]]] = deque()
        self._thread = ThreadPoolExecutor(1, "ahead")  # starts with the first step, ends with this object

    def __call__(self, step: int) -> Batch:
        """The batch of a step; those of the next ones are asked for.

        Raises:
            Exception: what making it raised.
        """
        if self._coming and self._coming[0][0] != step:  # a training that goes on elsewhere
            self._forget()
        first = self._coming[-1][0] + 1 if self._coming else step
        for n in range(first, max(min(step + AHEAD, self._steps), step + 1)):
            # in the context of this thread: it holds how many cores the trial has
            self._coming.append((n, self._thread.submit(copy_context().run, self._batch, n)))
        return self._coming.popleft()[1].result()

    def close(self) -> None:
        """End the thread; what it is about is finished first."""
        self._forget()
        self._thread.shutdown(wait=True)

    def _forget(self) -> None:
        for _, coming in self._coming:
            coming.cancel()
        wait([coming for _, coming in self._coming])
        self._coming.clear()
