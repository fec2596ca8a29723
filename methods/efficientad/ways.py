"""Which way is faster for the convolutions of several members: one with groups, or one after the other.

On a card that is a bet which no rule wins: with groups the card is better filled, and cuDNN's kernels for
groups may be tens of times slower than those without. So every layer is timed, forwards and backwards, with
the input that it gets in a step.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from methods.efficientad.networks import JointConv2d, Way

WAYS: tuple[Way, Way] = ("grouped", "each")
WARM = 2  # runs in which cuDNN looks for its algorithm
TIMED = 5
Clock = Callable[[Callable[[], object]], float]  # what a run takes, in any unit


def by_events(run: Callable[[], object]) -> float:
    """Milliseconds of a run on the present card."""
    for _ in range(WARM):
        run()
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    for _ in range(TIMED):
        run()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / TIMED


def choose(networks: Sequence[nn.Module], once: Callable[[], object], clock: Clock) -> list[Way]:
    """Give every joint convolution of some networks its faster way; they, in order.

    Args:
        networks: that hold them.
        once: runs all of the networks, gradients enabled, as a step does; nothing of it is kept.
        clock: times a run.

    Raises:
        RuntimeError: a layer can be computed neither way.
    """
    layers = [m for network in networks for m in network.modules() if isinstance(m, JointConv2d)]
    hooks = [layer.register_forward_pre_hook(partial(_settle, clock)) for layer in layers]
    try:
        once()
    finally:
        for hook in hooks:
            hook.remove()
    return [layer.way for layer in layers]


def _settle(clock: Clock, layer: JointConv2d, given: tuple[Any, ...]) -> None:
    (x,) = given
    took = [_timed(clock, layer, way, x) for way in WAYS]
    failures = [found for found in took if isinstance(found, RuntimeError)]
    if len(failures) == len(WAYS):
        raise failures[0]
    layer.way = min(zip(took, WAYS, strict=True), key=lambda pair: _seconds(pair[0]))[1]


def _seconds(found: float | RuntimeError) -> float:
    return float("inf") if isinstance(found, RuntimeError) else found


def _timed(clock: Clock, layer: JointConv2d, way: Way, x: Tensor) -> float | RuntimeError:
    """What a way takes; or why it cannot be gone: cuDNN has no engine for some convolutions with groups."""
    try:
        return clock(partial(_both_directions, layer, way, x))
    except torch.OutOfMemoryError:
        raise  # the members are too many, whatever the way
    except RuntimeError as error:
        return error.with_traceback(None)  # whose frames hold tensors


def _both_directions(layer: JointConv2d, way: Way, x: Tensor) -> None:
    given = x.detach().requires_grad_(x.requires_grad)
    y = layer.grouped(given) if way == "grouped" else layer.each(given)
    wanted = [layer.weight, layer.bias, *([given] if x.requires_grad else [])]
    torch.autograd.grad(y, wanted, torch.ones_like(y))
