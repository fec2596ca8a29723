"""(b) Images per second of the encoders that contestants read, by batch and precision, and with decoding."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.gpu.row import Row, Scale, peak_gib, row, seconds

BATCHES = (1, 8, 32, 64)
AIMS = {"ViT-L/14@448": "≥ 500 images/s from decoded pixels (H200)"}


def encoders(scale: Scale) -> Iterator[Row]:
    """Random weights of the real shapes: the speed is that of the trained ones."""
    for name, make, side in _models(scale):
        model = make().eval().requires_grad_(False).to(scale.device)
        yield from _measured(name, model, side, scale)
        del model
    yield from _decoding(scale)


def _models(scale: Scale) -> list[tuple[str, Callable[[], Any], int]]:
    import open_clip
    import timm

    if scale.tiny:
        return [("ViT-S/32@64", lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2), 64)]
    return [
        ("ViT-L/14@448", lambda: open_clip.create_model("ViT-L-14", force_image_size=448).visual, 448),
        ("WRN50-2@256", lambda: timm.create_model("wide_resnet50_2", features_only=True), 256),
        ("ViT-B/14@518", lambda: timm.create_model("vit_base_patch14_dinov2", img_size=518), 518),
    ]


def _measured(name: str, model: nn.Module, side: int, scale: Scale) -> Iterator[Row]:
    exact = _output(model, _pixels(1, side, scale), "float32", scale)
    for precision in ("float32", "tf32", "bfloat16", "float16") if scale.on_gpu else ("float32", "bfloat16"):
        apart = (_output(model, _pixels(1, side, scale), precision, scale) - exact).abs().max()
        yield row(f"{name}, {precision}: relative difference", float(apart / exact.abs().max()), "")
        for size in BATCHES if not scale.tiny else (1, 2):
            batch = _pixels(size, side, scale)
            _output(model, batch, precision, scale)  # algorithms are chosen
            took = seconds(lambda b=batch, p=precision: _output(model, b, p, scale), scale, scale.of(10, 1))
            yield row(f"{name}, {precision}, batch {size}", size / took, "images/s", AIMS.get(name, ""))
    yield row(f"{name}: memory", peak_gib(scale), "GiB")


def _pixels(number: int, side: int, scale: Scale) -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(number, 3, side, side, generator=generator).to(scale.device)


def _output(model: nn.Module, batch: Any, precision: str, scale: Scale) -> Any:
    low = getattr(torch, precision, torch.float32)
    kind, fast = scale.device.partition(":")[0], precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = fast
    with (
        torch.inference_mode(),
        torch.autocast(kind, dtype=low, enabled=low is not torch.float32),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=fast),
    ):
        found = model(batch)
    return (found[-1] if isinstance(found, list | tuple) else found).float()


def _decoding(scale: Scale) -> Iterator[Row]:
    """What one core decodes and resizes of LOCO's size: so many cores keep the card busy."""
    rng, size = np.random.default_rng(0), (scale.of(1600, 160), scale.of(1280, 128))
    packed = io.BytesIO()
    small = rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size).save(packed, "PNG", compress_level=3)

    def decode() -> None:
        Image.open(io.BytesIO(packed.getvalue())).convert("RGB").resize((448, 448))

    yield row("decoding and resizing, one core", 1 / seconds(decode, scale, scale.of(10, 2)), "images/s")
