"""Patch description networks: small networks that imitate patch features of a large one.

Batzner et al., EfficientAD, WACV 2024, Tables 5 and 6. A position of the output sees 33 × 33 pixels
and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from harness.errors import WeightsError
from methods.shared.weight_files import unwrapped

SMALL = (128, 256, 256)  # channels of PDN-S between input and output
MEDIUM = (256, 512, 512, 512)  # the same of PDN-M, but for the last layer, which has as many as the output
OUTPUT = 384
PLACES = {"S": ("0", "3", "6", "8"), "M": ("0", "3", "6", "8", "10", "12")}  # of convolutions, as published


class Shape(NamedTuple):
    """A patch description network without its values.

    Attributes:
        size: PDN-S or PDN-M.
        widths: channels of the inner convolutions (3 or 4 of them).
        output: number of maps.
    """

    size: Literal["S", "M"]
    widths: tuple[int, ...]
    output: int


def pdn(shape: Shape, padding: bool = False) -> nn.Sequential:
    """A network of this shape: `pdn_small` or `pdn_medium`."""
    build = pdn_small if shape.size == "S" else pdn_medium
    return build(shape.output, shape.widths, padding)


def pdn_small(output: int = OUTPUT, widths: Sequence[int] = SMALL, padding: bool = False) -> nn.Sequential:
    """PDN-S: a picture of 256 × 256 becomes `output` maps of 56 × 56, or 64 × 64 with padding.

    Args:
        output: number of maps.
        widths: channels of the three inner convolutions.
        padding: for distillation, so that the maps cover the whole picture.
    """
    a, b, c = widths
    pad = int(padding)
    return nn.Sequential(
        *_stem(a, b, pad),
        nn.Conv2d(b, c, 3, padding=pad),
        nn.ReLU(),
        nn.Conv2d(c, output, 4),
    )


def pdn_medium(output: int = OUTPUT, widths: Sequence[int] = MEDIUM, padding: bool = False) -> nn.Sequential:
    """PDN-M: the same sizes and the same field of view as PDN-S, three times the parameters.

    Args:
        output: number of maps.
        widths: channels of the first four convolutions.
        padding: see `pdn_small`.
    """
    a, b, c, d = widths
    pad = int(padding)
    return nn.Sequential(
        *_stem(a, b, pad),
        nn.Conv2d(b, c, 1),
        nn.ReLU(),
        nn.Conv2d(c, d, 3, padding=pad),
        nn.ReLU(),
        nn.Conv2d(d, output, 4),
        nn.ReLU(),
        nn.Conv2d(output, output, 1),
    )


def _stem(a: int, b: int, pad: int) -> list[nn.Module]:
    """The layers that bring the picture to a quarter of its size."""
    return [
        nn.Conv2d(3, a, 4, padding=3 * pad),
        nn.ReLU(),
        nn.AvgPool2d(2, 2, padding=pad),
        nn.Conv2d(a, b, 4, padding=3 * pad),
        nn.ReLU(),
        nn.AvgPool2d(2, 2, padding=pad),
    ]


def shape_of(state: Mapping[str, Tensor]) -> Shape:
    """The shape that weights belong to.

    Args:
        state: keys as in EfficientAD's published teachers ("0.weight", places in a sequence), or as in
            anomalib's ("conv1.weight", numbered convolutions).

    Raises:
        WeightsError: they are no weights of a PDN-S or PDN-M.
    """
    channels = [len(bias) for key, bias in _placed(state).items() if key.endswith(".bias")]
    if len(channels) == len(PLACES["S"]):
        return Shape("S", tuple(channels[:3]), channels[3])
    return Shape("M", tuple(channels[:4]), channels[5])


def pdn_from(state: Mapping[str, Tensor], padding: bool = False) -> nn.Sequential:
    """A PDN-S or PDN-M with these weights in float32, its shape theirs, its mode evaluation.

    Raises:
        WeightsError: see `shape_of`; or their sizes do not fit together.
    """
    network = pdn(shape_of(state), padding)
    try:
        network.load_state_dict(_placed(state))
    except RuntimeError as error:  # torch's word for shapes that do not fit
        raise WeightsError(f"no weights of a PDN: {error}") from error
    return network.eval()


def _placed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under their places in the sequence, in order."""
    for places in PLACES.values():
        for names in (places, [f"conv{i + 1}" for i in range(len(places))]):
            keys = {f"{name}.{what}" for name in names for what in ("weight", "bias")}
            found = unwrapped(state, keys)
            if found.keys() == keys:
                pairs = zip(places, names, strict=True)
                return {f"{p}.{w}": found[f"{n}.{w}"] for p, n in pairs for w in ("weight", "bias")}
    wanted = " or ".join(", ".join(places) for places in PLACES.values())
    raise WeightsError(
        f"no weights of a PDN-S or PDN-M: keys {sorted(state)}; expected .weight and .bias of {wanted}, "
        "or of conv1, conv2, …"
    )
