"""Greedy k-centre selection in a random projection (Roth et al., 2022, Algorithm 1)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PROJECTED = 128  # ψ: dimension in which distances are taken (authors' code)
STARTS = 10  # points whose mean distance starts the selection (authors' code)
CANDIDATES = 512
CHOSEN = -1.0  # distance of a selected point: it comes after every duplicate of it


def projection(dimension: int, seed: int) -> NDArray[np.float32]:
    """ψ: a Gaussian random matrix (dimension, 128) that keeps distances on average."""
    normal = np.random.default_rng([seed, 0]).standard_normal((dimension, PROJECTED), np.float32)
    return normal / np.float32(PROJECTED**0.5)


def k_centres(
    points: NDArray[np.float32],
    number: int,
    seed: int,
    device: str = "cpu",
    candidates: int = CANDIDATES,
) -> NDArray[np.int64]:
    """Indices of `number` points, each the farthest from those before it.

    Selects what the plain loop selects ("take the farthest point, then shorten all distances by
    it"), but in rounds: distances to the selected points only shrink, so as long as the farthest of
    a few hundred candidates is farther than any other point was when the round began, the others
    need not be looked at. Their distances are brought up to date once a round, by one matrix
    product. Candidates are compared on the CPU: a card would be waited for three times per point.

    Args:
        points: float32 (n, dimension).
        number: how many to select, at most n.
        seed: of the starting points; selection begins with the largest mean distance to them.
        device: torch device name.
        candidates: points looked at in a round; changes the speed, not the selection.

    Returns:
        int64 (number,), in order of selection.
    """
    z = torch.from_numpy(points).to(device)
    starts = np.random.default_rng([seed, 1]).choice(len(points), min(STARTS, len(points)), replace=False)
    farness = distances(z, z[torch.from_numpy(starts).to(device)]).mean(dim=1)
    chosen: list[int] = []
    while len(chosen) < number:
        far, index = torch.topk(farness, min(candidates, len(z)))
        threshold = float(far[-1]) if candidates < len(z) else CHOSEN
        new = _round(z[index].cpu(), far.cpu(), index.tolist(), threshold, number - len(chosen))
        index = torch.tensor(new, device=z.device)
        _shorten(farness, z, z[index])
        farness[index] = CHOSEN
        chosen += new
    return np.array(chosen)


def _round(points: Tensor, far: Tensor, index: list[int], threshold: float, number: int) -> list[int]:
    """Select among the farthest points until one of the others might be farther.

    Args:
        points: the candidates, on the CPU.
        far: how far each is from those selected before; brought up to date.
        index: their places among all points.
        threshold: none of the others is farther than that.
        number: how many are selected at most.
    """
    new: list[int] = []
    while len(new) < number:
        best = int(torch.argmax(far))
        if new and float(far[best]) < threshold:
            break
        new.append(index[best])
        torch.minimum(far, distances(points, points[best : best + 1])[:, 0], out=far)
        far[best] = CHOSEN
    return new


def _shorten(farness: Tensor, z: Tensor, selected: Tensor, block: int = 1 << 14) -> None:
    for start in range(0, len(z), block):
        part = slice(start, start + block)
        torch.minimum(farness[part], distances(z[part], selected).amin(dim=1), out=farness[part])


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (n, m) between the rows of a and of b."""
    squares = (a * a).sum(dim=1)[:, None] + (b * b).sum(dim=1)[None, :]
    return torch.addmm(squares, a, b.T, alpha=-2).clamp_(min=0).sqrt_()
