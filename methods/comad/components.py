"""What ComAD measures of heat maps: masks, areas, colours, and components counted by kinds of sizes."""

from dataclasses import dataclass
from typing import Any, final

import cv2
import numpy as np
from numpy.typing import NDArray

Heat = NDArray[np.uint8]  # (h, w), 0..128
Mask = NDArray[np.bool_]
Row = NDArray[np.float64]
NATIVE = 224  # side in pixels for which the lengths below are meant
BORDER, CORNER, BLUR, LEAST_AREA = 10, 20, 11, 50
FACTORS = (1.0, 1.1, 1.2, 1.3, 1.4)
NOISE = -1


def otsu(heat: Heat) -> float:
    """Otsu's threshold of a heat map without its border."""
    border = round(BORDER * len(heat) / NATIVE)
    inner = np.ascontiguousarray(heat[border : len(heat) - border, border : heat.shape[1] - border])
    return float(cv2.threshold(inner, 0, 255, cv2.THRESH_OTSU)[0])


def is_object(heat: Heat) -> bool:
    """Whether a cluster is no background: sure somewhere, and in fewer than three corners."""
    scale = len(heat) / NATIVE
    side = round(CORNER * scale)
    blurred = cv2.blur(heat, (2 * round((BLUR - 1) / 2 * scale) + 1,) * 2)
    mask = heat > otsu(heat)
    corners = [mask[rows, columns] for rows in _ends(side) for columns in _ends(side)]
    return bool(blurred.max() > 64) and sum(bool(corner.any()) for corner in corners) < 3


def _ends(side: int) -> tuple[slice, slice]:
    return slice(0, side), slice(-side, None)


def steadiest(heats: list[Heat]) -> float:
    """The factor of Otsu's threshold with which training areas vary least; of equals the first."""
    areas = np.array([[float((h > f * otsu(h)).sum()) for h in heats] for f in FACTORS])
    means = areas.mean(axis=1)
    spreads = np.where(means > 0, areas.std(axis=1) / np.maximum(means, 1), np.inf)
    return FACTORS[int(np.argmin(spreads))]


def colour(lab: NDArray[np.uint8], mask: Mask) -> float:
    """Mean of (b / a)² over a mask, of OpenCV's 8-bit Lab; 0 of an empty mask."""
    if not mask.any():
        return 0.0
    a, b = (lab[..., i][mask].astype(np.float64) for i in (1, 2))
    return float(np.mean((b / np.maximum(a, 1)) ** 2))


def areas_of(mask: Mask) -> list[int]:
    """Areas of 8-connected components that are larger than a speck, rising."""
    found: Any = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2]
    least = LEAST_AREA * (len(mask) / NATIVE) ** 2
    return sorted(int(area) for area in found[1:, cv2.CC_STAT_AREA] if area > least)


def dbscan(values: Row, eps: float, min_samples: int) -> NDArray[np.int64]:
    """DBSCAN of numbers: a label for each, `NOISE` where it is in no dense run.

    Args:
        values: (n,), rising.
        eps: how near a neighbour is.
        min_samples: neighbours, itself among them, that make a value a core.

    Returns:
        Labels, rising with the values; a value beside two runs is in that of the nearer core.
    """
    near = np.abs(values[:, None] - values) <= eps
    cores = np.flatnonzero(near.sum(axis=1) >= min_samples)
    labels = np.full(len(values), NOISE)
    if not len(cores):
        return labels
    runs = np.cumsum(np.diff(values[cores], prepend=values[cores[0]]) > eps)
    nearest = np.abs(values[:, None] - values[cores]).argmin(axis=1)
    within = np.abs(values - values[cores[nearest]]) <= eps
    labels[within] = runs[nearest[within]]
    return labels


@final
@dataclass(frozen=True, eq=False)
class Sizes:
    """Kinds of sizes that the components of one cluster have in training images.

    Attributes:
        areas: of all components, rising.
        labels: of them.
        number: of labels without `NOISE`; 0 where there is no component, or no kind of them.
        neighbours: how many components decide by majority what kind another is.
    """

    areas: Row
    labels: NDArray[np.int64]
    number: int
    neighbours: int

    @staticmethod
    def learnt(masks: list[Mask], neighbours: int, min_samples: int) -> "Sizes":
        """Those of training images' masks."""
        areas = np.array(sorted(area for mask in masks for area in areas_of(mask)), np.float64)
        eps = 0.1 * float(areas.mean()) if len(areas) else 0.0
        labels = dbscan(areas, eps, min_samples) if len(areas) else np.empty(0, np.int64)
        return Sizes(areas, labels, int(labels.max(initial=NOISE)) + 1, neighbours)

    def histogram(self, mask: Mask) -> Row:
        """How many components of each kind there are, (number,)."""
        counts = np.zeros(self.number)
        for area in areas_of(mask) if self.number else ():
            if (kind := self._kind(area)) != NOISE:
                counts[kind] += 1
        return counts

    def _kind(self, area: float) -> int:
        nearest = np.argsort(np.abs(self.areas - area), kind="stable")[: self.neighbours]
        return int(np.bincount(self.labels[nearest] + 1).argmax()) - 1


def distance(row: Row, rows: Row, neighbours: int) -> float:
    """Mean Euclidean distance of a vector to its nearest among some, at most as many as there are."""
    return float(np.sort(np.linalg.norm(rows - row, axis=1))[:neighbours].mean())
