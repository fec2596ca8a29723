"""Distances from the patches of one image to the nearest patch of another, one array per pair.

A memory bank of any support images is then the minimum over their rows: a pair is computed once,
whatever the number of shots and seeds in which it occurs.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from methods.shared.openclip.features import chunk_size, reading_op, readings
from methods.shared.openclip.spec import ClipSpec
from methods.shared.pixels import batches

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.floating[Any]]
Layer = int | str
Vectors = Callable[[ImageSet], Sequence["Tensor"]]


def distance_rows(
    queries: ImageSet,
    supports: ImageSet,
    stage: Layer | Sequence[Layer],
    spec: ClipSpec,
    store: ArtifactStore,
    device: str,
    grid: int,
    metric: Literal["cosine", "l2"] = "cosine",
) -> NDArray[np.float32]:
    """For every patch of every query, the distance to the nearest patch of every support image.

    Vectors are brought to the grid (bilinear, corners aligned), then normalised.

    Args:
        queries: n images.
        supports: m images.
        stage: a reading of patches (`ClipModel.whole`): number of the block, "naclip" for NACLIP's output;
            several are concatenated, each normalised (then the cosine is the mean of theirs).
        spec: the model.
        store: keeps one array per pair.
        device: torch device name.
        grid: side of the grid on which both images' patches lie.
        metric: "cosine" is 1 - cosine; "l2" the Euclidean distance of the unit vectors,
            √(2 · cosine distance), derived from what is stored for "cosine".

    Returns:
        float32 (n, m, grid * grid), row by row; `[:, chosen].min(axis=1)` is the distance to a bank.

    Raises:
        ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
    """
    layers = (stage,) if isinstance(stage, int | str) else tuple(stage)

    def vectors(images: ImageSet) -> list["Tensor"]:
        found = readings(images, layers, spec, store, device)
        return [_joined([each[layer] for layer in layers], grid, device) for each in found]

    parts = [reading_op(layer, spec, device) for layer in layers]
    op = Op("clip_distances", {"layers": [[p.name, p.params] for p in parts], "grid": grid})
    cosine = pair_rows(queries, supports, op, vectors, grid * grid, spec, store)
    return cosine if metric == "cosine" else np.sqrt(2 * cosine)


def pair_rows(
    queries: ImageSet,
    supports: ImageSet,
    op: Op,
    vectors: Vectors,
    length: int,
    spec: ClipSpec,
    store: ArtifactStore,
) -> NDArray[np.float32]:
    """1 - cosine of every vector of every query to the nearest vector of every support image.

    Args:
        queries: n images.
        supports: m images; their vectors are taken once, and only if a pair is missing.
        op: what the vectors depend on besides the image.
        vectors: images -> unit vectors (length, width) of each.
        length: vectors per image.
        spec: the model; sets how many queries are held at once and the precision of what is kept.
        store: keeps one array per pair.

    Returns:
        float32 (n, m, length), at least 0.
    """
    dtype = np.float32 if spec.precision == "float32" else np.float16
    rows = _Rows(supports, op, vectors, store, dtype)
    found = [rows.of(part) for part in batches(queries, chunk_size(spec))]
    empty = np.empty((0, len(supports), length), np.float32)
    return np.concatenate([part.reshape(-1, len(supports), length) for part in found] or [empty])


class _Rows:
    """Rows towards given support images."""

    def __init__(self, supports: ImageSet, op: Op, vectors: Vectors, store: ArtifactStore, dtype: type):
        self.supports, self.op, self.vectors, self.store, self.dtype = supports, op, vectors, store, dtype
        self.keys = supports.keys()

    def of(self, queries: ImageSet) -> NDArray[np.float32]:
        """A few queries, whose vectors are taken once: (queries × supports, length)."""
        pairs = list(product(queries.keys(), self.keys))
        shots = len(self.keys)

        def compute(missing: list[int]) -> list[Array]:
            chosen = sorted({n // shots for n in missing})
            vectors = dict(zip(chosen, self.vectors(queries.subset(chosen)), strict=True))
            return [self._row(vectors[n // shots], self._bank[n % shots]) for n in missing]

        return np.array(self.store.get_many(self.op, pairs, compute, batch=max(1, len(pairs))), np.float32)

    @cached_property
    def _bank(self) -> Sequence["Tensor"]:
        return self.vectors(self.supports)

    def _row(self, query: "Tensor", support: "Tensor") -> Array:
        nearest = (query @ support.T).amax(dim=1)
        return (1 - nearest).clamp(min=0).cpu().numpy().astype(self.dtype)


def _joined(layers: Sequence[Array], grid: int, device: str) -> "Tensor":
    """Unit vectors (grid², width of all layers together)."""
    import torch

    from methods.shared.openclip.tokens import on_grid, unit

    parts = [unit(on_grid(layer, grid, device)) for layer in layers]
    return unit(torch.cat(parts, dim=1)) if len(parts) > 1 else parts[0]
