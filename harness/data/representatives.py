"""Which few of many images to label: those that the others resemble."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 50


def medoids(vectors: NDArray[np.floating[Any]], number: int) -> list[int]:
    """k-medoids: the images to whose nearest one the distances of all images are smallest in sum.

    Begins with the image nearest to all others, goes on with the farthest from those chosen, then
    alternates between dividing the images among the medoids and moving each into the middle of its
    group. Nothing is random; of equals the first is taken.

    Args:
        vectors: float (n, dimension), one per image.
        number: how many to choose, at most n.

    Returns:
        Indices, ascending.
    """
    squares = (vectors.astype(np.float64) ** 2).sum(axis=1)
    products = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0))
    chosen = _spread(distances, min(number, len(vectors)))
    for _ in range(ROUNDS):
        groups = distances[:, chosen].argmin(axis=1)
        groups[chosen] = range(len(chosen))  # also where another one is as near
        moved = [_middle(distances, np.flatnonzero(groups == i)) for i in range(len(chosen))]
        if moved == chosen:
            break
        chosen = moved
    return sorted(chosen)


def _spread(distances: NDArray[np.float64], number: int) -> list[int]:
    chosen = [int(distances.sum(axis=1).argmin())]
    while len(chosen) < number:
        near = distances[:, chosen].min(axis=1)
        near[chosen] = -1  # twins of a chosen image may be at distance 0 too
        chosen.append(int(near.argmax()))
    return chosen


def _middle(distances: NDArray[np.float64], group: NDArray[np.intp]) -> int:
    return int(group[distances[np.ix_(group, group)].sum(axis=1).argmin()])
