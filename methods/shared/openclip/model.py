"""An open_clip vision transformer in two parts: all blocks but the last, and the last in three readings.

The last block is read as the model itself does (its tokens, the global embedding) and as NACLIP does.
Everything the readings need is the input of that block, so one pass through the others serves them all.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import ConfigError, WeightsError
from methods.shared.backbones.frozen import arithmetic, half, on_host
from methods.shared.openclip.naclip import naclip
from methods.shared.openclip.spec import ClipSpec, Precision
from methods.shared.openclip.surgery import value_attention
from methods.shared.pixels import RGB
from methods.shared.weights import Weights, open_clip_name

Array = NDArray[np.floating[Any]]
Reading = int | str  # an output: the number of a block, "3+", "input", "naclip", "dense", "vv" or "global"
GPU_BATCH = 32


@final
@dataclass(frozen=True)
class ClipModel:
    """A frozen model in evaluation mode on one device; made by `model_of`.

    Attributes:
        model: open_clip's model, with `visual` and `encode_text`.
        tokenizer: texts -> token ids.
        mean, std: per-channel normalisation of [0, 1] images, each (1, 3, 1, 1) on the device.
        device: torch device name.
        precision: of the arithmetic; all but float32 use autocast, keep the residual stream in
            float32 and give float16 arrays.
    """

    model: Any
    tokenizer: Callable[[list[str]], Tensor]
    mean: Tensor
    std: Tensor
    device: str
    precision: Precision

    @property
    def visual(self) -> VisionTransformer:
        """The image tower."""
        return self.model.visual

    @property
    def batch_size(self) -> int:
        """Images per step: a CPU takes one, so that company cannot change an image's last bits."""
        return GPU_BATCH if self.device.startswith("cuda") else 1

    def whole(
        self,
        images: Sequence[RGB],
        stages: Sequence[Reading],
        sigma: float,
        arch: str,
        wanted: Collection[Reading] | None = None,
    ) -> list[dict[Reading, Array]]:
        """All blocks.

        Args:
            images: uint8 (size, size, 3) each.
            stages: 1-based numbers of the blocks whose outputs are wanted; "3+" for block 3's with what the
                attention of block 4 adds to it; "vv" for the second path.
            sigma: of NACLIP's last block.
            arch: of NACLIP's last block.
            wanted: nothing else is copied off the device; None for everything.

        Returns:
            For each image stage -> (patches, width), "input" -> (1 + patches, width), the input of the last
            block, and what `tail` gives. "vv" -> (patches, d), where the path of value–value attention ends
            (`surgery`), behind ln_post and the projection, not normalised.
        """
        return [
            each for part in self._parts(images) for each in self._whole(part, stages, sigma, arch, wanted)
        ]

    def tail(self, inputs: Sequence[Array], sigma: float, arch: str) -> list[dict[Reading, Array]]:
        """The last block, from its stored input.

        Returns:
            For each image: its number -> (patches, width), the block's own output; "naclip" ->
            (patches, width), NACLIP's output; "dense" -> (patches, d), that behind ln_post and the
            projection, not normalised; "global" -> float32 (d,), the normalised `encode_image`.
        """
        return [found for part in self._parts(inputs) for found in self._tail(part, sigma, arch)]

    def texts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, d), in float32 arithmetic."""
        with torch.inference_mode():
            tokens = self.tokenizer(list(prompts)).to(self.device)
            return self.model.encode_text(tokens, normalize=True).float().cpu().numpy()

    def embedded(self, images: Sequence[RGB]) -> Tensor:
        """Tokens before the first block, float32 (n, 1 + patches, width), positions added."""
        visual = self.visual
        pixels = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode(), arithmetic(self.device, "float32"):
            patches = visual.conv1((pixels.float() / 255 - self.mean) / self.std).flatten(2).transpose(1, 2)
            first = visual.class_embedding.expand(len(images), 1, -1)
            return visual.ln_pre(torch.cat([first, patches], dim=1) + visual.positional_embedding)

    def pooled(self, tokens: Tensor) -> Tensor:
        """Global embeddings (n, d), normalised, of what the last block gives."""
        visual: Any = self.visual
        normed = tokens if visual.final_ln_after_pool else visual.ln_post(tokens)
        found = normed[:, 0] if visual.pool_type == "tok" else normed[:, 1:].mean(dim=1)
        found = visual.ln_post(found) if visual.final_ln_after_pool else found
        return F.normalize((found @ visual.proj).float(), dim=-1)

    def exported(self, values: Tensor) -> Tensor:
        """As stored: float32, or float16 within its range."""
        values = values.float()
        return values if self.precision == "float32" else half(values)

    def _parts(self, items: Sequence[Any]) -> Iterator[Sequence[Any]]:
        return (items[i : i + self.batch_size] for i in range(0, len(items), self.batch_size))

    def _whole(
        self,
        images: Sequence[RGB],
        stages: Sequence[Reading],
        sigma: float,
        arch: str,
        wanted: Collection[Reading] | None,
    ) -> Iterator[dict[Reading, Array]]:
        first = self._first(images, stages)
        last = first["input"].float()
        found = first | self._last(last, sigma, arch)
        if "vv" in first:
            found["vv"] = self._second(first["vv"], last)
        return self._arrays(found if wanted is None else {r: found[r] for r in wanted})

    def _first(self, images: Sequence[RGB], stages: Sequence[Reading]) -> dict[Reading, Tensor]:
        """All blocks but the last, on the device; of the second path what it has added up by then."""
        found: dict[Reading, Tensor] = {}
        tokens = self.embedded(images)
        second = tokens.clone() if "vv" in stages else None
        with torch.inference_mode(), arithmetic(self.device, self.precision):
            for number, block in enumerate(blocks(self.visual)[:-1], 1):
                second = second if second is None else second + value_attention(block, tokens)
                if (half := f"{number - 1}+") in stages:
                    amid = tokens + block.ls_1(block.attention(block.ln_1(tokens)))
                    found[half] = self.exported(amid[:, 1:])
                tokens = block(tokens)
                if number in stages:
                    found[number] = self.exported(tokens[:, 1:])
        return found | {"input": self.exported(tokens)} | ({} if second is None else {"vv": second})

    def _second(self, second: Tensor, last: Tensor) -> Tensor:
        """The second path from where the input of the last block is known."""
        visual = self.visual
        with torch.inference_mode(), arithmetic(self.device, self.precision):
            ends = second + value_attention(blocks(visual)[-1], last)
            return self.exported((visual.ln_post(ends) @ visual.proj)[:, 1:])

    def _tail(self, inputs: Sequence[Array], sigma: float, arch: str) -> Iterator[dict[Reading, Array]]:
        tokens = torch.from_numpy(np.stack(inputs)).to(self.device).float()
        return self._arrays(self._last(tokens, sigma, arch))

    def _last(self, tokens: Tensor, sigma: float, arch: str) -> dict[Reading, Tensor]:
        """The last block, on the device."""
        visual, layers = self.visual, blocks(self.visual)
        with torch.inference_mode(), arithmetic(self.device, self.precision):
            plain, near = layers[-1](tokens), naclip(layers[-1], tokens, sigma, arch)
            dense = visual.ln_post(near) @ visual.proj
            pooled = self.pooled(plain)
        found = {len(layers): plain, "naclip": near, "dense": dense}
        return {name: self.exported(v[:, 1:]) for name, v in found.items()} | {"global": pooled}

    def _arrays(self, found: Mapping[Reading, Tensor]) -> Iterator[dict[Reading, Array]]:
        arrays = on_host(found)
        number = len(next(iter(arrays.values())))
        return ({k: v[i] for k, v in arrays.items()} for i in range(number))


def blocks(visual: VisionTransformer) -> list[ResidualAttentionBlock]:
    """The transformer's blocks, in order."""
    layers: Any = visual.transformer.resblocks
    return list(layers)


