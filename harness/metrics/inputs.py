"""What every metric refuses, naming the image at fault."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import DataError
from harness.metrics.regions import Region

Array = NDArray[Any]


def checked_map(anomaly_map: ArrayLike, name: str) -> Array:
    """An anomaly map as a real array whose values compare exactly.

    Integers up to 16 bits and float16 become float32, other integers float64; all of it loses nothing.

    Raises:
        DataError: not two-dimensional, not real numbers, empty, NaN or infinite.
    """
    array = np.asarray(anomaly_map)
    if array.ndim != 2 or array.size == 0:
        raise DataError(f"{name}: an anomaly map must be (h, w), got {array.shape}")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: an anomaly map must hold real numbers, got {array.dtype}")
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    if not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise DataError(f"{name}: anomaly map has {bad} NaN or infinite values of {array.size}")
    return array


def check_size(size: tuple[int, ...], regions: Sequence[Region], name: str) -> None:
    """Refuse a map that does not lie on its masks.

    Raises:
        DataError: masks of another size, or of several sizes.
    """
    for region in regions:
        if region.mask.shape != tuple(size):
            raise DataError(
                f"{name}: anomaly map is {tuple(size)} but its mask is {region.mask.shape} "
                "(no rule for resizing was given)"
            )


def checked_limits(limits: Sequence[float]) -> tuple[float, ...]:
    """Integration limits of a false-positive rate.

    Raises:
        DataError: a limit outside (0, 1].
    """
    for limit in limits:
        if not 0 < limit <= 1:
            raise DataError(f"false-positive-rate limit {limit} must be in (0, 1]")
    return tuple(limits)
