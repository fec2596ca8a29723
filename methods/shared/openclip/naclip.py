"""NACLIP's last block, for those who read a model and for those who train one.

Hajimiri et al., Pay Attention to Your Neighbours: Training-Free Open-Vocabulary Semantic Segmentation,
WACV 2025: key–key attention with a Gaussian neighbourhood.
"""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor
from torch.nn import functional as F

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]  # q, k, v, what is added to q kᵀ


def naclip(
    block: ResidualAttentionBlock,
    tokens: Tensor,
    sigma: float,
    arch: str = "reduced",
    attend: Attend = F.scaled_dot_product_attention,
) -> Tensor:
    """softmax(k kᵀ / √d_head + ω) v (section 3.2).

    Args:
        block: of open_clip.
        tokens: its input (n, 1 + side², width), class token first.
        sigma: see `neighbourhood`.
        arch: "reduced" returns the attention's output; "vanilla" keeps the residual and the MLP.
        attend: how attention is computed; all ways give the same up to rounding.

    Returns:
        As large as `tokens`.
    """
    _, k, v = heads(block, tokens)
    side = round((tokens.shape[1] - 1) ** 0.5)
    omega = neighbourhood(side, sigma, str(tokens.device)).to(k.dtype)
    output = joined(block, attend(k, k, v, omega))
    if arch == "reduced":
        return output
    tokens = tokens + block.ls_1(output)
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))


def heads(block: ResidualAttentionBlock, tokens: Tensor) -> Sequence[Tensor]:
    """q, k, v of every head of a block, each (n, heads, patches, width of a head)."""
    attention = block.attn
    qkv = F.linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    return [x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for x in qkv.chunk(3, dim=-1)]


def joined(block: ResidualAttentionBlock, mixed: Tensor) -> Tensor:
    """What the heads found (n, heads, patches, width of a head), through the block's output projection."""
    return block.attn.out_proj(mixed.transpose(1, 2).flatten(2))


@cache
def neighbourhood(side: int, sigma: float, device: str) -> Tensor:
    """ω: exp(-‖i - j‖² / 2σ²) of the patches' places, zero for the class token, (1 + side²,) twice."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    dy, dx = (c.reshape(-1, 1) - c.reshape(1, -1) for c in (y, x))
    omega = torch.zeros(side * side + 1, side * side + 1)
    omega[1:, 1:] = torch.exp(-(dy**2 + dx**2) / (2 * sigma**2))
    return omega.to(device)