def model_of(spec: ClipSpec, device: str) -> ClipModel:
    """The model that a specification names, loaded once per process.

    Raises:
        ConfigError: unknown model or tag, or no vision transformer of open_clip.
        WeightsError: the file is missing, unreadable or does not fit.
    """
    return load(spec.file, spec.size if spec.grid else 0, spec.pos_embed, device, spec.precision)


@lru_cache(maxsize=2)
def load(weights: Weights, size: int, pos_embed: str, device: str, precision: Precision) -> ClipModel:
    """A frozen model; the last two are kept, so that a warm worker loads once.

    Raises:
        ConfigError, WeightsError: see `model_of`.
    """
    name = open_clip_name(weights) if "demo weights" in weights.marks else weights.backbone.partition("::")[0]
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn from the global generator
        model = _created(weights, name)
    _check(model.visual, weights.backbone)
    _resize_positions(model.visual, size, pos_embed)
    model.eval().requires_grad_(False).to(device)
    triples = [torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (weights.mean, weights.std)]
    return ClipModel(model, open_clip.get_tokenizer(name), triples[0], triples[1], device, precision)


def _created(weights: Weights, name: str) -> Any:
    path = None if name.startswith("local-dir:") else str(weights.path)
    try:
        return open_clip.create_model(name, pretrained=path, force_quick_gelu=_quick_gelu(weights))
    except Exception as error:  # a dozen unrelated types, from reading to shapes
        what = f"{weights.path} does not fit {weights.backbone!r} of open_clip"
        raise WeightsError(f"{what}: {error}") from error


def _quick_gelu(weights: Weights) -> bool:
    """Whether the pretrained weights were trained with another activation than their architecture's."""
    model, _, tag = weights.backbone.partition("::")
    entry = open_clip.pretrained.get_pretrained_cfg(model, tag) if tag else {}
    return bool(entry.get("quick_gelu", False))


def _check(visual: Any, name: str) -> None:
    plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None
    if not plain or not all(isinstance(b, ResidualAttentionBlock) for b in blocks(visual)):
        raise ConfigError(f"model {name!r}: its image tower is not a plain vision transformer of open_clip")


def _resize_positions(visual: Any, size: int, pos_embed: str) -> None:
    """Bring the position embeddings to the grid of `size`, in float32 whatever the file holds.

    open_clip's way is antialiased bicubic; NACLIP's is plain bicubic with the scale (side + 0.1) / old,
    where the tenth guards against losing a row.
    """
    old, side = visual.grid_size[0], size // visual.patch_size[0]
    if side == old:
        return
    stored = visual.positional_embedding.detach().float()
    maps = stored[1:].T.reshape(1, -1, old, old)
    if pos_embed == "openclip":
        new = F.interpolate(maps, size=(side, side), mode="bicubic", antialias=True)
    else:
        factor = (side + 0.1) / old
        new = F.interpolate(maps, scale_factor=factor, mode="bicubic", recompute_scale_factor=False)
    visual.positional_embedding = nn.Parameter(torch.cat([stored[:1], new[0].flatten(1).T]))
    visual.image_size, visual.grid_size = (size, size), (side, side)
