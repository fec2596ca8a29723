"""What the contexts are trained on (Li et al., CVPR 2024, Eqs. 3 to 7)."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.promptad.contexts import Texts

TERMS = ("contrast", "margin", "match")


def terms(features: Tensor, texts: Texts, scale: float) -> Mapping[str, Tensor]:
    """The three terms, unweighted.

    Args:
        features: of normal images or of their patches, unit vectors (n, d).
        texts: of all prompts.
        scale: by which cosines are multiplied before the softmax.

    Returns:
        "contrast": cross-entropy of "nearest to the normal prototype" against every abnormal text (Eq. 4);
        "margin": how much nearer the abnormal prototype is than the normal one, at least 0 (Eq. 7, margin 0);
        "match": squared distance of the means of MAPs and LAPs, each normalised before (Eq. 5).
    """
    normal, abnormal = texts.anchors
    against = torch.cat([normal[None], F.normalize(texts.abnormal, dim=1)])
    target = torch.zeros(len(features), dtype=torch.long, device=features.device)
    nearer = (features - normal).square().sum(dim=1) - (features - abnormal).square().sum(dim=1)
    means = [F.normalize(each, dim=1).mean(dim=0) for each in (texts.manual, texts.learned)]
    return {
        "contrast": F.cross_entropy(scale * features @ against.T, target),
        "margin": nearer.relu().mean(),
        "match": (means[0] - means[1]).square().sum(),
    }
