"""Patch description networks: small networks that imitate patch features of a large one.

Batzner et al., EfficientAD, WACV 2024, Tables 5 and 6. A position of the output sees 33 × 33 pixels
and nothing else.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from harness.errors import WeightsError

SMALL = (128, 256, 256)  # channels of PDN-S between input and output
OUTPUT = 384
CONVOLUTIONS = ("0", "3", "6", "8")  # places in the sequence, as published weights name them


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
        nn.Conv2d(3, a, 4, padding=3 * pad),
        nn.ReLU(),
        nn.AvgPool2d(2, 2, padding=pad),
        nn.Conv2d(a, b, 4, padding=3 * pad),
        nn.ReLU(),
        nn.AvgPool2d(2, 2, padding=pad),
        nn.Conv2d(b, c, 3, padding=pad),
        nn.ReLU(),
        nn.Conv2d(c, output, 4),
    )


def pdn_small_from(state: Mapping[str, Tensor], padding: bool = False) -> nn.Sequential:
    """A PDN-S with these weights; its widths are those of the weights, its mode evaluation.

    Raises:
        WeightsError: they are no weights of a PDN-S.
    """
    expected = {f"{place}.{what}" for place in CONVOLUTIONS for what in ("weight", "bias")}
    if state.keys() != expected:
        raise WeightsError(f"no weights of a PDN-S: keys {sorted(state)}, expected {sorted(expected)}")
    *widths, output = (len(state[f"{place}.bias"]) for place in CONVOLUTIONS)
    network = pdn_small(output, widths, padding)
    network.load_state_dict(state)
    return network.eval()
