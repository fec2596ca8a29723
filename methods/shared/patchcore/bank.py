"""The memory bank of normal patches, and the scores of images that are held against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from scipy.ndimage import gaussian_filter

from harness.data import ImageSet
from harness.method import Context, Scores
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.nearest import MemoryBank, Vectors
from methods.shared.patchcore.score import reweighted
from methods.shared.pixels import batches

Grid = tuple[int, int]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


Odd = Annotated[int, Field(gt=0), AfterValidator(_odd)]


@final
@dataclass(frozen=True)
class Recipe:
    """How patches are described, which of them are kept, and how an image is scored; see `PatchCore`.

    Attributes:
        spec: which features.
        neighbourhood: p.
        dimension: of adaptive pooling, or None.
        coreset_ratio, coreset_above: which part of the patches is kept, and of more than how many images.
        num_neighbours: b of Eq. 7.
        map_smoothing: standard deviation of the Gaussian over the map, in pixels of the network's input.
    """

    spec: FeatureSpec
    neighbourhood: int
    dimension: int | None
    coreset_ratio: float
    coreset_above: int
    num_neighbours: int
    map_smoothing: float


@final
@dataclass(frozen=True, eq=False)
class PatchBank:
    """Normal patches that others are compared with.

    Attributes:
        recipe: how.
        context: run seed (of the coreset), device, artifact store.
        memory: the patches that were kept.
    """

    recipe: Recipe
    context: Context
    memory: MemoryBank

    @classmethod
    def of(cls, train: ImageSet, recipe: Recipe, context: Context) -> "PatchBank":
        """The bank of one or more normal images.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
        """
        maps = features(train, recipe.spec, context.artifacts, context.device)
        whole = recipe.coreset_ratio == 1 or len(maps) <= recipe.coreset_above
        rows = _patches(maps, recipe, context) if whole else _coreset(maps, recipe, context)
        return cls(recipe, context, MemoryBank(rows, context.device))

    def score(self, images: ImageSet) -> Scores:
        """Re-weighted distance of the farthest patch (Eq. 6, 7), and the distances of all patches.

        Returns:
            Scores with the part "unweighted" (Eq. 6 alone) and maps at the resolution of the
            patches, smoothed, (n, height, width).
        """
        store, device = self.context.artifacts, self.context.device
        results = [
            self._scored(maps)
            for part in batches(images, 32)
            for maps in features(part, self.recipe.spec, store, device)
        ]
        image, unweighted, maps = zip(*results, strict=True)
        return Scores(np.array(image), {"unweighted": np.array(unweighted)}, np.stack(maps))

    def _scored(self, maps: Maps) -> tuple[float, float, NDArray[np.float32]]:
        vectors, grid = embedded(maps, self.recipe, self.context.device)
        distances, nearest = self.memory.search(vectors)
        worst = int(distances[:, 0].argmax())
        s_star = float(distances[worst, 0])  # Eq. 6
        b = self.recipe.num_neighbours
        s = reweighted(self.memory, vectors[worst], s_star, int(nearest[worst, 0]), b)
        return s, s_star, self._map(distances[:, 0].reshape(grid))

    def _map(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        geometry = self.recipe.spec.geometry
        side = geometry.crop or geometry.height
        smooth = gaussian_filter(distances, [self.recipe.map_smoothing * n / side for n in distances.shape])
        margin = (geometry.height - side) / 2 / side  # of the picture around the crop: never looked at
        padded = np.pad(smooth, [(round(margin * n),) * 2 for n in distances.shape])
        return padded.astype(np.float32, copy=False)


def embedded(maps: Maps, recipe: Recipe, device: str) -> tuple[Vectors, Grid]:
    """The vectors of an image's patches, and their (height, width)."""
    from methods.shared.patchcore.embedding import patch_features

    return patch_features(maps, recipe.neighbourhood, recipe.dimension, device)


def _patches(maps: Sequence[Maps], recipe: Recipe, context: Context) -> Vectors:
    """Every patch of every image, one image at a time into one array."""
    first, _ = embedded(maps[0], recipe, context.device)
    rows = np.empty((len(maps), *first.shape), np.float32)
    for i, image in enumerate(maps):
        rows[i] = embedded(image, recipe, context.device)[0]
    return rows.reshape(-1, first.shape[1])


def _coreset(maps: Sequence[Maps], recipe: Recipe, context: Context) -> Vectors:
    """A part of the patches, embedded twice: only projections of all of them are held at once."""
    from methods.shared.patchcore.coreset import k_centres, projection

    seed, first = context.run_seed, embedded(maps[0], recipe, context.device)[0]
    psi = projection(first.shape[1], seed)
    points = np.concatenate([embedded(image, recipe, context.device)[0] @ psi for image in maps])
    number = max(1, int(recipe.coreset_ratio * len(points)))
    chosen = np.sort(k_centres(points, number, seed, context.device))
    size = len(first)
    parts = (chosen[chosen // size == i] - i * size for i in range(len(maps)))
    pairs = zip(maps, parts, strict=True)
    return np.concatenate([embedded(image, recipe, context.device)[0][p] for image, p in pairs if len(p)])
