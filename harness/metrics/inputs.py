"""What every pixel metric agrees on: limits, labels, and what is refused, naming the image at fault."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import DataError
from harness.metrics.regions import Region

Array = NDArray[Any]
LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)
"""Limits of the false-positive rate that MVTec LOCO AD reports; papers quote 0.05."""

PRO_LIMITS = (0.05, 0.3, 1.0)
"""Limits for AU-PRO: MVTec AD 2, MVTec AD, and the whole curve."""


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


def check_labels(maps: Sequence, regions: Sequence[Sequence[Region]], labels: Sequence[str]) -> None:
    """Refuse images whose label and regions do not fit.

    Raises:
        DataError: lengths differ, an unknown label, regions of a good image, none of an anomalous one.
    """
    if not len(maps) == len(regions) == len(labels):
        raise DataError(f"{len(maps)} maps, {len(regions)} lists of regions and {len(labels)} labels")
    for i, (label, found) in enumerate(zip(labels, regions, strict=True)):
        if label not in ("good", "logical", "structural"):
            raise DataError(f"image {i}: label {label!r} must be good, logical or structural")
        if (label == "good") == bool(found):
            raise DataError(f"image {i}: labelled {label!r} but has {len(found)} anomalous regions")


def mean(logical: float | None, structural: float | None) -> float | None:
    """Half the sum; None, and not the other one, where one of the two is not defined."""
    return None if logical is None or structural is None else (logical + structural) / 2
