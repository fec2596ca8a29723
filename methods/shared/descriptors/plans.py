"""The patch networks of Bergmann et al., CVPR 2020, layer by layer, without torch."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Field = Literal[17, 33, 65]
OUTPUT = 128  # channels of a description
POOL = 0  # in place of a kernel


class Layer(NamedTuple):
    """A convolution of a kernel and channels, or POOL: the maximum of 2 × 2, halving the grid."""

    kernel: int
    channels: int = 0


LAYERS: dict[int, tuple[Layer, ...]] = {
    17: (Layer(6, 128), Layer(5, 256), Layer(5, 256), Layer(4, OUTPUT)),
    33: (Layer(5, 128), Layer(POOL), Layer(5, 256), Layer(POOL), Layer(2, 256), Layer(4, OUTPUT)),
    65: (
        Layer(5, 128),
        Layer(POOL),
        Layer(5, 128),
        Layer(POOL),
        Layer(5, 256),
        Layer(POOL),
        Layer(4, 256),
        Layer(1, OUTPUT),
    ),
}


def reduction(plan: Sequence[Layer]) -> int:
    """Pixels by which the dense network makes an image smaller; of fields 33 and 65 some are never seen."""
    total, apart = 0, 1
    for layer in plan:
        total += apart * ((layer.kernel or 2) - 1)
        apart *= 1 if layer.kernel else 2
    return total


def kernels(field: int) -> list[int]:
    """Of the convolutions of a network."""
    return [layer.kernel for layer in LAYERS[field] if layer.kernel]
