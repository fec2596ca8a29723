"""Reading an open_clip vision transformer as dense methods do: tokens, and NACLIP's last block.

The read-outs are those of inference, so that what is trained is what methods see.
"""

from collections.abc import Sequence
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor
from torch.nn import functional as F

SIGMA = 5.0  # of NACLIP's Gaussian neighbourhood, in patches


def neighbourhood(side: int, sigma: float = SIGMA) -> Tensor:
    """NACLIP's omega (side² + 1, side² + 1): a Gaussian of the distance, zero for the class token."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    at = torch.stack([y, x], dim=-1).flatten(0, 1).float()
    omega = torch.zeros(side * side + 1, side * side + 1)
    omega[1:, 1:] = torch.exp(-(torch.cdist(at, at) ** 2) / (2 * sigma**2))
    return omega


def embedded(visual: VisionTransformer, batch: Tensor, positions: Tensor) -> Tensor:
    """Tokens before the first block, (n, 1 + patches, width).

    Args:
        visual: the transformer.
        batch: normalised pictures (n, 3, side, side).
        positions: position embedding of the patches, (n or 1, patches, width).
    """
    patches = visual.conv1(batch).flatten(2).transpose(1, 2)
    first = visual.class_embedding + visual.positional_embedding[0]
    tokens = torch.cat([first.expand(len(batch), 1, -1), patches + positions], dim=1)
    return visual.ln_pre(tokens)


def read(visual: VisionTransformer, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of the picture (n, d), of its patches by the plain last block and by NACLIP's (n, p, d)."""
    layers: Any = visual.transformer.resblocks
    *blocks, last = layers
    for each in blocks:
        tokens = block(each, tokens)
    plain = visual.ln_post(block(last, tokens)) @ visual.proj
    dense = visual.ln_post(naclip(last, tokens)) @ visual.proj
    return plain[:, 0], plain[:, 1:], dense[:, 1:]


def block(module: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """What the block itself does, with an attention whose gradient is cheaper on a CPU."""
    q, k, v = _heads(module, tokens)
    tokens = tokens + _mixed(module, q, k, v, None)
    return tokens + module.mlp(module.ln_2(tokens))


def naclip(module: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """Key–key attention with a Gaussian neighbourhood, without residual and MLP.

    Source: Hajimiri et al., Pay Attention to Your Neighbours (NACLIP), WACV 2025, the "reduced"
    architecture. The result has the shape of `tokens`.
    """
    _, k, v = _heads(module, tokens)
    return _mixed(module, k, k, v, neighbourhood(round((tokens.shape[1] - 1) ** 0.5)))


def _heads(module: ResidualAttentionBlock, tokens: Tensor) -> Sequence[Tensor]:
    """q, k, v of every head, each (n, heads, patches, width of a head)."""
    attention = module.attn
    qkv = F.linear(module.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    return [x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for x in qkv.chunk(3, dim=-1)]


def _mixed(module: ResidualAttentionBlock, q: Tensor, k: Tensor, v: Tensor, omega: Tensor | None) -> Tensor:
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if omega is not None:
        logits = logits + omega.to(logits.dtype)
    mixed = logits.softmax(dim=-1).to(v.dtype) @ v
    return module.attn.out_proj(mixed.transpose(1, 2).flatten(2))
