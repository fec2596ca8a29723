"""Which blocks of the network serve for what."""

from dataclasses import dataclass, replace
from typing import Literal, Self, final

from methods.shared.openclip.spec import ClipSpec

Layer = int | Literal["naclip"]


@final
@dataclass(frozen=True)
class Network:
    """The network, with every block that is read.

    Attributes:
        spec: the model; its stages are all blocks that are clustered or compared.
        clustered: 1-based numbers of the blocks whose tokens are clustered, side by side.
        compared: what patches are compared by: numbers of blocks, or NACLIP's reading of the last.
    """

    spec: ClipSpec
    clustered: tuple[int, ...]
    compared: tuple[Layer, ...]

    @classmethod
    def of(
        cls,
        model: ClipSpec,
        clustered: tuple[int, ...] | None,
        compared: tuple[int, ...] | None,
        stage4: Literal["vanilla", "naclip"],
    ) -> Self:
        """Resolve what a method's parameters leave open.

        Args:
            model: without stages.
            clustered: None for the ends of the first and second quarter of the depth.
            compared: None for the ends of all four.
            stage4: how the last block is read.
        """
        quarters = model.blocks
        first, every = tuple(clustered or quarters[:2]), tuple(compared or quarters)
        last = model.depth if stage4 == "naclip" else None
        layers: tuple[Layer, ...] = tuple("naclip" if block == last else block for block in every)
        stages, reads = tuple(sorted({*first, *every})), (*dict.fromkeys((*first, *layers, "dense")),)
        return cls(replace(model, stages=stages, reads=reads), first, layers)
