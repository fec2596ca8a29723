"""K-means over the features of patches, on the CPU or on a GPU."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Init = Literal["kmeans++", "random"]
ROUNDS = 100


def kmeans(
    points: NDArray[np.float32],
    number: int,
    seed: int,
    init: Init = "kmeans++",
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Centres of Lloyd's algorithm: Euclidean, one run, until no point changes its cluster.

    A cluster that loses all its points keeps its centre. The result depends on the order of the
    points; who wants it order-free sorts them first.

    Args:
        points: float32 (n, dimension).
        number: of clusters, at most n.
        seed: of the first centres.
        init: "kmeans++" (Arthur and Vassilvitskii, 2007, one candidate per step) or "random" points.
        device: torch device name.

    Returns:
        float32 (number, dimension).
    """
    x = torch.from_numpy(points).to(device)
    rng = np.random.default_rng(seed)
    chosen = _spread(x, number, rng) if init == "kmeans++" else rng.choice(len(x), number, replace=False)
    return _lloyd(x, x[torch.as_tensor(chosen, device=x.device)]).cpu().numpy()


def _spread(x: Tensor, number: int, rng: np.random.Generator) -> list[int]:
    """k-means++: each next centre with a probability proportional to its squared distance to the others."""
    chosen = [int(rng.integers(len(x)))]
    farness = torch.full((len(x),), torch.inf, device=x.device)
    while len(chosen) < number:
        farness = torch.minimum(farness, (x - x[chosen[-1]]).square().sum(dim=1))
        until = np.cumsum(farness.cpu().numpy().astype(np.float64))
        at = int(np.searchsorted(until, rng.random() * until[-1], side="right"))
        chosen.append(min(at, len(x) - 1))  # the last one where all points lie on centres
    return chosen


def _lloyd(x: Tensor, mu: Tensor) -> Tensor:
    labels = _nearest(x, mu)
    for _ in range(ROUNDS):
        mu = _means(x, labels, mu)
        before, labels = labels, _nearest(x, mu)
        if torch.equal(before, labels):
            break
    return mu


def _nearest(x: Tensor, mu: Tensor) -> Tensor:
    return torch.addmm(mu.square().sum(dim=1), x, mu.T, alpha=-2).argmin(dim=1)


def _means(x: Tensor, labels: Tensor, mu: Tensor) -> Tensor:
    """As one product with the indicator matrix: the same bits whatever the device's scheduling."""
    member = torch.nn.functional.one_hot(labels, len(mu)).to(x.dtype)
    size = member.sum(dim=0)[:, None]
    return torch.where(size > 0, member.T @ x / size.clamp(min=1), mu)
