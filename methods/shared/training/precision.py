"""What a device may do to float32: the precisions of a training, and which one `auto` is.

On a card PyTorch's own default for convolutions is TF32, and so it is in every published implementation of
the methods here. A CPU, and a card older than Ampere, has none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Precision = Literal["auto", "float32", "tf32", "bfloat16"]
Used = Literal["float32", "tf32", "bfloat16"]
TF32_FROM = (8, 0)  # compute capability of Ampere


def used(wanted: Precision, device: str) -> Used:
    """What a precision comes to on a device.

    Args:
        wanted: tf32 is float32 on a device that has none; auto is tf32 where there is one.
        device: torch device name.
    """
    if wanted == "bfloat16" or wanted == "float32":
        return wanted
    return "tf32" if _has_tf32(device) else "float32"


def _has_tf32(device: str) -> bool:
    if not device.startswith("cuda"):
        return False
    import torch

    return torch.cuda.get_device_capability(device) >= TF32_FROM


@contextmanager
def arithmetic(precision: Used, timed: bool = False) -> Iterator[None]:
    """What a card may do to float32 convolutions: TF32 only where it is asked for.

    Args:
        precision: of the convolutions; bfloat16 wants autocast besides.
        timed: let cuDNN time its algorithms and take the fastest, which may be another one the next time: for
            steps of a training. What is stored or compared must not depend on who else is on the card.
    """
    import torch

    low = precision != "float32"
    with torch.backends.cudnn.flags(enabled=True, benchmark=timed, deterministic=not timed, allow_tf32=low):
        yield
