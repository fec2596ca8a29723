"""Distances from the positions of an image to the nearest position of a normal one, an array per pair.

A gallery of any normal images is the minimum over their arrays: a pair is computed once, whatever the
numbers of shots and the seeds in which it occurs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from methods.shared.backbones.features import FeatureSpec, Maps
from methods.shared.nearest import MemoryBank, Vectors

CHUNK = 100  # positions that the public code handles at a time
Pair = tuple[int, int, int]  # a query, a normal image, how many of its positions are in the gallery


@final
@dataclass(frozen=True)
class Gallery:
    """Normal images that others are compared with, position by position.

    Attributes:
        keys: content hashes of the normal images.
        maps: their features.
        spec: which features.
    """

    keys: Sequence[str]
    maps: Sequence[Maps]
    spec: FeatureSpec

    def distances(
        self,
        keys: Sequence[str],
        queries: Sequence[Maps],
        neighbours: Sequence[Sequence[int]],
        layer: str,
        truncated: bool,
        store: ArtifactStore,
        device: str,
    ) -> list[NDArray[np.float32]]:
        """For every position of every query, the distance to the nearest one of its neighbours.

        Args:
            keys: content hashes of n images.
            queries: their features.
            neighbours: for each query, which normal images make its gallery, nearest first.
            layer: of whose output.
            truncated: leave out as many positions as the public code (`kept`).
            store: keeps one array per pair.
            device: torch device name.

        Returns:
            float32 (height, width) of the layer, one per query.
        """
        grid = self.maps[0][layer].shape[1:]
        size = grid[0] * grid[1]
        pairs = [
            (query, image, number)
            for query, images in enumerate(neighbours)
            for image, number in zip(images, kept(len(images), size, truncated), strict=True)
            if number
        ]
        rows = self._rows(keys, queries, pairs, layer, store, device)
        least = np.full((len(queries), size), np.inf, np.float32)
        for (query, _, _), row in zip(pairs, rows, strict=True):
            np.minimum(least[query], row, out=least[query])
        return list(least.reshape(-1, *grid))

    def _rows(
        self,
        keys: Sequence[str],
        queries: Sequence[Maps],
        pairs: Sequence[Pair],
        layer: str,
        store: ArtifactStore,
        device: str,
    ) -> list[NDArray[Any]]:
        vectors = lru_cache(1)(lambda query: positions(queries[query][layer]))  # pairs come query by query

        def compute(missing: list[int]) -> list[NDArray[Any]]:
            wanted = [pairs[n] for n in missing]
            return [self._bank(i, n, layer, device).search(vectors(q))[0][:, 0] for q, i, n in wanted]

        op = Op("position_distances", self.spec.op(layer, device).params)
        inputs = [(keys[query], self.keys[image], str(number)) for query, image, number in pairs]
        return store.get_many(op, inputs, compute)

    def _bank(self, image: int, number: int, layer: str, device: str) -> MemoryBank:
        array = self.maps[image][layer]
        # the public code counts columns first
        rows = positions(array) if number == array[0].size else positions(array.swapaxes(1, 2))[:number]
        return MemoryBank(np.ascontiguousarray(rows), device)


def positions(maps: NDArray[np.floating[Any]]) -> Vectors:
    """(channels, height, width) as float32 (height * width, channels), row by row."""
    return np.ascontiguousarray(maps.reshape(len(maps), -1).T, np.float32)


def kept(images: int, size: int, truncated: bool) -> list[int]:
    """How many positions of each image of a gallery are looked at.

    Args:
        images: in the gallery, nearest first.
        size: positions per image.
        truncated: as in the public code, which takes them by the hundred and drops what is over at the end; a
            gallery of less than a hundred, which it could not handle, is kept.
    """
    whole = images * size
    number = whole - whole % CHUNK if truncated and whole >= CHUNK else whole
    return [int(n) for n in np.clip(number - size * np.arange(images), 0, size)]
