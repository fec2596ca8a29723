"""Anomalous regions and how much of each has to be found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

Mask = NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class Region:
    """One anomalous region of one image (a "channel" of MVTec LOCO AD; it may have several blobs).

    Attributes:
        mask: (h, w) at the size at which maps are judged; non-zero means anomalous. Kept as bool.
        saturation_threshold: pixels that are enough to count as found; a fraction in (0, 1] of the
            region if relative.
        relative_saturation: which of the two.
        defect: name of the defect type, if known.

    Raises:
        DataError: a mask that is empty or not two-dimensional, or a threshold out of range.
    """

    mask: NDArray[Any]
    saturation_threshold: float = 1.0
    relative_saturation: bool = True
    defect: str | None = None

    def __post_init__(self):
        mask = np.asarray(self.mask)
        if mask.ndim != 2:
            raise DataError(f"mask of region {self.defect!r} must be (h, w), got {mask.shape}")
        object.__setattr__(self, "mask", mask if mask.dtype == np.bool_ else mask != 0)
        if self.area == 0:
            raise DataError(f"mask of region {self.defect!r} has no anomalous pixel")
        self._check_threshold()

    def _check_threshold(self) -> None:
        threshold = self.saturation_threshold
        fits = 0 < threshold <= 1 if self.relative_saturation else threshold >= 1
        if not fits or (not self.relative_saturation and threshold != int(threshold)):
            allowed = "in (0, 1]" if self.relative_saturation else "a whole number of pixels, at least 1"
            raise DataError(
                f"saturation threshold of region {self.defect!r} is {threshold}; "
                f"{'relative' if self.relative_saturation else 'absolute'} ones must be {allowed}"
            )

    @property
    def area(self) -> int:
        """Number of anomalous pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def saturation(self) -> int:
        """Number of pixels at which the region counts as found, at least 1.

        As in MVTec's evaluation code: a relative threshold is multiplied in float64 and truncated, an
        absolute one is capped by the area. Tiny regions that truncate to 0 are raised to 1.
        """
        if self.relative_saturation:
            return max(int(self.saturation_threshold * self.area), 1)
        return min(int(self.saturation_threshold), self.area)


def union(regions: Sequence[Region]) -> Mask:
    """Pixels (h, w) that lie in any of the regions, of which there must be one.

    Raises:
        DataError: the regions have masks of different sizes.
    """
    sizes = sorted({region.mask.shape for region in regions})
    if len(sizes) > 1:
        raise DataError(f"the regions of one image have masks of different sizes: {sizes}")
    if len(regions) == 1:
        return regions[0].mask
    return np.logical_or.reduce([region.mask for region in regions])


def components(mask: Mask) -> list[NDArray[np.intp]]:
    """Flat pixel indices of each 8-connected component of a mask that marks something, as AU-PRO counts."""
    # scipy.ndimage takes a while to import and only AU-PRO needs it.
    from scipy import ndimage

    # Labelling costs by the area that is looked at, and regions are small.
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    labels = np.zeros(box.shape, np.int32)
    n = ndimage.label(box, structure=np.ones((3, 3), dtype=int), output=labels)
    flat = np.flatnonzero(mask)
    if n == 1:
        return [flat]
    owner = labels[box]
    order = np.argsort(owner, kind="stable")
    return np.split(flat[order], np.cumsum(np.bincount(owner)[1:-1]))
