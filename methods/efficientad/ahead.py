"""What coming steps need and the host has to decode, made by a thread beside the training.

Which image a step gets is a function of the step, so that the thread changes nothing but the time. It touches
no CUDA: memory is pinned before, and whether a copy is through is asked by the thread that trains (another
one that did would break the capture of a graph).
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, NamedTuple, Protocol, final

import torch
from torch import Tensor

AHEAD = 6  # steps; one image takes a few times as long to decode as a step on a card
MOVING = 4  # buffers that a card may still be reading


class _Coming(NamedTuple):
    step: int
    buffer: Tensor
    made: "Future[None]"


class Event(Protocol):
    """A place in what a card has been told to do, as torch.cuda.Event is one."""

    def record(self) -> Any:
        """Take the place after all that it has been told so far."""
        ...

    def synchronize(self) -> Any:
        """Wait until the card has come there."""
        ...


class _Moving(NamedTuple):
    buffer: Tensor
    through: Event


@final
class Ahead:
    """Tensors of steps, one after the other.

    Args:
        make: (step, buffer) puts the step's numbers into a buffer; called in another thread.
        steps: how many there are: nothing is made for those after.
        place: where the numbers go; buffers are like it, and pinned if it is on a card.
        event: makes an event that tells when a copy is through; None where copies are through at once.
    """

    def __init__(
        self,
        make: Callable[[int, Tensor], None],
        steps: int,
        place: Tensor,
        event: Callable[[], Event] | None = None,
    ) -> None:
        self.make, self.steps, self.place = make, steps, place
        self.event = torch.cuda.Event if event is None and place.is_cuda else event
        number, pin = AHEAD + (MOVING if self.event else 0), place.is_cuda
        self.free = [torch.empty(place.shape, dtype=place.dtype, pin_memory=pin) for _ in range(number)]
        self.coming: deque[_Coming] = deque()
        self.moving: deque[_Moving] = deque()
        self.thread = ThreadPoolExecutor(1, "ahead")  # starts with the first step, ends with this object

    def fill(self, step: int) -> None:
        """Put a step's numbers into their place, and have those of the next ones made.

        Raises:
            Exception: what `make` raised for this step.
        """
        if self.coming and self.coming[0].step != step:  # a training that goes on elsewhere
            self._forget()
        self._ask(step)
        coming = self.coming.popleft()
        try:
            coming.made.result()
            self.place.copy_(coming.buffer, non_blocking=True)
        finally:
            self._give_back(coming.buffer)

    def close(self) -> None:
        """End the thread; what it is about is finished first."""
        self._forget()
        self.thread.shutdown(wait=True)

    def _ask(self, step: int) -> None:
        """Have this step and those after it made, as far as there are steps and buffers."""
        first = self.coming[-1].step + 1 if self.coming else step
        last = max(min(step + AHEAD, self.steps), step + 1)
        for n in range(first, last):
            buffer = self.free.pop()
            # in the context of this thread: it holds how many cores the trial has, and its sizes of images
            made = self.thread.submit(copy_context().run, self.make, n, buffer)
            self.coming.append(_Coming(n, buffer, made))

    def _forget(self) -> None:
        for coming in self.coming:
            coming.made.cancel()
        wait([coming.made for coming in self.coming])
        self.free.extend(coming.buffer for coming in self.coming)
        self.coming.clear()

    def _give_back(self, buffer: Tensor) -> None:
        if self.event is None:
            self.free.append(buffer)
            return
        through = self.event()
        through.record()
        self.moving.append(_Moving(buffer, through))
        while len(self.moving) >= MOVING:
            oldest = self.moving.popleft()
            oldest.through.synchronize()  # some steps ago: through, unless the host is far ahead of the card
            self.free.append(oldest.buffer)
