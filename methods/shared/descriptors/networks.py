"""Networks that describe what lies around a pixel within a field of 17, 33 or 65 pixels, and nothing else.

Bergmann, Fauser, Sattlegger, Steger: Uninformed Students, CVPR 2020, appendix; what pools between strided
convolutions becomes dilated for all pixels of an image at once, which gives the same values.
"""

from functools import cache
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.shared.descriptors.plans import LAYERS, OUTPUT, POOL, reduction

SLOPE = 5e-3  # of LeakyReLU
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of its colours


@final
class Descriptor(nn.Module):
    """A patch network, applied to whole images or to single patches.

    Args:
        field: side in pixels of what it sees.
        width: factor of the inner channels.
    """

    def __init__(self, field: int, width: float = 1.0) -> None:
        super().__init__()
        self.field, self.width, self.plan = field, width, LAYERS[field]
        kernels = [layer for layer in self.plan if layer.kernel]
        inner = [max(1, round(layer.channels * width)) for layer in kernels[:-1]]
        sides = zip([3, *inner], [*inner, OUTPUT], kernels, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, layer.kernel) for a, b, layer in sides)

    def forward(self, images: Tensor) -> Tensor:
        """Every pixel's description: (n, 3, h, w) -> (n, 128, h, w). Borders see themselves repeated."""
        before = self.field // 2
        after = reduction(self.plan) - before
        x = F.pad(images, (before, after, before, after), mode="replicate")
        return self._through(x, dense=True)

    def patches(self, patches: Tensor) -> Tensor:
        """One description of each: (n, 3, field, field) -> (n, 128)."""
        return self._through(patches, dense=False)[:, :, 0, 0]

    def _through(self, x: Tensor, dense: bool) -> Tensor:
        convolutions: list[Any] = list(self.convolutions)
        apart = 1  # distance of neighbours on the grid of the strided network
        for layer in self.plan:
            if layer.kernel == POOL:
                x = F.max_pool2d(x, 2, stride=1, dilation=apart) if dense else F.max_pool2d(x, 2)
                apart *= 2
                continue
            own = convolutions.pop(0)
            x = F.conv2d(x, own.weight, own.bias, dilation=apart if dense else 1)
            x = F.leaky_relu(x, SLOPE) if convolutions else x
        return x


def normalised(pixels: Tensor) -> Tensor:
    """uint8 (n, h, w, 3) -> float32 (n, 3, h, w) with ImageNet's mean and deviation."""
    mean, std = _colours(pixels.device)
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


@cache
def _colours(device: torch.device) -> tuple[Tensor, Tensor]:
    """Made once: a step that is captured as a graph may take nothing from the host."""
    with torch.inference_mode(False):
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in IMAGENET)
    return mean, std
