"""Exact nearest neighbours in a bank of vectors: by faiss on a CPU, by products of matrices on a card.

faiss has a search for cards of its own, in a wheel for one version of CUDA, 700 MB with what it needs beside
torch's. torch does the same there in a dozen lines, and counts the memory as its own.
"""

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
PRODUCT_BYTES = 256 << 20  # of a product of queries and rows on a card
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
    _held: Any = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": self.rows, "device": self.device, "_held": None}

    def search(self, queries: Vectors, k: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Euclidean distances to the k nearest rows and their indices, nearest first.

        Neighbours are ranked by |q|² + |r|² - 2qr, whose rounding depends on how many queries come
        together; the distances of what it found are therefore taken again as |q - r|.

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
        if not self.device.startswith("cuda"):
            import faiss

            return faiss.knn(queries, self.rows, k)[1]
        import torch

        if self._held is None:
            self._held = torch.from_numpy(self.rows).to(self.device)
        return nearest(self._held, torch.from_numpy(queries).to(self.device), k).cpu().numpy()


def nearest(rows: Any, queries: Any, k: int, product_bytes: int = PRODUCT_BYTES) -> Any:
    """Indices (m, k) of the rows nearest to queries, ranked by |r|² - 2qr, in no order.

    Args:
        rows: float32 (n, dimension), a tensor.
        queries: float32 (m, dimension), on the same device.
        k: at most n.
        product_bytes: memory for a product of queries and some of the rows.
    """
    import torch

    size = max(k, product_bytes // (4 * max(1, len(queries))))
    best, where = torch.empty(len(queries), 0, device=rows.device), None
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        far = torch.addmm((block * block).sum(dim=1), queries, block.T, alpha=-2)
        best, found = torch.cat([best, far], dim=1).topk(k, dim=1, largest=False, sorted=False)
        where = found if where is None else _kept(where, found, start, k)
    return where


def _kept(where: Any, found: Any, start: int, k: int) -> Any:
    """Indices of rows after one more block: places below k are those found before."""
    import torch

    return torch.where(found < k, where.gather(1, found.clamp(max=k - 1)), found - k + start)


def _distance(a: Vectors, b: Vectors) -> NDArray[np.float32]:
    difference = a - b
    return np.sqrt(np.einsum("ij,ij->i", difference, difference))
