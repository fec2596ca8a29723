"""Reading an open_clip vision transformer as dense methods do: tokens, and NACLIP's last block.

The read-outs are those of inference, so that what is trained is what methods see.
"""

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

from methods.shared.openclip.model import blocks
from methods.shared.openclip.naclip import heads, joined, naclip

SIGMA = 5.0  # of NACLIP's Gaussian neighbourhood, in patches


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
    *others, last = blocks(visual)
    for each in others:
        tokens = block(each, tokens)
    plain = visual.ln_post(block(last, tokens)) @ visual.proj
    dense = visual.ln_post(naclip(last, tokens, SIGMA, attend=attention)) @ visual.proj
    return plain[:, 0], plain[:, 1:], dense[:, 1:]


def block(module: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """What the block itself does, with an attention whose gradient is cheaper on a CPU."""
    q, k, v = heads(module, tokens)
    tokens = tokens + joined(module, attention(q, k, v))
    return tokens + module.mlp(module.ln_2(tokens))


def attention(q: Tensor, k: Tensor, v: Tensor, omega: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √d + ω) v, written out: PyTorch's own is slower backwards on a CPU."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if omega is not None:
        logits = logits + omega
    return logits.softmax(dim=-1).to(v.dtype) @ v
