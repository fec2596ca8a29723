"""One measured figure, and the scale that it is measured at."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True)
class Scale:
    """Where, and how much.

    Attributes:
        device: torch device name.
        tiny: sizes that a CPU does in seconds; the figures then mean nothing, the code is the same.
    """

    device: str
    tiny: bool

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a card."""
        return self.device.startswith("cuda")

    def of(self, whole: int, tiny: int) -> int:
        """A size."""
        return tiny if self.tiny else whole


Row = dict[str, Any]


def row(what: str, value: float, unit: str, aim: str = "") -> Row:
    """A figure: what was measured, its value and unit, and what was aimed at."""
    return {"what": what, "value": value, "unit": unit, "aim": aim}


def seconds(work: Callable[[], Any], scale: Scale, repeats: int = 1) -> float:
    """Wall seconds of one `work` on average, the queue of the card emptied before and after."""
    _wait(scale)
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    _wait(scale)
    return (time.perf_counter() - began) / repeats


def _wait(scale: Scale) -> None:
    if scale.on_gpu:
        import torch

        torch.cuda.synchronize()


def peak_gib(scale: Scale) -> float:
    """GiB that torch reserved at most since the start of the process; 0 on a CPU."""
    if not scale.on_gpu:
        return 0.0
    import torch

    return torch.cuda.max_memory_reserved() / 2**30
