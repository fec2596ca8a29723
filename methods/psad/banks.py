"""The memory banks of PSAD (Kim et al., AAAI 2024, "Anomaly Detection Using Part Segmentation").

A class histogram and a component composition are one vector per image, and their anomaly score is a
distance to the nearest training image (Eq. 3). The patch bank holds many vectors per image; what is kept
of a search in it is one row per training image, so that the score against any part of the training set is a
minimum over rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

if TYPE_CHECKING:
    from methods.psad.contraction import Contraction

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Distance = Literal["l2", "l2_squared"]
PatchScore = Literal["max_min", "reweighted_k9"]
ClassMean = Literal["mean", "count_plus_one"]
EPSILON = 1e-10  # added to standard deviations (released code)
NEIGHBOURS = 9  # of the re-weighting (released code)
TEMPERATURE = 10.0  # by which it divides distances before their exponential


def histogram(labels: NDArray[np.integer[Any]], n_classes: int, background: bool) -> Floats:
    """Number of pixels of every class, the element e of M_hist.

    Args:
        labels: (h, w), values in [0, n_classes); 0 is background.
        n_classes: N_C, background counted.
        background: whether its pixels are counted, too (released code).

    Returns:
        float64 (n_classes,), or (n_classes - 1,) without background.
    """
    counts = np.bincount(labels.ravel(), minlength=n_classes).astype(np.float64)
    return counts if background else counts[1:]


def composition(
    features: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    n_classes: int,
    class_mean: ClassMean = "mean",
) -> Floats:
    """Mean features of every class but background, the element e of M_comp.

    Equals the mean over features that were enlarged bilinearly (corners aligned, as the released code) to
    the size of the labels, without making them: interpolation is linear, so the labels are brought to
    the features instead. Maps of several layers are passed one by one and their results concatenated.

    Args:
        features: (c, fh, fw), of any resolution.
        labels: (h, w), values in [0, n_classes).
        n_classes: N_C, background counted.
        class_mean: the sum is divided by the number of pixels, or as the released code does by one more.

    Returns:
        float64 ((n_classes - 1) * c,), class by class; zeros for a class without pixels.
    """
    masks = ((labels == c).astype(np.float64) for c in range(1, n_classes))
    weights = np.stack([_brought_to(mask, features.shape[1:]) for mask in masks])
    sums = weights.reshape(n_classes - 1, -1) @ features.reshape(len(features), -1).T
    counts = histogram(labels, n_classes, background=False)[:, None]
    pixels = counts + 1 if class_mean == "count_plus_one" else np.maximum(counts, 1)
    return (sums / pixels).ravel()


def _brought_to(mask: Floats, shape: tuple[int, ...]) -> Floats:
    """How much every feature counts in the sum over the pixels of a mask (h, w) -> (fh, fw)."""
    rows, columns = (_interpolation(n, m) for n, m in zip(mask.shape, shape, strict=True))
    return rows.T @ mask @ columns


@lru_cache(maxsize=16)
def _interpolation(pixels: int, features: int) -> Floats:
    """The matrix (pixels, features) of linear interpolation with aligned corners."""
    at = np.linspace(0, features - 1, pixels)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(features)), 0)


@final
@dataclass(frozen=True)
class Standard:
    """Standardisation of every dimension by the training images (released code).

    Attributes:
        mean: (d,).
        scale: (d,), unbiased standard deviation + 1e-10; ones where a single image has none.
    """

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, train: Floats) -> Self:
        """Of the vectors (n, d) of the training images."""
        if len(train) == 1:
            return cls(train[0], np.ones_like(train[0]))
        return cls(train.mean(axis=0), train.std(axis=0, ddof=1) + EPSILON)

    def __call__(self, vectors: Floats) -> Floats:
        """Standardised vectors (m, d)."""
        return (vectors - self.mean) / self.scale


def image_distances(queries: Floats, train: Floats, distance: Distance = "l2") -> Floats:
    """‖e_test - e‖ or its square (Eq. 3) between all queries (m, d) and training images (n, d).

    Returns:
        float64 (m, n); the score against any part of the training set is a minimum over columns.
    """
    return np.asarray(cdist(queries, train, "euclidean" if distance == "l2" else "sqeuclidean"), np.float64)


@final
@dataclass
class PatchBank:
    """The patches of the training images, searched exhaustively, image by image.

    Attributes:
        rows: M_patch, float32 (n_train, patches, d), C-contiguous and writable.
        device: torch device name.
    """

    rows: Vectors
    device: str = "cpu"
    _contraction: "Contraction | None" = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": self.rows, "device": self.device, "_contraction": None}

    def minima(self, patches: Vectors, without: int | None = None) -> Vectors:
        """Distance of every patch of one image to the nearest patch of each training image.

        Args:
            patches: float32 (m, d).
            without: a training image that is not searched (leave-one-out).

        Returns:
            Euclidean distances, float32 (n_train, m); infinite in the row `without`. The distances to a
            bank of some of the training images are the minimum over their rows, exactly.
        """
        from methods.psad.contraction import Contraction

        if self._contraction is None:
            self._contraction = Contraction.of(self.rows, self.device)
        return self._contraction.minima(patches, without)

    def leave_one_out(self) -> Iterator[Vectors]:
        """`minima` of every training image in turn against all others (M'_patch)."""
        for k, patches in enumerate(self.rows):
            yield self.minima(patches, without=k)

    def score(
        self,
        patches: Vectors,
        minima: Vectors,
        images: NDArray[np.intp] | slice = slice(None),
        patch_score: PatchScore = "max_min",
        distance: Distance = "l2",
    ) -> float:
        """Anomaly score of an image against some of the training images.

        Args:
            patches: float32 (m, d) of the image.
            minima: what `minima` gave for them; an infinite row is left out.
            images: which training images make up the bank.
            patch_score: the largest distance of a patch to its nearest (paper), or that distance
                re-weighted by the nine nearest (released code).
            distance: what is taken of the largest distance.
        """
        if patch_score == "max_min":
            nearest = max_min(minima[images])
            return nearest if distance == "l2" else nearest**2
        farthest = int(minima[images].min(axis=0).argmax())
        chosen = np.arange(len(self.rows))[images]
        return reweighted(self._nearest(patches[farthest], minima[:, farthest], chosen), distance)

    def _nearest(self, patch: Vectors, minima: Vectors, images: NDArray[np.intp]) -> Floats:
        """The nine smallest distances of a patch to a bank of some images.

        They lie in the nine images that come nearest: any other image has nine patches, one of each of
        these, before its own first.
        """
        near = images[np.argsort(minima[images], kind="stable")[:NEIGHBOURS]]
        near = near[np.isfinite(minima[near])]
        distances = cdist(patch[None].astype(np.float64), self.rows[near].reshape(-1, len(patch)))[0]
        return np.sort(distances)[:NEIGHBOURS]


def max_min(minima: Vectors) -> float:
    """Maximum over patches of the minimum over training images of distances (n_train, m) (paper)."""
    return float(minima.min(axis=0).max())


def reweighted(nearest: Floats, distance: Distance = "l2") -> float:
    """Score of the farthest patch from its distances to its nearest neighbours (released code).

    Args:
        nearest: (up to nine,), smallest first; a single neighbour is not re-weighted.
        distance: what is taken of the smallest.

    Returns:
        (1 - max exp(d/10) / Σ exp(d/10)) d_1/10. It is the patch itself whose neighbours count and not,
        as in PatchCore's Eq. 7, its nearest neighbour's; the largest distance stands in the
        numerator, and all distances are divided by ten.
    """
    d = nearest / TEMPERATURE
    factor = 1 - np.exp(d.max() - logsumexp(d)) if len(d) > 1 else 1.0
    return float(factor * (d[0] if distance == "l2" else d[0] ** 2))
