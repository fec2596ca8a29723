"""The parts of an image, given the support images, through the artifact store.

Two operations: "support images → centres" and "image, support images → clusters, foreground, parts".
Tokens are read where they are missing, and never again after that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from methods.clip_lad.prompt_files import Prompts
from methods.clip_lad.segmentation import Segmented, enlarged, histogram, segment, without_small
from methods.shared.openclip.features import readings
from methods.shared.openclip.spec import ClipSpec
from methods.shared.openclip.text import text_similarities

Array = NDArray[np.floating[Any]]


@final
@dataclass(frozen=True)
class Clustering:
    """How the tokens of the support images are clustered.

    Attributes:
        stages: 1-based numbers of the blocks whose tokens are put side by side.
        side: of the grid to which they are brought before they are normalised.
        number: N_c.
        init: "kmeans++" or "random".
        seed: of K-means.
    """

    stages: tuple[int, ...]
    side: int
    number: int
    init: Literal["kmeans++", "random"]
    seed: int


@final
@dataclass(frozen=True)
class Segmenter:
    """Everything that the parts of an image depend on.

    Attributes:
        support: the support images, sorted by content.
        words: the prompts.
        clustering: see there.
        grid: side of the segmentation.
        min_region: connected pieces of at most so many patches belong to no region.
        pool: whether tokens are normalised before averaging.
        spec: the network.
        store: keeps what is computed.
        device: torch device name.
    """

    support: ImageSet
    words: Prompts
    clustering: Clustering
    grid: int
    min_region: int
    pool: Literal["normalised", "raw"]
    spec: ClipSpec
    store: ArtifactStore
    device: str

    def of(self, images: ImageSet) -> list[Segmented]:
        """The segmentation of every image; uint8 (3, grid, grid) in the store.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
        """
        support = tuple(self.support.keys())
        arrays = self.store.get_many(
            Op("clip_lad_parts", {**self._cluster_params, **self._part_params}),
            [(key, *support) for key in images.keys()],  # noqa: SIM118 - not a dict
            lambda wanted: self._segmented(images.subset(wanted)),
        )
        return [Segmented(*each) for each in arrays]

    def histograms(self, images: ImageSet) -> NDArray[np.float64]:
        """Patches of each part in every image, h, (n, C); raises what `of` raises."""
        number = len(self.words.parts)
        return np.array([histogram(each.parts, number) for each in self.of(images)])

    @property
    def centres(self) -> NDArray[np.float32]:
        """μ, float32 (N_c, channels of all stages)."""
        op = Op("clip_lad_centres", self._cluster_params)
        return self.store.get(op, tuple(self.support.keys()), self._clustered)

    @property
    def _cluster_params(self) -> Mapping[str, Any]:
        return self.spec.key(self.device) | asdict(self.clustering)

    @property
    def _part_params(self) -> Mapping[str, Any]:
        return {
            "prompts": self.words.sha256,
            "naclip": (self.spec.naclip_sigma, self.spec.naclip_arch),
            "grid": self.grid,
            "min_region": self.min_region,
            "pool": self.pool,
        }

    def _clustered(self) -> NDArray[np.float32]:
        from methods.shared.kmeans import kmeans
        from methods.shared.openclip.tokens import on_grid, unit

        how = self.clustering
        features = [unit(on_grid(t, how.side, self.device)) for t in self._tokens(self.support)]
        points = np.concatenate([each.cpu().numpy() for each in features])
        return kmeans(points, how.number, how.seed, how.init, self.device)

    def _segmented(self, images: ImageSet) -> list[NDArray[np.uint8]]:
        mu = self.centres
        both = zip(self._tokens(images), self._similarities(images), strict=True)
        return [self._one(tokens, similar, mu) for tokens, similar in both]

    def _one(self, tokens: Array, similar: Array, mu: Array) -> NDArray[np.uint8]:
        from methods.clip_lad.grids import nearest_centres

        clusters = enlarged(nearest_centres(tokens, mu, self.clustering.side), self.grid)
        clusters = without_small(clusters, self.min_region)
        levels = self.words.classes("coarse"), self.words.classes("fine")
        found = segment(clusters, similar, *levels, len(mu), self.words.fine_level)
        return np.stack([found.clusters, found.coarse, found.parts])

    def _similarities(self, images: ImageSet) -> Sequence[Array]:
        given = (self.spec, self.store, self.device, self.grid, self.pool)
        return text_similarities(images, self.words.words, self.words.texts, *given)

    def _tokens(self, images: ImageSet) -> list[NDArray[np.float32]]:
        """Tokens of the stages side by side, (patches, channels) per image."""
        stages = self.clustering.stages
        found = readings(images, stages, self.spec, self.store, self.device)
        return [np.concatenate([np.asarray(f[s], np.float32) for s in stages], axis=1) for f in found]
