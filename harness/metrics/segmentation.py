"""SegF1: F1 of all pixels of all test images at the one threshold that was fixed on validation images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.citation import Citation
from harness.metrics.ahead import ahead
from harness.metrics.record import Metric
from harness.metrics.regions import Region, union
from harness.metrics.targets import Groups, by_group
from harness.metrics.threshold import MEAN_3_STD

Array = NDArray[Any]
Part = tuple[Groups | None, NDArray[np.int64]]  # subsets, and what an image adds to their counts


@final
@dataclass(frozen=True)
class Tally:
    """Pixels of one subset of the images at one threshold.

    Attributes:
        found: anomalous and above it.
        missed: anomalous and not above it.
        false: anomaly-free and above it.
    """

    found: int
    missed: int
    false: int


def seg_f1(tally: Tally) -> float | None:
    """2 found / (2 found + missed + false); None without an anomalous pixel."""
    if tally.found + tally.missed == 0:
        return None
    return 2 * tally.found / (2 * tally.found + tally.missed + tally.false)


SEG_F1 = Metric(
    "SegF1",
    "F1 of pixels at one threshold, fixed on maps of validation images",
    "pixel",
    seg_f1,
    targets="pixels",
    cut=MEAN_3_STD,
    paper=Citation(
        "Heckler-Kram, Neudeck, Scheler, König, Steger",
        "The MVTec AD 2 Dataset: Advanced Scenarios for Unsupervised Anomaly Detection",
        "arXiv 2503.21622, 2025",
        "https://arxiv.org/abs/2503.21622",
    ),
)


def tallies(
    load: Callable[[int], tuple[Array, Sequence[Region]]],
    groups: Sequence[Groups | None],
    thresholds: Sequence[float],
    threads: int = 1,
) -> dict[str, list[Tally]]:
    """Pixels at some thresholds, in one pass over the images: subset -> a tally per threshold.

    Args:
        load: index -> (map (h, w), regions of that size).
        groups: per image the subsets that it counts in; None if it is good, which counts in all.
        thresholds: a pixel is flagged if it is greater.
        threads: that load and look at images; how many does not show in the outcome.
    """
    good = np.zeros((len(thresholds), 3), np.int64)
    counts: dict[str, NDArray[np.int64]] = {"all": np.zeros_like(good)}
    for parts in ahead(lambda i: _parts(*load(i), groups[i], thresholds), range(len(groups)), threads):
        for members, part in parts:
            if members is None:
                good += part
            for name in members or ():
                counts[name] = counts.get(name, np.zeros_like(good)) + part
    return {name: [Tally(*map(int, row)) for row in found + good] for name, found in counts.items()}


def _parts(
    anomaly_map: Array, regions: Sequence[Region], groups: Groups | None, thresholds: Sequence[float]
) -> list[Part]:
    # float64: a threshold that is rounded to the map's type could pass a pixel
    flagged = [anomaly_map > np.float64(threshold) for threshold in thresholds]
    if groups is None:
        return [(None, np.array([[0, 0, np.count_nonzero(f)] for f in flagged], np.int64))]
    inside = union(regions)
    false = [np.count_nonzero(f & ~inside) for f in flagged]
    parts: list[Part] = []
    for members, of in by_group(regions, groups):
        wanted = union(members)
        area, found = np.count_nonzero(wanted), [np.count_nonzero(f & wanted) for f in flagged]
        rows = [[n, area - n, wrong] for n, wrong in zip(found, false, strict=True)]
        parts.append((of, np.array(rows, np.int64)))
    return parts
