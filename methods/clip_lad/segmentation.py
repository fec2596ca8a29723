"""Coarse-to-fine segmentation (section 3.1): clusters, foreground, parts."""

from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

Labels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]
NO_REGION = 255  # a patch whose region was too small


@final
@dataclass(frozen=True)
class Classes:
    """What the text side says of one level, coarse or fine.

    Attributes:
        background: for each class, whether it is background.
        thresholds: for each class, the similarity that a region must exceed to count as foreground.
    """

    background: tuple[bool, ...]
    thresholds: tuple[float, ...]

    @property
    def parts(self) -> NDArray[np.uint8]:
        """Class index -> part label: 0 for background, else 1, 2, … in order."""
        foreground = ~np.array(self.background)
        return np.where(foreground, np.cumsum(foreground), 0).astype(np.uint8)


@final
@dataclass(frozen=True)
class Segmented:
    """One image, every array uint8 (grid, grid).

    Attributes:
        clusters: index of the nearest centre, or NO_REGION.
        coarse: foreground; 0 background, else 1 + index among the coarse foreground classes.
        parts: 0 background, else 1 + index among the fine foreground classes.
    """

    clusters: Labels
    coarse: Labels
    parts: Labels


def enlarged(labels: Labels, grid: int) -> Labels:
    """Labels on a finer grid: every patch takes the label of the patch it lies in."""
    at = np.arange(grid) * len(labels) // grid
    return labels[at[:, None], at[None, :]]


def without_small(clusters: Labels, most: int) -> Labels:
    """Connected pieces (8 neighbours) of at most `most` patches belong to no region any more."""
    kept = clusters.copy()
    for cluster in np.unique(clusters) if most else ():
        pieces: Any = label(clusters == cluster, structure=np.ones((3, 3)))[0]  # type: ignore[index]
        small = np.bincount(pieces.ravel()) <= most
        small[0] = False
        kept[small[pieces]] = NO_REGION
    return kept


def region_means(clusters: Labels, similarities: Floats, number: int) -> NDArray[np.float64]:
    """Eq. 1 behind the text product: mean similarity of every region to every class.

    Averaging is linear, so that the mean of the patches' similarities is the similarity of the mean
    token. Empty regions get 0.

    Args:
        clusters: (grid, grid).
        similarities: (grid², classes).
        number: N_c.

    Returns:
        (N_c, classes).
    """
    flat = clusters.ravel().astype(np.intp)
    member = (flat[None, :] == np.arange(number)[:, None]).astype(np.float64)
    return member @ similarities / np.maximum(member.sum(axis=1), 1)[:, None]


def segment(
    clusters: Labels,
    similarities: Floats,
    coarse: Classes,
    fine: Classes,
    number: int,
    fine_level: Literal["patch", "region"],
) -> Segmented:
    """Foreground by region, parts inside it by patch or by region.

    Args:
        clusters: (grid, grid), from `nearest_centres`.
        similarities: (grid², coarse + fine classes), coarse first.
        coarse: the classes of the coarse level.
        fine: those of the fine level.
        number: N_c.
        fine_level: "region" gives a whole region one part (juice bottle in the paper).
    """
    grid, split = isqrt(len(similarities)), len(coarse.background)
    by_region = region_means(clusters, similarities, number)
    region = np.append(_foreground(by_region[:, :split], coarse), 0)  # the last entry is that of NO_REGION
    at = np.minimum(clusters, number)
    classes = _fine(at, similarities[:, split:], by_region[:, split:], fine_level)
    parts = np.where(region[at] > 0, fine.parts[classes].reshape(grid, grid), 0)
    return Segmented(clusters, region[at].astype(np.uint8), parts.astype(np.uint8))


def _foreground(logits: Floats, coarse: Classes) -> NDArray[np.uint8]:
    """The coarse label of every region."""
    best = logits.argmax(axis=1)
    enough = logits.max(axis=1) > np.array(coarse.thresholds)[best]
    return np.where(enough, coarse.parts[best], 0).astype(np.uint8)


def _fine(at: Labels, patches: Floats, regions: Floats, level: str) -> NDArray[np.intp]:
    if level == "patch":
        return patches.argmax(axis=1).reshape(at.shape)
    return np.append(regions.argmax(axis=1), 0)[at]


def histogram(parts: Labels, number: int) -> NDArray[np.float64]:
    """h: number of patches of each part, background left out, (number,)."""
    return np.bincount(parts.ravel(), minlength=number + 1)[1:].astype(np.float64)
