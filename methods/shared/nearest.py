"""Exact nearest neighbours in a bank of vectors: faiss, on the CPU or on a GPU."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
SCRATCH_BYTES, PINNED_BYTES = 256 << 20, 64 << 20  # faiss on a GPU: a block of queries needs half of it
BLOCK_BYTES = 1 << 26  # of queries at a time: bounds the memory of the gathered neighbours


@final
@dataclass
class MemoryBank:
    """Vectors to be searched exhaustively.

    Attributes:
        rows: float32 (n, dimension), C-contiguous; searched where they are on a CPU, copied once to
            a GPU.
        device: torch device name.
    """

    rows: Vectors
    device: str = "cpu"
    _index: Any = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": self.rows, "device": self.device, "_index": None}

    def search(self, queries: Vectors, k: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Euclidean distances to the k nearest rows and their indices, nearest first.

        faiss ranks by |q|² + |r|² - 2qr, whose rounding depends on how many queries come together;
        the distances of what it found are therefore taken again as |q - r|.

        Args:
            queries: float32 (m, dimension).
            k: number of neighbours, at most the size of the bank.

        Returns:
            Distances float32 (m, k) and indices int64 (m, k).
        """
        k = min(k, len(self.rows))
        size = max(1, BLOCK_BYTES // self.rows[:1].nbytes)
        blocks = [self._block(queries[i : i + size], k) for i in range(0, len(queries), size)]
        return np.concatenate([d for d, _ in blocks]), np.concatenate([n for _, n in blocks])

    def _block(self, queries: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        indices = self._nearest(np.ascontiguousarray(queries, np.float32), k)
        distances = np.stack([_distance(queries, self.rows[column]) for column in indices.T], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")
        return np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)

    def _nearest(self, queries: Vectors, k: int) -> NDArray[np.int64]:
        import faiss

        if not (self.device.startswith("cuda") and hasattr(faiss, "StandardGpuResources")):
            return faiss.knn(queries, self.rows, k)[1]
        if self._index is None:
            self._index = self._on_gpu(faiss)
        return self._index.search(queries, k)[1]

    def _on_gpu(self, faiss: Any) -> Any:
        number = int(self.device.partition(":")[2] or 0)
        index = faiss.IndexFlatL2(self.rows.shape[1])
        moved = faiss.index_cpu_to_gpu(_resources(), number, index)
        moved.add(self.rows)
        return moved


@cache
def _resources() -> Any:
    """Faiss's streams and scratch memory, once per process: by default 1.5 GiB each time they are made."""
    import faiss

    found = faiss.StandardGpuResources()
    found.setTempMemory(SCRATCH_BYTES)
    found.setPinnedMemory(PINNED_BYTES)
    return found


def _distance(a: Vectors, b: Vectors) -> NDArray[np.float32]:
    difference = a - b
    return np.sqrt(np.einsum("ij,ij->i", difference, difference))
