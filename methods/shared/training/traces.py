"""Where a training leaves its traces: its state, the file of its losses, weights in the artifact store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.artifacts import Op
from harness.method import Context
from methods.shared.training.curves import write_curve

Array = NDArray[np.float32]
STORED_MIB = 64  # larger weights are not worth their room in the store: few trials ask for them twice


@final
@dataclass(frozen=True)
class Traces:
    """Of one training.

    Attributes:
        context: artifact store, scratch folder.
        op: everything that decides the weights besides the images; its name is the method's.
        inputs: content of the images, in order.
        name: of one of several trainings of a trial, else empty.
        terms: of the loss.
    """

    context: Context
    op: Op
    inputs: tuple[str, ...]
    name: str
    terms: Sequence[str]

    @cached_property
    def state(self) -> Path | None:
        """File of the unfinished training; None where nothing is kept."""
        folder = self.context.scratch
        return folder / f"training-{self._op('training').key(*self.inputs)[:16]}.pt" if folder else None

    def write(self, losses: Array) -> None:
        """Write the losses of all steps so far: `losses.csv`, or `losses-NAME.csv`."""
        if folder := self.context.scratch:
            name = "-".join(filter(None, ("losses", self.name)))
            write_curve(folder / f"{name}.csv", self.terms, losses)

    def weights(self, modules: Mapping[str, nn.Module], compute: Callable[[], Array]) -> None:
        """Fill modules with what the store has of the training, or with what they are after `compute`.

        Args:
            modules: of the training.
            compute: trains them and gives the losses.
        """
        if _mib(modules) > STORED_MIB:
            compute()
            return
        store, losses = self.context.artifacts, self._op("losses")

        def trained() -> Array:
            found = compute()
            store.get(losses, self.inputs, lambda: found)
            return _vector(modules)

        _fill(modules, store.get(self._op("weights"), self.inputs, trained))
        known = store.read(losses, losses.key(*self.inputs))
        if known is not None:
            self.write(known)

    def _op(self, what: str) -> Op:
        return Op(f"{self.op.name}_{what}", self.op.params, self.op.version)


def _tensors(modules: Mapping[str, nn.Module]) -> list[Tensor]:
    return [tensor for module in modules.values() for tensor in module.state_dict().values()]


def _mib(modules: Mapping[str, nn.Module]) -> float:
    return sum(tensor.numel() for tensor in _tensors(modules)) * 4 / 2**20


def _vector(modules: Mapping[str, nn.Module]) -> Array:
    """Parameters and buffers; counts of batches are exact in float32 up to 16 million."""
    return torch.cat([tensor.detach().flatten().float().cpu() for tensor in _tensors(modules)]).numpy()


def _fill(modules: Mapping[str, nn.Module], vector: NDArray[Any]) -> None:
    values, start = torch.from_numpy(np.array(vector)), 0
    for tensor in _tensors(modules):
        tensor.copy_(values[start : start + tensor.numel()].view(tensor.shape))
        start += tensor.numel()
