"""A set of elements as the distribution of its projections: fractions below thresholds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]
THRESHOLDS = 5
EDGES = (0.01, 0.99)  # quantiles between which the thresholds lie


def thresholds(values: Values) -> NDArray[np.float32]:
    """Where each direction's distribution is looked at: evenly between its outer percentiles.

    Args:
        values: (images, directions, elements), of the normal images alone.

    Returns:
        float32 (directions, 5).
    """
    together = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).astype(np.float32)
    low, high = np.quantile(together, EDGES, axis=1)
    steps = np.arange(1, THRESHOLDS + 1) / (THRESHOLDS + 1)
    return (low[:, None] + (high - low)[:, None] * steps).astype(np.float32)


def descriptor(values: Values, limits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of a set that lies below each threshold of each direction.

    Args:
        values: (directions, elements).
        limits: (directions, 5).

    Returns:
        float32 (directions * 5,), in [0, 1].
    """
    exact = values.astype(np.float32, copy=False)
    below = [np.count_nonzero(exact < limits[:, i : i + 1], axis=1) for i in range(limits.shape[1])]
    return (np.stack(below, axis=1) / values.shape[1]).astype(np.float32).ravel()
