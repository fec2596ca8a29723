"""Value–value attention beside every block: patches that can be compared with texts.

Li et al., A Closer Look at the Explainability of Contrastive Language-Image Pre-training (CLIP Surgery),
2023. The second path starts with the tokens before the first block and adds what values find among values;
it has no MLP, and what it adds is read from the tokens of the model's own path.
"""

from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor
from torch.nn import functional as F

from methods.shared.openclip.naclip import heads, joined


def value_attention(block: ResidualAttentionBlock, tokens: Tensor) -> Tensor:
    """What one block adds to the second path: softmax(v vᵀ / √d_head) v, through its output projection.

    Args:
        block: of open_clip.
        tokens: its input (n, 1 + patches, width).

    Returns:
        As large as `tokens`.
    """
    _, _, v = heads(block, tokens)
    return block.ls_1(joined(block, F.scaled_dot_product_attention(v, v, v)))
