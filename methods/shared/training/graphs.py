"""A step of a training as a CUDA graph: captured once, then replayed without the launch of every kernel."""

import warnings
from collections.abc import Callable
from typing import Generic, TypeVar, final

import torch

EAGER = 3  # steps before the capture, in which libraries choose their algorithms
T = TypeVar("T")


def captured(step: Callable[[], T], device: torch.device) -> Callable[[], T]:
    """The step itself; on a GPU its replay as a CUDA graph, which spares the launch of every kernel."""
    return _Captured(step) if device.type == "cuda" else step


@final
class _Captured(Generic[T]):
    """A step that is captured once and then replayed.

    The first steps run as they are, on a stream beside, as CUDA wants it before a capture; they are
    steps like any others. All that a step reads and writes has a fixed place: its feed, parameters,
    their moments, averages and the learning rate.
    """

    def __init__(self, step: Callable[[], T]) -> None:
        self.step, self.calls = step, 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: T | None = None
        self.beside = torch.cuda.Stream()  # one: every stream has a pool of memory of its own
        self.capture = True

    def __call__(self) -> T:
        self.calls += 1
        if self.calls <= EAGER:
            return self._aside()
        if self.capture and self.graph is None:
            self._begin()
        if self.graph is None:
            return self.step()
        self.graph.replay()
        assert self.result is not None
        return self.result

    def _begin(self) -> None:
        """Capture the step; where that fails (a full card), go on without: slower, with the same numbers."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.result = self.step()
            self.graph = graph
        except RuntimeError as error:
            torch.cuda.synchronize()
            self.capture, self.result = False, None
            warnings.warn(f"no CUDA graph of the training step, it goes on without: {error}", stacklevel=2)

    def _aside(self) -> T:
        self.beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.beside):
            result = self.step()
        torch.cuda.current_stream().wait_stream(self.beside)
        return result
