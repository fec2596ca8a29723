"""Exact nearest neighbours in each of many images, most of whose arithmetic is done in few dimensions.

φ(z) = (Vᵀz, ‖z - VVᵀz‖), the coordinates of a vector along orthonormal directions V and the length of what
they leave over, never takes two vectors apart: ‖φ(a) - φ(b)‖ ≤ ‖a - b‖ (by Pythagoras and the triangle
inequality). So a patch whose φ is farther away than some patch is in truth need not be looked at.
With V the principal directions of the bank, which for features of networks hold nearly all of their length
in a fraction of the dimensions, hardly more than one patch of an image remains to be looked at.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self, final

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
ROUNDING = 10 * 2.0**-24  # times √d: error of a product of float32 vectors, as part of their lengths


class Blocks(NamedTuple):
    """How much is held at once; changes the speed alone.

    Attributes:
        products: of patches of the image with patches of the bank, at least those of one image of it.
        pairs: of vectors whose distance is taken.
    """

    products: int
    pairs: int

    @classmethod
    def on(cls, device: str) -> Self:
        """A CPU is fastest with what its cache holds; a card idles until it is given much at once."""
        return cls(1 << 26, 1 << 14) if device.startswith("cuda") else cls(1, 32)


@final
@dataclass(frozen=True)
class Contraction:
    """The images of a bank and their contraction.

    Attributes:
        rows: (n, patches, d).
        mean: (d,), taken off before contracting.
        directions: V, (d, k), or None where φ is the identity.
        contracted: φ and ‖φ‖² of the rows, (n, patches, k + 2).
        blocks: what a search holds at once.
    """

    rows: Tensor
    mean: Tensor
    directions: Tensor | None
    contracted: Tensor
    blocks: Blocks

    @classmethod
    def of(cls, rows: Vectors, device: str, blocks: Blocks | None = None) -> Self:
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
        return cls(bank, mean, directions, contracted, blocks or Blocks.on(device))

    @torch.inference_mode()
    def minima(self, patches: Vectors, without: int | None = None) -> Vectors:
        """See `methods.psad.banks.PatchBank.minima`."""
        q = torch.tensor(patches, device=self.rows.device)
        phi = _contracted(q - self.mean, self.directions)
        lengths, factors = (phi**2).sum(dim=1), torch.nn.functional.pad(-2 * phi, (0, 1), value=1)
        found = q.new_full((len(self.rows), len(q)), torch.inf)
        one = len(q) * self.rows.shape[1]
        count = min(max(1, self.blocks.products // one), len(self.rows))
        held = q.new_empty(count * one)
        for start in range(0, len(self.rows), count):
            if (count, start) != (1, without):
                some = self.contracted[start : start + count]
                below = held[: len(some) * one].view(len(q), -1)
                torch.mm(factors, some.flatten(0, 1).T, out=below)
                found[start : start + count] = self._nearest(q, lengths, below, start).T
        if without is not None:
            found[without] = torch.inf
        return found.sqrt_().cpu().numpy()

    def _nearest(self, q: Tensor, lengths: Tensor, products: Tensor, start: int) -> Tensor:
        """Squared distances (m, images) to the nearest patches of some images.

        Args:
            q: (m, d).
            lengths: ‖φ(q)‖², (m,).
            products: ‖φ(q) - φ(r)‖² - ‖φ(q)‖² of the patches r of the images, (m, images * patches); used up.
            start: the first of the images.
        """
        size = self.rows.shape[1]
        below = products.view(-1, size)  # a row for every patch and image
        count = len(below) // len(q)
        images = slice(start, start + count)
        longest = self.contracted[images, :, -1].amax(dim=1).repeat(len(q))
        lengths = lengths.repeat_interleave(count)
        first = below.min(dim=1, keepdim=True).indices  # three times as fast as argmin
        smallest = self._squares(q, images, None, first[:, 0])
        below.scatter_(1, first, torch.inf)  # has been looked at
        slack = ROUNDING * 2 * q.shape[1] ** 0.5 * torch.maximum(lengths, longest)
        limit = smallest - lengths + slack
        some = (below.amin(dim=1) <= limit).nonzero()[:, 0]
        a, b = (below.index_select(0, some) <= limit[some, None]).nonzero(as_tuple=True)
        if len(a) > DENSE * below.numel():
            rows = self.rows[images].flatten(0, 1)
            apart = torch.cdist(q, rows, compute_mode="donot_use_mm_for_euclid_dist")
            return apart.view(-1, size).amin(dim=1).view(-1, count) ** 2
        pairs = self._squares(q, images, some[a], b)
        return smallest.scatter_reduce_(0, some[a], pairs, "amin").view(-1, count)

    def _squares(self, q: Tensor, images: slice, which: Tensor | None, patch: Tensor) -> Tensor:
        """‖q - r‖² of many pairs.

        Args:
            q: (m, d).
            images: of which r is a patch.
            which: of every patch with every image in turn, the number of the pair's; None for all, in order.
            patch: number of r in its image.
        """
        rows, size = self.rows[images].flatten(0, 1), self.rows.shape[1]
        count, squares = len(rows) // size, q.new_empty(len(patch))
        if count > 1:
            which = torch.arange(len(patch), device=q.device) if which is None else which
            which, patch = which // count, which % count * size + patch
        for start in range(0, len(patch), self.blocks.pairs):
            part = slice(start, start + self.blocks.pairs)
            near = q[part] if which is None else q.index_select(0, which[part])
            difference = rows.index_select(0, patch[part]).sub_(near)
            torch.linalg.vector_norm(difference, dim=1, out=squares[part])
        return squares.square_()


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
