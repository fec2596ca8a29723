"""sPRO curves kept per image: what resampling whole images needs, and what a plot shows.

The exact area needs every pixel. A resample of images only needs, for each image and each of some thousand
shared thresholds, how many normal pixels lie above it and how much of the regions is found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.metrics.evidence import Evidence
from harness.metrics.inputs import check_labels, check_size, checked_map, mean
from harness.metrics.regions import Region, union
from harness.metrics.sieve import Sieve
from harness.metrics.spro import count_regions
from harness.metrics.targets import top_sorted

Array = NDArray[Any]
Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class ImageCurves:
    """Per image and threshold: false positives and how much of the regions is found.

    A pixel is positive if its score is strictly greater than the threshold.

    Attributes:
        thresholds: (t,), sorted.
        false_positives: normal pixels above each threshold, whole numbers, (n, t).
        normals: normal pixels, (n,).
        found: sum of sPRO over the image's regions, (n, t).
        regions: number of regions, (n,).
        labels: "good", "logical" or "structural" per image.
    """

    thresholds: Array
    false_positives: Floats
    normals: Floats
    found: Floats
    regions: Floats
    labels: tuple[str, ...]

    def curve(self, subset: str = "all", indices: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """False-positive rate and mean sPRO, both rising from 0 to 1.

        Args:
            subset: "all", "logical" or "structural"; good images belong to each.
            indices: images, with repeats (a bootstrap sample); all of them once by default.

        Returns:
            (t + 2,) each; NaN where the images chosen have no normal pixel or no region.
        """
        chosen = np.arange(len(self.labels)) if indices is None else np.asarray(indices)
        weights = np.bincount(chosen, minlength=len(self.labels)).astype(np.float64)
        weights[[subset != "all" and label not in ("good", subset) for label in self.labels]] = 0
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = (weights @ self.false_positives) / (weights @ self.normals)
            spro = (weights @ self.found) / (weights @ self.regions)
        return np.append(np.append(0.0, rate[::-1]), 1.0), np.append(np.append(0.0, spro[::-1]), 1.0)

    def area(self, indices: ArrayLike, limit: float, subset: str = "all") -> float | None:
        """AU-sPRO of a resample of the images, up to `limit`; None where it is not defined.

        Args:
            indices: images, with repeats.
            limit: of the false-positive rate.
            subset: "all", "logical", "structural", or "mean" of the latter two.
        """
        if subset == "mean":
            return mean(*(self.area(indices, limit, s) for s in ("logical", "structural")))
        rate, spro = self.curve(subset, indices)
        if np.isnan(rate).any() or np.isnan(spro).any():
            return None
        return area_under(rate, spro, limit)


def area_under(x: Floats, y: Floats, limit: float) -> float:
    """Area under a broken line from 0 to `limit`, interpolated there, divided by it."""
    inside = int(np.searchsorted(x, limit, "right"))
    at_limit = np.interp(limit, x, y)
    return float(np.trapezoid(np.append(y[:inside], at_limit), np.append(x[:inside], limit)) / limit)


def areas_under(x: Floats, y: Floats, limits: Sequence[float]) -> Floats:
    """`area_under` of many lines at once.

    Args:
        x: (b, t), each row rising from 0 to 1.
        y: (b, t).
        limits: (k,), in (0, 1].

    Returns:
        (b, k).
    """
    rows = np.arange(len(x))
    before = np.zeros_like(x)
    np.cumsum(np.diff(x) * (y[:, 1:] + y[:, :-1]) / 2, axis=1, out=before[:, 1:])
    found = np.empty((len(x), len(limits)))
    for k, limit in enumerate(limits):
        last = np.count_nonzero(x <= limit, axis=1) - 1
        after = np.minimum(last + 1, x.shape[1] - 1)
        width, gap = limit - x[rows, last], x[rows, after] - x[rows, last]
        # no gap: the line ends at the limit, and the width is 0 too
        slope = np.divide(y[rows, after] - y[rows, last], gap, out=np.zeros(len(x)), where=gap > 0)
        found[:, k] = before[rows, last] + width * (y[rows, last] + slope * width / 2)
    return found / np.asarray(limits)


def image_curves(
    maps: Sequence[ArrayLike],
    regions: Sequence[Sequence[Region]],
    labels: Sequence[str],
    n_thresholds: int = 4000,
) -> ImageCurves:
    """The curves of images on thresholds chosen for all of them together.

    Areas under these curves agree with the exact ones to about 1e-4, and exactly if every score inside a
    region can be a threshold.

    Args:
        maps: per image (h, w), at the size of the masks.
        regions: per image its regions; none for good images.
        labels: per image "good", "logical" or "structural".
        n_thresholds: at most so many, half of them evenly spaced in sPRO, half in the logarithm of the
            false-positive rate.

    Raises:
        DataError: as for `auspro`.
    """
    check_labels(maps, regions, labels)
    thresholds = _thresholds(count_regions(maps, regions, labels, "regions").evidence("all"), n_thresholds)
    sieve = Sieve(thresholds)
    rows = [_one_image(maps[i], regions[i], thresholds, sieve, f"image {i}") for i in range(len(maps))]
    columns = [np.array(column, np.float64) for column in zip(*rows, strict=True)]
    return ImageCurves(thresholds, *columns, labels=tuple(labels))


def _one_image(
    anomaly_map: ArrayLike, regions: Sequence[Region], thresholds: Array, sieve: Sieve, name: str
) -> tuple[Array, int, Array, int]:
    scores = checked_map(anomaly_map, name)
    check_size(scores.shape, regions, name)
    sieve.count(sieve.sift(scores[~union(regions)] if regions else scores.ravel()))
    _, up_to, normals = sieve.counts()
    found = np.zeros(thresholds.size)
    for region in regions:
        found += _above(top_sorted(scores[region.mask], region.saturation), thresholds) / region.saturation
    return normals - up_to.astype(np.int64), normals, found, len(regions)


def _above(ordered: Array, thresholds: Array) -> Array:
    return ordered.size - ordered.searchsorted(thresholds, "right")


def _thresholds(evidence: Evidence, n: int) -> Array:
    """Scores of region pixels, all if they are few, else some that split the curve evenly."""
    u, counts = evidence.thresholds, evidence.normals
    if 2 * u.size <= n:
        return _both_ends(u)
    weight = np.zeros(u.size)
    for at in evidence.places("regions"):
        weight[at] += 1 / at.size
    spro = np.cumsum(weight[::-1])[::-1] / weight.sum()
    rate = (counts.n - counts.up_to.astype(np.int64)) / max(counts.n, 1)
    evenly = np.linspace(0, 1, n // 4)
    steps = np.geomspace(1 / max(counts.n, 2), 1, n // 4)
    # Both fall along u; searchsorted wants them rising.
    at = np.concatenate([(-spro).searchsorted(-evenly), (-rate).searchsorted(-steps), [0, u.size - 1]])
    chosen = u[np.unique(np.minimum(at, u.size - 1))]
    return _both_ends(chosen)


def _both_ends(u: Array) -> Array:
    # The curve rises between "above u" and "from u on", so a threshold just below u is needed too.
    return np.unique(np.concatenate([np.nextafter(u, -np.inf, dtype=u.dtype), u]))
