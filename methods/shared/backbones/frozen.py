"""Frozen networks as feature extractors: any timm or torchvision model, any of its modules."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.errors import ConfigError
from methods.shared.backbones.names import multiple
from methods.shared.checkpoints import fill, in_order, read
from methods.shared.layers import as_maps, check_layers, outputs, patch_of
from methods.shared.pixels import RGB
from methods.shared.weights import TORCHVISION, Weights, timm_config, torchvision_weights

Precision = Literal["float32", "bfloat16", "float16"]
Maps = dict[str, NDArray[np.floating[Any]]]
Triple = Sequence[float]
Name = TypeVar("Name")
GPU_BATCH = 32


@final
@dataclass(frozen=True)
class Backbone:
    """A frozen network in evaluation mode on one device; made by `load`.

    Attributes:
        model: the plain model.
        layers: names of the modules whose outputs are the features.
        mean, std: per-channel normalisation of [0, 1] images, each (1, 3, 1, 1) on the device.
        device: torch device name.
        precision: of the arithmetic; all but float32 use autocast and give float16 features.
    """

    model: nn.Module
    layers: tuple[str, ...]
    mean: Tensor
    std: Tensor
    device: str
    precision: Precision

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a CUDA device."""
        return self.device.startswith("cuda")

    def __call__(self, images: Sequence[RGB]) -> list[Maps]:
        """Features of equally large images: for each one, layer -> (channels, height, width).

        A CPU takes the images one by one, which is no slower there and makes the features of an
        image bit-identical in whatever company it comes. A card takes 32 at once; there the last bits
        depend on how many came together.
        """
        size = GPU_BATCH if self.on_gpu else 1
        chunks = (images[i : i + size] for i in range(0, len(images), size))
        return [maps for chunk in chunks for maps in self._batch(chunk)]

    def tensors(self, images: Sequence[RGB]) -> dict[str, Tensor]:
        """Features of equally large images where they were computed, all in one batch: layer -> (n, ...)."""
        batch = self._normalised(images)
        size = batch.shape[-2], batch.shape[-1]
        with torch.inference_mode(), arithmetic(self.device, self.precision):
            found = outputs(self.model, self.layers, batch)
            return {name: self._kept(name, found[name], size) for name in self.layers}

    def _batch(self, images: Sequence[RGB]) -> Iterator[Maps]:
        arrays = on_host(self.tensors(images))
        return ({name: maps[i] for name, maps in arrays.items()} for i in range(len(images)))

    def _normalised(self, images: Sequence[RGB]) -> Tensor:
        height, width = whole_patches(self.model, images[0].shape[:2])
        pixels = torch.from_numpy(np.stack([image[:height, :width] for image in images]))
        pixels = pixels.to(self.device).permute(0, 3, 1, 2)
        batch = (pixels.float() / 255 - self.mean) / self.std
        order = torch.channels_last if self.on_gpu else torch.contiguous_format
        return batch.contiguous(memory_format=order)

    def _kept(self, layer: str, output: Tensor, size: tuple[int, int]) -> Tensor:
        maps = as_maps(self.model, layer, output, size).float()
        return maps if self.precision == "float32" else half(maps)


def whole_patches(model: nn.Module, size: Sequence[int]) -> tuple[int, int]:
    """How much of (height, width) a network sees: of the longer side whole patches, the rest is cut off.

    The remainder lies at the right or at the bottom, as AnomalyDINO cuts it.

    Raises:
        ConfigError: the shorter side is no multiple of a vision transformer's patches.
    """
    patch, (height, width) = patch_of(model) or 1, size
    if min(height, width) % patch or min(height, width) < patch:
        raise ConfigError(f"image_size: {min(height, width)} {multiple(patch, min(height, width))}")
    return height // patch * patch, width // patch * patch


@lru_cache(maxsize=2)
def load(
    weights: Weights, layers: tuple[str, ...], device: str, precision: Precision = "float32"
) -> Backbone:
    """A frozen backbone with its weights; the last two are kept, so that a warm worker loads once.

    Args:
        weights: see `methods.shared.weights.find`.
        layers: module names, see `methods.shared.layers`.
        device: torch device name.
        precision: of the arithmetic.

    Raises:
        ConfigError: unknown layer.
        WeightsError: the file is unreadable or does not fit, see `methods.shared.checkpoints.fill`.
    """
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn from the global generator
        model, mean, std = _built(weights)
    check_layers(model, weights.backbone, layers)
    if not weights.own:
        what = f"{weights.path} does not fit the backbone {weights.backbone!r}"
        state = read(weights.path)
        fill(model, in_order(state, model, what) if weights.in_order else state, layers, what)
    model.eval().requires_grad_(False).to(device)
    if device.startswith("cuda"):
        nn.Module.to(model, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    triples = [_per_channel(v, device) for v in (weights.mean or mean, weights.std or std)]
    return Backbone(model, layers, triples[0], triples[1], device, precision)


def untrained(weights: Weights) -> nn.Module:
    """The architecture that a weights file is of, with initial weights of torch's generator: a student."""
    return _built(replace(weights, own=False))[0]


def _per_channel(values: Triple, device: str) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32, device=device).view(1, 3, 1, 1)


def _built(weights: Weights) -> tuple[nn.Module, Triple, Triple]:
    """The model, filled only if the weights are the library's own; the library's mean and std."""
    return _torchvision(weights) if weights.backbone.startswith(TORCHVISION) else _timm(weights)


def _timm(weights: Weights) -> tuple[nn.Module, Triple, Triple]:
    import timm

    config = timm_config(weights.backbone)
    options: dict[str, Any] = dict(weights.options)
    if weights.own:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights.path)}}
    try:
        flexible: dict[str, Any] = {"dynamic_img_size": True} if config.get("fixed_input_size") else {}
        model = timm.create_model(weights.backbone, **options, **flexible)
    except TypeError:  # an architecture of fixed size that lacks the option
        model = timm.create_model(weights.backbone, **options)
    return model, config["mean"], config["std"]


def _torchvision(weights: Weights) -> tuple[nn.Module, Triple, Triple]:
    from torchvision.models import get_model

    name = weights.backbone.removeprefix(TORCHVISION).partition(".")[0]
    entry = torchvision_weights(weights.backbone)
    model = get_model(name, weights=None)
    if weights.own:
        model.load_state_dict(read(weights.path))
    preset = entry.transforms()
    return model, preset.mean, preset.std


def half(values: Tensor) -> Tensor:
    """float16 within its range: what is beyond ±65504 becomes that, and not infinite."""
    limit = torch.finfo(torch.float16).max
    return values.clamp(-limit, limit).half()


def on_host(tensors: Mapping[Name, Tensor]) -> dict[Name, NDArray[Any]]:
    """Contiguous, in main memory; from a card copied at once, into pages that it writes by itself."""
    if not any(tensor.is_cuda for tensor in tensors.values()):
        return {name: tensor.contiguous().numpy() for name, tensor in tensors.items()}
    copies = {name: torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for name, t in tensors.items()}
    for name, tensor in tensors.items():
        copies[name].copy_(tensor.contiguous(), non_blocking=True)
    torch.cuda.current_stream(next(iter(tensors.values())).device).synchronize()
    return {name: copy.numpy() for name, copy in copies.items()}


@contextmanager
def arithmetic(device: str, precision: Precision) -> Iterator[None]:
    """Deterministic kernels, no silent TF32, autocast where a lower precision was asked for."""
    kind = device.partition(":")[0]
    flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with flags, torch.autocast(kind, getattr(torch, precision), enabled=precision != "float32"):
        yield
