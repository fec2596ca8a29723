"""How a map of low resolution is brought to the size of the masks: one declared rule."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

UPSAMPLING = "bilinear, align_corners=False, to the native size of the image"
"""The rule, in the words that are recorded with every pixel metric."""


def upsample(anomaly_map: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """A map resized to `size` by bilinear interpolation with half-pixel centres.

    The same as `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` up to rounding.
    Interpolation is written `a + w (b - a)`, so that constant areas stay exactly constant and the ties
    of a clipped or padded map survive.

    Args:
        anomaly_map: float (h, w); returned as it is if it has the size already.
        size: (H, W).

    Returns:
        float (H, W), of the map's dtype.

    Raises:
        DataError: the map is not floating, or a side of it or of `size` is 0.
    """
    if anomaly_map.shape == tuple(size):
        return anomaly_map
    if not np.issubdtype(anomaly_map.dtype, np.floating):
        raise DataError(f"maps to be resized must be floating, got {anomaly_map.dtype}")
    if 0 in anomaly_map.shape or 0 in size:
        raise DataError(f"cannot resize a map of {anomaly_map.shape} to {size}")
    # Columns first: the wide intermediate then has only the map's own few rows.
    return _along_rows(_along_rows(anomaly_map.T, size[1]).T, size[0])


def _along_rows(array: NDArray[Any], n: int) -> NDArray[Any]:
    if array.shape[0] == n:
        return array
    below, above, weight = taps(array.shape[0], n)
    low = np.ascontiguousarray(array)[below]
    step = np.ascontiguousarray(array)[above]
    step -= low
    step *= weight.astype(array.dtype)[:, None]
    step += low
    return step


@lru_cache(maxsize=64)
def taps(n_in: int, n_out: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """For each of `n_out` samples: the two neighbours among `n_in` and the weight of the second."""
    centre = np.maximum((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0.0)
    below = np.minimum(centre.astype(np.intp), n_in - 1)
    return below, np.minimum(below + 1, n_in - 1), centre - below
