"""What CLIP-LAD can show of an image: every step from clusters to the histogram."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.views import Bars, Heat, Parts, Reference, View
from methods.clip_lad.segmentation import NO_REGION, Segmented, histogram


def views(
    found: Segmented,
    distances: NDArray[np.floating],
    coarse: Sequence[str],
    parts: Sequence[str],
    h: NDArray[np.floating],
    nearest: str,
) -> tuple[View, ...]:
    """The steps of one image.

    Args:
        found: its segmentation.
        distances: of its patches to the nearest support patch, (grid, grid).
        coarse: names of the coarse foreground classes.
        parts: names of the parts.
        h: histogram of the nearest support image, (parts,).
        nearest: id of that image.
    """
    clusters = np.where(found.clusters == NO_REGION, 0, found.clusters.astype(int) + 1)
    numbers = tuple(str(i + 1) for i in range(clusters.max()))
    series = {"this image": histogram(found.parts, len(parts)), "nearest support image": h}
    return (
        Parts("clusters", clusters, ("none", *numbers)),
        Parts("coarse foreground", found.coarse, ("background", *coarse)),
        Parts("parts", found.parts, ("background", *parts)),
        Heat("patch distance", distances),
        Bars("patches per part", tuple(parts), series),
        Reference("nearest support image", nearest),
    )
