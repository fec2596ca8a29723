"""What the training images leave in PSAD's banks, and how far other images are from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from harness.data import ImageSet
from methods.psad.banks import Distance, Floats, PatchScore, histogram, max_min
from methods.psad.embedding import Compositions, PatchSearch
from methods.psad.scaling import AdaptiveScaling
from methods.psad.scaling import Reference as ScaleReference
from methods.psad.sources.source import PartSource
from methods.psad.vectors import FlatDims, VectorBank

BANKS = {"h": "hist", "c": "comp", "p": "patch"}
Rows = NDArray[np.float32]  # distances of the patches of one image to every image of the bank, (n, N_P)


@final
@dataclass(frozen=True)
class MemorySpec:
    """Which banks there are and how they are read; every field is that of `PSAD`."""

    banks: str
    distance: Distance
    standardize: bool
    flat_dims: FlatDims
    hist_bg: bool
    patch_score: PatchScore
    patch_size: int
    map_smoothing: float
    train_fraction: float
    as_reference: ScaleReference
    norm_source: Literal["train_loo", "validation"]


class Evidence(NamedTuple):
    """What images look like to the banks.

    Attributes:
        distances: bank -> distances to every image of the bank (m, n).
        scores: bank -> raw scores (m,).
        maps: distances of the patches (m, h, w), or None without patch bank.
    """

    distances: dict[str, Floats]
    scores: dict[str, Floats]
    maps: NDArray[np.float32] | None

    def scaled(self, scaling: Mapping[str, AdaptiveScaling]) -> dict[str, Floats]:
        """Scores after adaptive scaling."""
        return {name: scaling[name](s) for name, s in self.scores.items()}

    def nearest(self, scaling: Mapping[str, AdaptiveScaling]) -> list[int]:
        """Image of the bank with the smallest sum of scaled distances, by all banks in use."""
        total = sum(scaling[name](d) for name, d in self.distances.items())
        return [int(i) for i in np.asarray(total).argmin(axis=1)]


@final
@dataclass(frozen=True)
class Memory:
    """M_hist, M_comp and M_patch of a support set.

    Attributes:
        spec: which of them there are, and how they are read.
        images: what they hold, by name.
        parts, compositions, search: what their elements come from; the search knows all training images,
            of which `images` are the first.
        vectors: the two banks with one vector per image, by name.
    """

    spec: MemorySpec
    images: ImageSet
    parts: PartSource
    compositions: Compositions
    search: PatchSearch
    vectors: Mapping[str, VectorBank]

    @classmethod
    def of(cls, spec: MemorySpec, parts: PartSource, compositions: Compositions, search: PatchSearch) -> Self:
        """Of the first `train_fraction` of the images that the search knows."""
        kept = range(max(1, round(spec.train_fraction * len(search.train))))
        empty = cls(spec, search.train.subset(kept), parts, compositions, search, {})
        switches = spec.standardize, spec.flat_dims, spec.distance
        found = {name: VectorBank.of(v, *switches) for name, v in empty._elements(empty.images).items()}
        return cls(spec, empty.images, parts, compositions, search, found)

    def _elements(self, images: ImageSet) -> dict[str, Floats]:
        """Elements of the banks with one vector per image: bank -> (m, d)."""
        found = {}
        if "h" in self.spec.banks:
            n = self.parts.n_classes
            found["hist"] = np.stack([histogram(m, n, self.spec.hist_bg) for m in self.parts.labels(images)])
        if "c" in self.spec.banks:
            found["comp"] = np.stack(self.compositions.of(images))
        return found

    def evidence(self, images: ImageSet) -> Evidence:
        """Distances and raw scores of images."""
        distances = {n: self.vectors[n].distances(v) for n, v in self._elements(images).items()}
        scores = {name: d.min(axis=1) for name, d in distances.items()}
        if "p" not in self.spec.banks:
            return Evidence(distances, scores, None)
        minima = [rows[: len(self.images)] for rows in self.search.minima(images)]
        patch = [self._patch_score(images, i, rows, slice(len(rows))) for i, rows in enumerate(minima)]
        distances["patch"] = np.stack([rows.max(axis=1).astype(np.float64) for rows in minima])
        scores["patch"] = np.array(patch)
        return Evidence(distances, scores, np.stack([self._map(rows) for rows in minima]))

    def reference(self, validation: ImageSet) -> dict[str, Floats]:
        """S_train of every bank: each training image against the others, or validation images."""
        n = len(self.images)
        if self.spec.norm_source == "validation" or n == 1:
            if len(validation):
                return self.evidence(validation).scores
            return {BANKS[b]: np.empty(0) for b in self.spec.banks}
        found = {name: bank.reference(self.spec.as_reference) for name, bank in self.vectors.items()}
        if "p" in self.spec.banks:
            others = [np.delete(np.arange(n), k) for k in range(n)]
            rows = enumerate(rows[:n] for rows in self.search.minima(self.images))
            found["patch"] = np.array([self._patch_score(self.images, k, r, others[k]) for k, r in rows])
        return found

    def _patch_score(self, images: ImageSet, i: int, minima: Rows, bank: NDArray[np.intp] | slice) -> float:
        if self.spec.patch_score == "max_min":
            nearest = max_min(minima[bank])
            return nearest if self.spec.distance == "l2" else nearest**2
        (patches,) = self.search.patches(images.subset([i]))
        chosen = np.arange(len(minima))[bank]
        return self.search.bank.score(patches, minima, chosen, self.spec.patch_score, self.spec.distance)

    def _map(self, minima: Rows) -> Rows:
        nearest = minima.min(axis=0)
        side = round(len(nearest) ** 0.5)
        sigma = self.spec.map_smoothing * side / self.spec.patch_size
        return gaussian_filter(nearest.reshape(side, side), sigma).astype(np.float32, copy=False)
