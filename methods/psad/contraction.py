"""Exact nearest neighbours in each of many images, most of whose arithmetic is done in few dimensions.

φ(z) = (Vᵀz, ‖z - VVᵀz‖), the coordinates of a vector along orthonormal directions V and the length of what
they leave over, never takes two vectors apart: ‖φ(a) - φ(b)‖ ≤ ‖a - b‖ (by Pythagoras and the triangle
inequality). So a patch whose φ is farther away than some patch is in truth need not be looked at.
With V the principal directions of the bank, which for features of networks hold nearly all of their length
in a fraction of the dimensions, hardly more than one patch of an image remains to be looked at.
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Vectors = NDArray[np.float32]
KEPT = 0.99  # part of the squared length that the directions have to hold
WORTH = 0.5  # more of the dimensions than this, and the vectors are left as they are
FEW = 8  # images, for which principal directions are not worth computing
SAMPLE = 16_384  # vectors of which principal directions are computed
DENSE = 0.05  # more of the pairs than this, and all of them are computed at once
PAIRS = 32  # pairs of vectors held at once: they stay in the processor's cache
ROUNDING = 10 * 2.0**-24  # times √d: error of a product of float32 vectors, as part of their lengths


@final
@dataclass(frozen=True)
class Contraction:
    """The images of a bank and their contraction.

    Attributes:
        rows: (n, patches, d).
        mean: (d,), taken off before contracting.
        directions: V, (d, k), or None where φ is the identity.
        contracted: φ and ‖φ‖² of the rows, (n, patches, k + 2).
    """

    rows: Tensor
    mean: Tensor
    directions: Tensor | None
    contracted: Tensor

    @classmethod
    def of(cls, rows: Vectors, device: str) -> Self:
        """Of a bank float32 (n, patches, d); on a CPU, the vectors stay where they are."""
        bank = torch.from_numpy(rows).to(device)
        flat = bank.flatten(0, 1)
        sample = flat[:: -(-len(flat) // SAMPLE)]
        mean = sample.mean(dim=0)
        directions = _principal(sample - mean) if len(bank) > FEW else None
        k = directions.shape[1] + 1 if directions is not None else bank.shape[2]
        contracted = bank.new_empty(*bank.shape[:2], k + 1)
        for image, out in zip(bank, contracted, strict=True):
            out[:, :k] = _contracted(image - mean, directions)
            out[:, k] = (out[:, :k] ** 2).sum(dim=1)
        return cls(bank, mean, directions, contracted)

    @torch.inference_mode()
    def minima(self, patches: Vectors, without: int | None = None) -> Vectors:
        """See `methods.psad.banks.PatchBank.minima`."""
        q = torch.tensor(patches, device=self.rows.device)
        phi = _contracted(q - self.mean, self.directions)
        lengths, factors = (phi**2).sum(dim=1), torch.nn.functional.pad(-2 * phi, (0, 1), value=1)
        found = q.new_full((len(self.rows), len(q)), torch.inf)
        below = q.new_empty(len(q), self.rows.shape[1])
        for i in range(len(self.rows)):
            if i != without:
                torch.mm(factors, self.contracted[i].T, out=below)
                found[i] = self._nearest(q, lengths, below, i)
        return found.sqrt_().cpu().numpy()

    def _nearest(self, q: Tensor, lengths: Tensor, below: Tensor, image: int) -> Tensor:
        """Squared distances (m,) to the nearest patches of one image.

        Args:
            q: (m, d).
            lengths: ‖φ(q)‖², (m,).
            below: ‖φ(q) - φ(r)‖² - ‖φ(q)‖² of the patches r of the image, (m, patches); used up.
            image: which.
        """
        rows, longest = self.rows[image], self.contracted[image, :, -1].max()
        first = below.min(dim=1, keepdim=True).indices  # three times as fast as argmin
        smallest = _squares(q, rows, None, first[:, 0])
        below.scatter_(1, first, torch.inf)  # has been looked at
        slack = ROUNDING * 2 * q.shape[1] ** 0.5 * torch.maximum(lengths, longest)
        limit = smallest - lengths + slack
        some = (below.amin(dim=1) <= limit).nonzero()[:, 0]
        a, b = (below.index_select(0, some) <= limit[some, None]).nonzero(as_tuple=True)
        if len(a) > DENSE * below.numel():
            return torch.cdist(q, rows, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1) ** 2
        return smallest.scatter_reduce_(0, some[a], _squares(q, rows, some[a], b), "amin")


def _principal(sample: Tensor) -> Tensor | None:
    """The fewest principal directions (d, k) that hold 99 % of the squared length, if these are few."""
    values, vectors = torch.linalg.eigh(sample.T @ sample)
    held = values.flip(0).clamp(min=0).cumsum(0)
    k = int((held < KEPT * held[-1]).sum()) + 1
    return vectors.flip(1)[:, :k].contiguous() if k < WORTH * len(values) else None


def _contracted(z: Tensor, directions: Tensor | None) -> Tensor:
    """φ of vectors (m, d) -> (m, k + 1)."""
    if directions is None:
        return z
    along = z @ directions
    rest = torch.linalg.vector_norm(z - along @ directions.T, dim=1)
    return torch.cat([along, rest[:, None]], dim=1)


def _squares(a: Tensor, b: Tensor, i: Tensor | None, j: Tensor) -> Tensor:
    """‖a[i] - b[j]‖² of many pairs; all of `a` in order where `i` is None."""
    squares = a.new_empty(len(j))
    for start in range(0, len(j), PAIRS):
        part = slice(start, start + PAIRS)
        near = a[part] if i is None else a.index_select(0, i[part])
        difference = b.index_select(0, j[part]).sub_(near)
        torch.linalg.vector_norm(difference, dim=1, out=squares[part])
    return squares.square_()
