"""The terms of the loss of all members as one batch: for a card, where a launch costs more than the work.

`losses`, which takes them member by member, is what a CPU runs (a member has there the bits that it would
have alone), and the twin that the tests hold this against.
"""

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.efficientad.losses import Outputs
from methods.efficientad.recipe import Constraint, Recipe

ELEMENTS = (1, 2, 3)  # dimensions of maps (members, channels, h, w) over which a term is taken
PLACES = (1, 2)


def agree(constraints: Sequence[Constraint | None]) -> bool:
    """Whether constraints differ in numbers alone, so that one batch can take them all."""
    return len({(c.channel_sum, c.norm, c.locations) for c in constraints if c}) <= 1


@final
class Quantiles:
    """`losses.quantile` of every row of some values, each with an order of its own.

    Args:
        orders: q of every row.
        length: of a row.
        device: of the values.
    """

    def __init__(self, orders: Sequence[float], length: int, device: torch.device) -> None:
        ranks = [float(np.float32(q)) * (length - 1) for q in orders]  # as in `losses.quantile`
        below = [length - int(rank) - 1 for rank in ranks]  # places among the largest values
        above = [place - (rank > int(rank)) for place, rank in zip(below, ranks, strict=True)]
        self.number = max(below) + 1
        # made once: a CUDA graph takes nothing from the host
        self.places = torch.tensor([below, above], device=device).T
        self.parts = torch.tensor([rank - int(rank) for rank in ranks], device=device)

    def of(self, values: Tensor) -> Tensor:
        """The quantiles (n, 1, 1, 1) of maps (n, channels, h, w)."""
        top = values.flatten(1).topk(self.number, dim=1).values
        low, high = top.gather(1, self.places).unbind(1)
        return torch.lerp(low, high, self.parts)[:, None, None, None]


@final
class Losses:
    """The terms of n members.

    Args:
        recipe: of all of them.
        constraints: of every member; they have to `agree`.
        elements: of the maps of one member.
        device: of the maps.
    """

    def __init__(
        self, recipe: Recipe, constraints: Sequence[Constraint | None], elements: int, device: torch.device
    ) -> None:
        self.recipe, self.common = recipe, next((c for c in constraints if c), None)
        self.hardest = Quantiles([recipe.hard_quantile] * len(constraints), elements, device)
        used = [c.quantile if c else self.common.quantile for c in constraints] if self.common else []
        self.distinctive = Quantiles(used, elements, device) if used else None
        margins = [c.margin if c else 0.0 for c in constraints]  # at 0 there is neither loss nor gradient
        self.margins = torch.tensor(margins, device=device)[:, None, None]

    def terms(self, outputs: Outputs) -> Tensor:
        """The terms (n, 5) of `losses.terms`, of maps (n, channels, h, w)."""
        T, S_T, T_A, A, S_A, S_penalty = outputs
        target = A.detach() if self.recipe.stae_detach_ae else A
        penalty = T.new_zeros(len(T)) if S_penalty is None else self._reduced(S_penalty**2)
        return torch.stack(
            [
                self._hard((T - S_T) ** 2),
                penalty,
                self._reduced((T_A - A) ** 2),
                self._reduced((target - S_A) ** 2),
                self._dfsc(T_A, A),
            ],
            dim=1,
        )

    def _reduced(self, values: Tensor) -> Tensor:
        return values.mean(ELEMENTS) if self.recipe.loss_reduction == "mean" else values.sum(ELEMENTS)

    def _hard(self, d: Tensor) -> Tensor:
        keep = d.detach() >= self.hardest.of(d.detach())
        total = (d * keep).sum(ELEMENTS)
        return total if self.recipe.loss_reduction == "sum" else total / keep.sum(ELEMENTS)

    def _dfsc(self, T: Tensor, A: Tensor) -> Tensor:
        common, distinctive = self.common, self.distinctive
        if common is None or distinctive is None:
            return T.new_zeros(len(T))
        delta = (T - A.detach()) ** 2
        mask = delta >= distinctive.of(delta)  # Eq. 3
        if common.norm == "pre_mask":
            T, A = F.normalize(T, dim=1), F.normalize(A, dim=1)
        T, A = T * mask, A * mask  # Eq. 4
        if common.norm == "post_mask":
            T, A = F.normalize(T, dim=1), F.normalize(A, dim=1)
        D = torch.linalg.vector_norm(T - A, dim=1)  # Eq. 5
        hinge = F.relu(self.margins - D)
        occupied = mask.any(dim=1) if common.locations == "occupied" else torch.ones_like(D)
        loss = (hinge * occupied).sum(PLACES) / occupied.sum(PLACES)  # Eq. 6
        return loss * mask.shape[1] if common.channel_sum else loss
