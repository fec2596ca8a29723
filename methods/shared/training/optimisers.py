"""Optimisers as a step that may become a CUDA graph wants them, and the usual step with one of them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from methods.shared.training.precision import Used


def adam(
    parameters: Iterable[nn.Parameter],
    rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    decay: float = 0.0,
) -> torch.optim.Adam:
    """Adam with L2 regularisation (`decay` is added to the gradient, as in torch)."""
    found = list(parameters)
    kept = _kept(found, rate)
    return torch.optim.Adam(
        found, betas=betas, eps=eps, weight_decay=decay, fused=True, capturable=_on_gpu(found), **kept
    )


def sgd(
    parameters: Iterable[nn.Parameter], rate: float, momentum: float = 0.0, decay: float = 0.0
) -> torch.optim.SGD:
    """Stochastic gradient descent; the momentum is not damped."""
    found = list(parameters)
    return torch.optim.SGD(found, momentum=momentum, weight_decay=decay, fused=True, **_kept(found, rate))


def _kept(parameters: list[nn.Parameter], rate: float) -> dict[str, Any]:
    """The rate: on a card a tensor, which a graph reads anew in every step."""
    return {"lr": torch.tensor(rate, device=parameters[0].device) if _on_gpu(parameters) else rate}


def _on_gpu(parameters: list[nn.Parameter]) -> bool:
    return parameters[0].is_cuda


def set_rate(group: dict[str, Any], rate: float) -> None:
    """The learning rate of a group of parameters in the next step."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


@contextmanager
def forward(device: str, precision: Used) -> Iterator[None]:
    """Networks inside run in bfloat16 where that is the precision; what is derived stays outside."""
    kind = torch.device(device).type
    # without a cache: a cast weight that a CUDA graph has kept would never change again
    with torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False):
        yield


def minimise(terms: Mapping[str, Tensor], *optimisers: torch.optim.Optimizer) -> dict[str, Tensor]:
    """One step down the sum of the terms; gives them back, without what they were computed from."""
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    torch.stack([term.float() for term in terms.values()]).sum().backward()
    for optimiser in optimisers:
        optimiser.step()
    return {name: term.detach() for name, term in terms.items()}
