"""Student and autoencoder, and how several of a kind become one network.

Batzner et al., EfficientAD, WACV 2024, Tables 5–7. Members of a joint network lie one after the other
along the channels of every tensor: all operations but convolutions treat channels alone anyway.
"""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.shared.training.pdn import Shape, pdn

ENCODER = (32, 32, 64, 64, 64)
WIDTH = 64  # of the code and of the decoder
STRIDE = 32  # of the encoder
Way = Literal["grouped", "each"]


class Student(nn.Module):
    """A patch description network with two outputs, S^T and S^A.

    The last convolution of the published student has twice the teacher's maps; it is kept as two, so
    that only the half that is needed is computed.

    Args:
        shape: of the teacher.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        network = pdn(shape._replace(output=2 * shape.output))
        last = network[-1]
        assert isinstance(last, nn.Conv2d)
        inputs, kernel = last.in_channels, last.kernel_size[0]
        self.trunk = network[:-1]
        self.to_teacher = nn.Conv2d(inputs, shape.output, kernel)
        self.to_autoencoder = nn.Conv2d(inputs, shape.output, kernel)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """S^T(x) and S^A(x)."""
        z = self.trunk(x)
        return self.to_teacher(z), self.to_autoencoder(z)


class Autoencoder(nn.Module):
    """The autoencoder A: an image, through a code of 64 numbers, to the teacher's maps.

    Args:
        output: number of maps.
        image_size: a multiple of 32; 256 in the paper. The code's convolution covers all that the
            encoder leaves, 8 × 8 at 256.
        in_relu: DFSC's instance normalisation before every activation and ReLU on the code.
        in_affine: whether that normalisation learns a scale and a shift.
    """

    def __init__(self, output: int, image_size: int, in_relu: bool, in_affine: bool) -> None:
        super().__init__()
        self.image_size, self.in_relu = image_size, in_relu
        self.layout: torch.memory_format | None = None  # of all that flows through it; None: as it comes
        widths = (3, *ENCODER)
        self.encoder = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.code = nn.Conv2d(ENCODER[-1], WIDTH, image_size // STRIDE)
        self.decoder = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 4, padding=2) for _ in sizes(image_size))
        self.last = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.output = nn.Conv2d(WIDTH, output, 3, padding=1)
        channels = (*ENCODER, *(WIDTH,) * (len(self.decoder) + 1))
        self.norms = nn.ModuleList(
            nn.InstanceNorm2d(n, affine=in_affine) if in_relu else nn.Identity() for n in channels
        )

    def forward(self, x: Tensor, keep: Sequence[Tensor] | None = None) -> Tensor:
        """The maps of a batch.

        Args:
            x: normalised images (b, 3, s, s).
            keep: what the decoder's activations are multiplied with (dropout), one tensor per size of
                `sizes`, or None for no dropout.
        """
        norms = iter(self.norms)
        x = x if self.layout is None else x.contiguous(memory_format=self.layout)
        for convolution in self.encoder:
            x = F.relu(next(norms)(convolution(x)))
        x = self.code(x)
        x = F.relu(x) if self.in_relu else x
        for i, (convolution, size) in enumerate(zip(self.decoder, sizes(self.image_size), strict=True)):
            x = F.relu(next(norms)(convolution(upsampled(x, size))))
            x = x if keep is None else x * keep[i]
        x = F.relu(next(norms)(self.last(upsampled(x, map_size(self.image_size)))))
        return self.output(x)


def sizes(image_size: int) -> list[int]:
    """Sides to which the decoder enlarges, one after the other: 3, 8, 15, 32, 63, 127 at 256."""
    s = image_size
    return [max(s // 64 - 1, 1), s // 32, s // 16 - 1, s // 8, s // 4 - 1, s // 2 - 1]


def map_size(image_size: int) -> int:
    """Side of the maps of a PDN without padding: 56 at 256."""
    return image_size // 4 - 8


def upsampled(x: Tensor, size: int) -> Tensor:
    """Bilinear interpolation to size × size."""
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


class JointConv2d(nn.Module):
    """The convolutions of several members as one.

    On a card the faster of two ways, see `ways`. On a CPU one after the other: there is nothing to fill with
    groups, and every member gets the bits that it would get alone.

    Args:
        members: convolutions of equal shapes.

    Attributes:
        way: as one convolution with groups, or each on its own.
    """

    def __init__(self, members: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.members = len(members)
        self.way: Way = "each"
        self.stride, self.padding = members[0].stride[0], int(members[0].padding[0])
        self.weight = nn.Parameter(torch.cat([m.weight.detach() for m in members]))
        self.bias = nn.Parameter(torch.cat([m.bias.detach() for m in members if m.bias is not None]))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (b, members * output, h, w) of (b, members * input, ...)."""
        return self.grouped(x) if self.way == "grouped" else self.each(x)

    def grouped(self, x: Tensor) -> Tensor:
        """As one grouped convolution."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.members)

    def each(self, x: Tensor) -> Tensor:
        """As one convolution per member."""
        n = self.members
        parts = zip(x.chunk(n, dim=1), self.weight.chunk(n), self.bias.chunk(n), strict=True)
        found = [F.conv2d(*part, self.stride, self.padding) for part in parts]
        return torch.cat(found, dim=1)


Network = TypeVar("Network", bound=nn.Module)


def joint(networks: Sequence[Network]) -> Network:
    """One network of several of a shape; the first itself if it is the only one."""
    first = networks[0]
    if len(networks) == 1:
        return first
    together = deepcopy(first)
    for name, module in first.named_modules():
        members: list[Any] = [network.get_submodule(name) for network in networks]
        if isinstance(module, nn.Conv2d):
            together.set_submodule(name, JointConv2d(members))
        elif isinstance(module, nn.InstanceNorm2d):
            together.set_submodule(name, _joint_norm(members))
    return together


def _joint_norm(members: Sequence[nn.InstanceNorm2d]) -> nn.InstanceNorm2d:
    """Instance normalisation treats every channel alone; only its affine part has values to join."""
    norm = nn.InstanceNorm2d(len(members) * members[0].num_features, affine=members[0].affine)
    if norm.affine:
        norm.load_state_dict({k: torch.cat([m.state_dict()[k] for m in members]) for k in norm.state_dict()})
    return norm


def placed(network: Network, device: torch.device) -> Network:
    """The network on a device, in the layout that it is fastest in."""
    moved = network.to(device)
    return (
        in_planes(moved)
        if isinstance(moved, Autoencoder) and by_planes(moved, device)
        else channels_last(moved)
    )


def by_planes(network: Autoencoder, device: torch.device) -> bool:
    """Whether an autoencoder is faster with a plane per channel.

    With instance normalisation on a card: it gives planes whatever it gets, and every convolution would turn
    them back. On a CPU the difference is no more than a tenth of it, in both directions.
    """
    return network.in_relu and device.type == "cuda"


def channels_last(network: Network) -> Network:
    """The network with the channels of a pixel side by side."""
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def in_planes(network: Autoencoder) -> Autoencoder:
    """The autoencoder with a plane per channel, whatever its input is."""
    network.layout = torch.contiguous_format
    return network.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
