"""AU-sPRO and AU-PRO: areas under the mean (saturated) per-region overlap over the false-positive rate.

sPRO: Bergmann, Batzner, Fauser, Sattlegger, Steger, "Beyond Dents and Scratches", IJCV 130 (2022), eq. 1-2;
PRO: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 129 (2021). A pixel is positive if its score
is strictly greater than the threshold; points of the curve are joined by straight lines, which matters at
ties and at the limit.

Only the `sat` highest pixels of a region can raise its sPRO, each by 1/sat, and a pixel of score x does so
while the false-positive rate passes from A = #(normal > x)/N to B = #(normal >= x)/N. So the area up to the
limit L is a sum over pixels of the area of one such ramp, and no threshold is ever chosen.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.citation import Citation
from harness.errors import DataError
from harness.metrics.counts import Counts
from harness.metrics.evidence import Evidence, PixelCounts, two_passes
from harness.metrics.inputs import (
    LIMITS,
    PRO_LIMITS,
    check_labels,
    check_size,
    checked_limits,
    checked_map,
    mean,
)
from harness.metrics.record import Metric
from harness.metrics.regions import Region


def auspro(
    maps: Sequence[ArrayLike],
    regions: Sequence[Sequence[Region]],
    labels: Sequence[str],
    limits: Sequence[float] = LIMITS,
) -> dict[str, dict[float, float | None]]:
    """AU-sPRO of anomaly maps that have the size of their masks, exactly.

    The logical figure is that of all good and all logical images, the structural one likewise; `mean` is
    half their sum; `all` takes every image.

    Args:
        maps: per image (h, w), higher is more anomalous; sizes may differ between images.
        regions: per image its regions; none for good images.
        labels: per image "good", "logical" or "structural".
        limits: of the false-positive rate, each in (0, 1].

    Returns:
        {"logical" | "structural" | "mean" | "all": {limit: area / limit, or None where not defined}}.

    Raises:
        DataError: lengths differ, unknown label, an anomalous image without region or a good one with
            regions, a map that is not finite or not of its masks' size, a limit out of range.
    """
    check_labels(maps, regions, labels)
    found = count_regions(maps, regions, labels, "regions")
    areas = {
        subset: {limit: auspro_at(found.evidence(subset), limit) for limit in checked_limits(limits)}
        for subset in ("logical", "structural", "all")
    }
    return areas | {"mean": {t: mean(areas["logical"][t], areas["structural"][t]) for t in limits}}


def aupro(
    maps: Sequence[ArrayLike],
    masks: Sequence[ArrayLike | None],
    limits: Sequence[float] = PRO_LIMITS,
) -> dict[float, float | None]:
    """AU-PRO of anomaly maps that have the size of their masks, exactly; regions are 8-connected components.

    Args:
        maps: per image (h, w), higher is more anomalous.
        masks: per image (h, w), non-zero is anomalous; all zero or None for good images.
        limits: of the false-positive rate, each in (0, 1].

    Returns:
        {limit: area / limit, or None without anomalous or without normal pixels}.

    Raises:
        DataError: lengths differ, a map that is not finite or not of its mask's size, a limit out of range.
    """
    if len(maps) != len(masks):
        raise DataError(f"{len(maps)} maps but {len(masks)} masks")
    regions = [[] if mask is None or not np.any(mask) else [Region(np.asarray(mask))] for mask in masks]
    labels = ["anomalous" if found else "good" for found in regions]
    evidence = count_regions(maps, regions, labels, "components").evidence("all")
    return {limit: aupro_at(evidence, limit) for limit in checked_limits(limits)}


def count_regions(
    maps: Sequence[ArrayLike], regions: Sequence[Sequence[Region]], labels: Sequence[str], kind: str
) -> PixelCounts:
    """Both passes over maps in memory; subsets are "all" and every label but "good"."""

    def load(i: int) -> tuple[NDArray, Sequence[Region]]:
        anomaly_map = checked_map(maps[i], f"image {i}")
        check_size(anomaly_map.shape, regions[i], f"image {i}")
        return anomaly_map, regions[i]

    return two_passes(load, [None if s == "good" else ("all", s) for s in labels], [kind])


def auspro_at(evidence: Evidence, limit: float) -> float | None:
    """AU-sPRO of one subset; None without regions or without normal pixels."""
    return _area(evidence, "regions", limit)


def aupro_at(evidence: Evidence, limit: float) -> float | None:
    """AU-PRO of one subset; None without regions or without normal pixels."""
    return _area(evidence, "components", limit)


AU_SPRO = Metric(
    "AU-sPRO",
    "area under saturated PRO",
    "pixel",
    auspro_at,
    targets="regions",
    limits=LIMITS,
    paper=Citation(
        "Bergmann, Batzner, Fauser, Sattlegger, Steger",
        "Beyond Dents and Scratches: Logical Constraints in Unsupervised Anomaly Detection and Localization",
        "IJCV 130, 2022",
        "https://doi.org/10.1007/s11263-022-01578-9",
    ),
)
AU_PRO = Metric(
    "AU-PRO",
    "area under PRO",
    "pixel",
    aupro_at,
    targets="components",
    limits=PRO_LIMITS,
    paper=Citation(
        "Bergmann, Batzner, Fauser, Sattlegger, Steger",
        "The MVTec Anomaly Detection Dataset",
        "IJCV 129, 2021",
        "https://doi.org/10.1007/s11263-020-01400-4",
    ),
)


def _area(evidence: Evidence, kind: str, limit: float) -> float | None:
    places, normals = evidence.places(kind), evidence.normals
    if not places or normals.n == 0:
        return None
    # Lower thresholds are only passed beyond the limit; up_to rises with them.
    start = normals.up_to.searchsorted(normals.up_to.dtype.type(int((1 - limit) * normals.n)))
    # fsum rounds once, so the order in which images came does not show.
    found = math.fsum(_reached(at[at.searchsorted(start) :], normals, limit) / at.size for at in places)
    return found / (len(places) * limit)


def _reached(at: NDArray, normals: Counts, limit: float) -> float:
    return float(ramp_areas(normals.below[at], normals.up_to[at], normals.n, limit).sum())


def ramp_areas(below: NDArray, up_to: NDArray, n: int, limit: float) -> NDArray[np.float64]:
    """Area up to `limit` under a ramp from 0 at A = 1 - up_to/n to 1 at B = 1 - below/n, and 1 after it.

    Args:
        below: #(normal < x) for each score x, (m,).
        up_to: #(normal <= x).
        n: number of normal pixels.
        limit: L, in (0, 1].

    Returns:
        (m,), each in [0, L].
    """
    start = (n - up_to.astype(np.int64)) / n
    end = (n - below.astype(np.int64)) / n
    areas = np.maximum(limit - (start + end) / 2, 0.0)
    cut = (start < limit) & (limit < end)
    areas[cut] = (limit - start[cut]) ** 2 / (2 * (end[cut] - start[cut]))
    areas[start >= limit] = 0.0
    return areas
