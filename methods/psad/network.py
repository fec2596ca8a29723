"""The networks of the part segmenter: encoder, coordinates, pixel classifier; and the second stage."""

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.shared.backbones.frozen import Backbone
from methods.shared.layers import as_maps, outputs

PROBE_SIZE = 64


@final
class Segmenter(nn.Module):
    """f_θ and g_ϕ: blocks of an encoder at the size of the first, coordinates, two 1 × 1 convolutions.

    Args:
        encoder: f_θ, trained as well; modules that the layers do not need are dropped from it.
        layers: of the encoder; the first gives the size of the feature map.
        n_classes: N_C.
    """

    def __init__(self, encoder: nn.Module, layers: Sequence[str], n_classes: int):
        super().__init__()
        self.encoder, channels = trimmed(encoder, layers)
        self.layers = tuple(layers)
        width = sum(channels) + 2  # 1794 for WideResNet-101
        self.classifier = nn.Sequential(
            nn.Conv2d(width, width // 2, 1), nn.ReLU(), nn.Conv2d(width // 2, n_classes, 1)
        )

    def forward(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """Logits (b, N_C, h, w) of normalised images (b, 3, h, w) and coordinates (b, 2, h, w)."""
        maps = blocks(self.encoder, self.layers, images)
        size = maps[0].shape[-2:]
        features = torch.cat([resized(m, size) for m in (*maps, coordinates)], dim=1)
        return resized(self.classifier(features), images.shape[-2:])


@final
class PseudoLabelNetwork(nn.Module):
    """The released code's second segmenter: a decoder over the same three blocks.

    Args:
        encoder: trained from what it holds.
        layers: three, from the finest to the coarsest.
        n_classes: N_C.
    """

    COORDINATES = 30.0  # what the code multiplies the coordinates by

    def __init__(self, encoder: nn.Module, layers: Sequence[str], n_classes: int):
        super().__init__()
        self.encoder, (c1, c2, c3) = trimmed(encoder, layers)
        self.layers = tuple(layers)
        self.up2 = nn.Sequential(nn.Conv2d(c3 + 2, c2, 3, padding=1), nn.BatchNorm2d(c2), nn.ReLU())
        self.up1 = nn.Sequential(nn.Conv2d(2 * c2, c1, 3, padding=1), nn.BatchNorm2d(c1), nn.ReLU())
        self.out = nn.Conv2d(2 * c1, n_classes, 1)

    def forward(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """As `Segmenter.forward`."""
        fine, middle, coarse = blocks(self.encoder, self.layers, images)
        place = self.COORDINATES * resized(coordinates, coarse.shape[-2:])
        x = self.up2(resized(torch.cat([coarse, place], dim=1), middle.shape[-2:]))
        x = self.up1(resized(torch.cat([x, middle], dim=1), fine.shape[-2:]))
        return self.out(resized(torch.cat([x, fine], dim=1), images.shape[-2:]))


def blocks(encoder: nn.Module, layers: Sequence[str], images: Tensor) -> list[Tensor]:
    """Outputs of the encoder's layers as maps, in the order of `layers`."""
    found = outputs(encoder, layers, images)
    return [as_maps(encoder, layer, found[layer]) for layer in layers]


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corner on corner, as the released code does."""
    if x.shape[-2:] == torch.Size(size):
        return x
    if x.is_cuda:
        return resized_by_products(x, size)
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=True)


def resized_by_products(x: Tensor, size: Sequence[int]) -> Tensor:
    """The same up to rounding, and deterministic on a card too.

    torch's own gradient adds up in any order there; where that is forbidden, torch takes four gathers of all
    of the result, which cost gigabytes.
    """
    rows, columns = (_interpolation(n, m, x.device) for n, m in zip(x.shape[-2:], size, strict=True))
    return rows @ (x @ columns.T)


@lru_cache(maxsize=32)
def _interpolation(pixels: int, wanted: int, device: torch.device) -> Tensor:
    """The matrix (wanted, pixels) of linear interpolation with aligned corners."""
    with torch.inference_mode(False):  # what a prediction keeps here, a training will use
        at = torch.linspace(0, pixels - 1, wanted, dtype=torch.float64)
        weights = 1 - (at[:, None] - torch.arange(pixels)).abs()
        return weights.clamp(min=0).to(device, torch.float32)


def trimmed(encoder: nn.Module, layers: Sequence[str]) -> tuple[nn.Module, list[int]]:
    """A trainable copy without the children that `layers` do not need, and the layers' channels."""
    encoder = copy.deepcopy(encoder).requires_grad_(True).eval()
    run: set[str] = set()
    hooks = [m.register_forward_pre_hook(lambda *_, n=n: run.add(n)) for n, m in encoder.named_children()]
    with torch.inference_mode():
        device = next(encoder.parameters()).device
        maps = blocks(encoder, layers, torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE, device=device))
    for hook in hooks:
        hook.remove()
    for name, _ in list(encoder.named_children()):
        if name not in run:
            setattr(encoder, name, nn.Identity())
    return encoder, [m.shape[1] for m in maps]


def built(backbone: Backbone, layers: Sequence[str], n_classes: int, seed: int) -> Segmenter:
    """A new segmenter on the backbone's device; the classifier's weights are drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Segmenter(backbone.model, layers, n_classes).to(backbone.device)


def built_second(backbone: Backbone, layers: Sequence[str], n_classes: int, seed: int) -> PseudoLabelNetwork:
    """A new second segmenter with random weights throughout, as the released run script has it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PseudoLabelNetwork(backbone.model, layers, n_classes)
        for module in network.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        return network.to(backbone.device)
