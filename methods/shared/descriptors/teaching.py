"""What a frozen teacher says of images: taken once, and standardised for those who learn from it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.shared.descriptors.networks import Descriptor, normalised
from methods.shared.pixels import RGB
from methods.shared.training.held import Held
from methods.shared.training.precision import arithmetic


class Moments(NamedTuple):
    """Mean and standard deviation of the teacher's channels over training images, (1, 128, 1, 1) each."""

    mean: Tensor
    deviation: Tensor

    def standardised(self, described: Tensor) -> Tensor:
        """Descriptions (n, 128, h, w) whose channels have mean 0 and deviation 1."""
        return (described - self.mean) / self.deviation


def taught(teacher: Descriptor, pixels: Sequence[RGB], device: str) -> tuple[Held, Moments]:
    """Images with their standardised descriptions, for batches of "x" and "wanted", and the moments.

    Args:
        teacher: frozen, on the device.
        pixels: uint8 (h, w, 3) each.
        device: of the batches.
    """
    with torch.inference_mode(), arithmetic("float32"):
        described = [teacher(placed(each, device))[0].cpu().numpy() for each in pixels]
    found = moments(described, device)
    mean, deviation = (m[0].cpu().numpy() for m in found)
    for each in described:  # in place: of 350 images at 256 pixels they are 12 GB
        each -= mean
        each /= deviation
    rows = [{"x": p, "wanted": d} for p, d in zip(pixels, described, strict=True)]
    return Held(rows, device), found


def moments(described: Sequence[NDArray[np.float32]], device: str) -> Moments:
    """Over all pixels of all images, in float64; a channel that is constant is left as it is."""
    mean = np.mean([each.mean(axis=(1, 2), dtype=np.float64) for each in described], axis=0)
    centred = ((each - mean[:, None, None]) ** 2 for each in described)  # float64: one image at a time
    spread = np.sqrt(np.mean([each.mean(axis=(1, 2)) for each in centred], axis=0))
    deviation = np.where(spread > 0, spread, 1.0)
    tensors = (torch.from_numpy(v.astype(np.float32)).view(1, -1, 1, 1).to(device) for v in (mean, deviation))
    return Moments(*tensors)


def placed(image: RGB, device: str) -> Tensor:
    """One image as networks take it, (1, 3, h, w)."""
    return normalised(torch.from_numpy(np.array(image))[None].to(device))


def error(given: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance of descriptions, (n, 128, h, w) each -> (n, h, w)."""
    return (given - wanted).square().sum(dim=1)
