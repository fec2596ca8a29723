"""Distilling patch features of a large network into a patch description network (`pdn`).

The target is that of PatchCore: outputs of some layers, averaged over 3 × 3 positions, brought to one
grid, concatenated, averaged down to as many channels as the student has, and then shifted and scaled
per channel. The student sees the picture at half the size at which the large network sees it
(Batzner et al., EfficientAD, WACV 2024, appendix A.5).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.shared.backbones.frozen import Backbone
from methods.shared.layers import as_maps, outputs
from methods.shared.training.precision import arithmetic
from methods.shared.training.steps import Means, Plan, steps

Precision = Literal["float32", "bfloat16"]
Size = tuple[int, int]
WEIGHT_DECAY = 1e-5
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of its colours


class Pair(NamedTuple):
    """What a student is to learn in one step.

    Attributes:
        pictures: at the student's size, float32 (n, 3, s, s) in [0, 1].
        wanted: the target's maps of them, (n, channels, h, w), h × w being what the student gives.
    """

    pictures: Tensor
    wanted: Tensor


class Moments(NamedTuple):
    """Mean and deviation of every channel, each (1, channels, 1, 1)."""

    shift: Tensor
    scale: Tensor

    @staticmethod
    def of(batches: Iterable[Tensor]) -> "Moments":
        """Those of maps (n, channels, h, w) in equally large batches."""
        both = [(maps.mean(dim=(0, 2, 3)), (maps**2).mean(dim=(0, 2, 3))) for maps in batches]
        mean, square = (torch.stack(m).mean(dim=0) for m in zip(*both, strict=True))
        scale = (square - mean**2).clamp(min=1e-12).sqrt()
        return Moments(mean.view(1, -1, 1, 1), scale.view(1, -1, 1, 1))

    def normalised(self, maps: Tensor) -> Tensor:
        """Maps with mean 0 and deviation 1."""
        return (maps - self.shift) / self.scale


def join(maps: Sequence[Tensor], channels: int, layer_channels: int | None = None) -> Tensor:
    """PatchCore's features, not normalised: (n, channels, h, w) on the finest grid among `maps`.

    Args:
        maps: outputs of layers, each (n, own channels, own h, own w).
        channels: of the result; neighbouring channels are averaged.
        layer_channels: average every layer to so many channels before, so that all layers weigh the same
            (PatchCore: 1024); None to concatenate them as they are.
    """
    means = [F.avg_pool2d(m.float(), 3, stride=1, padding=1) for m in maps]
    if layer_channels is not None:
        means = [_averaged(m, layer_channels) for m in means]
    size = max((_size(m) for m in means), key=lambda s: s[0] * s[1])
    return _averaged(torch.cat([on_grid(m, size) for m in means], dim=1), channels)


def on_grid(maps: Tensor, size: Size) -> Tensor:
    """Maps brought to a grid, by bilinear interpolation."""
    return maps if _size(maps) == size else F.interpolate(maps, size, mode="bilinear")


def _size(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def _averaged(maps: Tensor, channels: int) -> Tensor:
    flat = maps.permute(0, 2, 3, 1).flatten(1, 2)
    return F.adaptive_avg_pool1d(flat, channels).transpose(1, 2).unflatten(2, _size(maps))


class PatchTarget:
    """The features that a student is to imitate, (n, channels, h, w), of pictures (n, 3, h, w) in [0, 1].

    Args:
        backbone: the large network and its layers.
        channels: number of maps; at most as many as the layers have together.
    """

    def __init__(self, backbone: Backbone, channels: int) -> None:
        self.backbone, self.channels = backbone, channels
        self.moments = Moments(torch.zeros(1), torch.ones(1))

    def __call__(self, pictures: Tensor) -> Tensor:
        """The normalised features of a batch."""
        return self.moments.normalised(self._raw(pictures))

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Shift and scale every channel to mean 0 and deviation 1 over these batches."""
        self.moments = Moments.of(self._raw(batch) for batch in batches)

    def pair(self, pictures: Tensor) -> Pair:
        """What a student that takes pictures at half this size is to learn."""
        return Pair(F.avg_pool2d(pictures, 2), self(pictures))

    def _raw(self, pictures: Tensor) -> Tensor:
        network = self.backbone
        with torch.no_grad(), torch.autocast(network.device.partition(":")[0], torch.bfloat16):
            found = outputs(network.model, network.layers, (pictures - network.mean) / network.std)
        return join([as_maps(network.model, name, found[name]) for name in network.layers], self.channels)


def distil(
    student: nn.Module,
    pairs: Callable[[int], Pair],
    plan: Plan,
    state: Path | None,
    say: Callable[[str], None],
    precision: Precision = "bfloat16",
) -> Means:
    """Train a student until it gives the target features; it is left in evaluation mode.

    Args:
        student: a PDN with padding, so that its maps have the size of the target's.
        pairs: what a step learns from; the same for the same step.
        plan: number of steps, learning rates.
        state: file from which a stopped run goes on, or None.
        say: takes lines of progress.
        precision: of the student's arithmetic; its weights are float32 in any case.

    Returns:
        the losses, also those of a run that was stopped before.

    Raises:
        HarnessError: the loss is not finite.
    """
    optimiser = torch.optim.Adam(student.parameters(), lr=plan.peak, weight_decay=WEIGHT_DECAY)
    means = Means(say)
    student.train()
    for step in steps(plan, {"student": student, "means": means}, optimiser, state):
        pair = pairs(step)
        with arithmetic(precision):  # after the pair: the large network has an arithmetic of its own
            loss = difference(student, pair, precision)
            optimiser.zero_grad()
            loss.backward()
        optimiser.step()
        means.add(step, plan, {"squared difference": loss})
    student.eval()
    return means


def difference(student: nn.Module, pair: Pair, precision: Precision = "bfloat16") -> Tensor:
    """Mean squared difference of the student's maps and the target's; 1 is no better than the mean."""
    with torch.autocast(pair.pictures.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        given = student(imagenet(pair.pictures))
    return F.mse_loss(given.float(), pair.wanted)


def imagenet(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1] as networks trained on ImageNet, and all PDNs, take them."""
    shift, scale = (pictures.new_tensor(v).view(1, 3, 1, 1) for v in IMAGENET)
    return (pictures - shift) / scale
