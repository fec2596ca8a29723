"""The two memory banks (section 3.2): histograms of the support images, and their patches."""

from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore
from harness.data import ImageSet
from methods.clip_lad.network import Layer
from methods.clip_lad.scoring import HistScore, histogram_distances, patch_map
from methods.shared.openclip.spec import ClipSpec

Floats = NDArray[np.floating[Any]]


@final
@dataclass(frozen=True, eq=False)
class HistogramBank:
    """M_hist, and how histograms are compared with it.

    Attributes:
        h: patches per part of every support image, float64 (k, C).
        score, eps, norm: see `scoring.histogram_distances`.
    """

    h: NDArray[np.float64]
    score: HistScore
    eps: float
    norm: Literal["count", "fraction"]

    def distances(self, h_test: Floats) -> Floats:
        """Of histograms (n, C) to each of the bank's, (n, k)."""
        return histogram_distances(h_test, self.h, self.score, self.eps, self.norm)

    def s_log(self, h_test: Floats) -> Floats:
        """Of histograms (n, C) to the nearest of the bank's, (n,) (Eq. 2)."""
        return self.distances(h_test).min(axis=1)

    def left_out(self) -> Floats:
        """s_log of each support image against the others, (k,)."""
        found = self.distances(self.h)
        np.fill_diagonal(found, np.inf)
        return found.min(axis=1)


@final
@dataclass(frozen=True, eq=False)
class PatchBank:
    """M_patch, and how patches are compared with it.

    Attributes:
        support: the support images.
        layers: what patches are compared by.
        side: of the grid on which they are compared.
        metric: distance of unit vectors.
        fuse: how the layers' distances become one (`scoring.patch_map`).
        spec: the network.
        store: keeps the distances of every pair of images.
        device: torch device name.
    """

    support: ImageSet
    layers: tuple[Layer, ...]
    side: int
    metric: Literal["cosine", "l2"]
    fuse: Literal["mean", "sum", "concat"]
    spec: ClipSpec
    store: ArtifactStore
    device: str

    def maps(self, images: ImageSet) -> NDArray[np.float64]:
        """Distance of every patch to the nearest support patch, (n, side, side).

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
        """
        rows = self._rows(images)
        maps = [patch_map(rows[:, i], self.fuse) for i in range(len(images))]
        return np.stack(maps).reshape(len(images), self.side, self.side)

    def left_out(self) -> NDArray[np.float64]:
        """s_str of each support image against the others, (k,)."""
        rows = self._rows(self.support)
        others = [np.delete(rows[:, i], i, axis=1) for i in range(len(self.support))]
        return np.array([patch_map(each, self.fuse).max() for each in others])

    def _rows(self, images: ImageSet) -> NDArray[np.float32]:
        """Distance rows (stages, n, k, patches)."""
        from methods.shared.openclip.distances import distance_rows

        stages = (self.layers,) if self.fuse == "concat" else self.layers
        given = (self.spec, self.store, self.device, self.side, self.metric)
        return np.stack([distance_rows(images, self.support, stage, *given) for stage in stages])
