"""Distilling patch features of a large network into a patch description network (`methods.pdn`).

The target is that of PatchCore: outputs of some layers, averaged over 3 × 3 positions, brought to one
grid, concatenated, averaged down to as many channels as the student has, and then shifted and scaled
per channel. The student sees the picture at half the size at which the large network sees it
(Batzner et al., EfficientAD, WACV 2024, appendix A.5).
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.backbones import Backbone
from methods.layers import as_maps, outputs
from methods.training import Means, Plan, steps

Target = Callable[[Tensor], Tensor]
WEIGHT_DECAY = 1e-5


class PatchTarget:
    """The features that a student is to imitate, (n, channels, h, w), of pictures (n, 3, h, w) in [0, 1].

    Args:
        backbone: the large network and its layers.
        channels: number of maps; at most as many as the layers have together.
    """

    def __init__(self, backbone: Backbone, channels: int) -> None:
        self.backbone, self.channels = backbone, channels
        self.shift, self.scale = torch.zeros(1), torch.ones(1)

    def __call__(self, pictures: Tensor) -> Tensor:
        """The normalised features of a batch."""
        return (self._raw(pictures) - self.shift) / self.scale

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Shift and scale every channel to mean 0 and deviation 1 over these batches."""
        moments = [_moments(self._raw(batch)) for batch in batches]
        mean, square = (torch.stack(m).mean(dim=0) for m in zip(*moments, strict=True))
        self.shift = mean.view(1, -1, 1, 1)
        self.scale = (square - mean**2).clamp(min=1e-12).sqrt().view(1, -1, 1, 1)

    def _raw(self, pictures: Tensor) -> Tensor:
        network = self.backbone
        with torch.no_grad(), torch.autocast(network.device.partition(":")[0], torch.bfloat16):
            found = outputs(network.model, network.layers, (pictures - network.mean) / network.std)
        maps = [as_maps(network.model, layer, found[layer]).float() for layer in network.layers]
        maps = [F.avg_pool2d(m, 3, stride=1, padding=1) for m in maps]
        size = max((tuple(m.shape[-2:]) for m in maps), key=lambda s: s[0] * s[1])
        maps = [F.interpolate(m, size, mode="bilinear") if m.shape[-2:] != size else m for m in maps]
        flat = torch.cat(maps, dim=1).permute(0, 2, 3, 1).flatten(1, 2)
        return F.adaptive_avg_pool1d(flat, self.channels).transpose(1, 2).unflatten(2, size)


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    return maps.mean(dim=(0, 2, 3)), (maps**2).mean(dim=(0, 2, 3))


def distil(
    student: nn.Module,
    target: Target,
    pictures: Callable[[int], Tensor],
    plan: Plan,
    state: Path | None,
    say: Callable[[str], None],
) -> nn.Module:
    """Train a student until it gives the target features.

    Args:
        student: a PDN with padding, so that its maps have the size of the target's.
        target: for pictures at twice the student's size.
        pictures: batch of a step, float32 (n, 3, 2 s, 2 s) in [0, 1]; the same one for the same step.
        plan: number of steps, learning rates.
        state: file from which a stopped run goes on, or None.
        say: takes lines of progress.

    Returns:
        the student, in evaluation mode.
    """
    optimiser = torch.optim.Adam(student.parameters(), lr=plan.peak, weight_decay=WEIGHT_DECAY)
    means = Means(say)
    for step in steps(plan, {"student": student}, optimiser, state):
        loss = difference(student, target, pictures(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        means.add(step, plan, {"squared difference": loss})
    return student.eval()


def difference(student: nn.Module, target: Target, pictures: Tensor) -> Tensor:
    """Mean squared difference of the student's maps and the target's; 1 is no better than the mean."""
    wanted = target(pictures)
    kind = pictures.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=kind == "cpu"):
        given = student(imagenet(F.avg_pool2d(pictures, 2)))
    return F.mse_loss(given.float(), wanted)


def imagenet(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1] as networks trained on ImageNet, and all PDNs, take them."""
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    shift, scale = (pictures.new_tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    return (pictures - shift) / scale
