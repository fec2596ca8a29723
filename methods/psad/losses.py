"""The four losses of the part segmenter (Eq. 1 and 2), on class probabilities p and one-hot labels Y.

All tensors are (b, N_C, h, w), except histograms, which are (b, N_C). Where no class of Y is one, the label
says that the pixel is to be ignored, and it counts nowhere.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

HistLoss = Literal["paper_mean_x10", "repo_sum_x1"]
SMOOTH_DICE, SMOOTH_LOG = 1e-4, 1e-5


def dice(p: Tensor, y: Tensor) -> Tensor:
    """L_Dice: one minus the soft Dice coefficient, the background included, mean over b and N_C."""
    p = p * y.sum(dim=1, keepdim=True)
    overlap = (p * y).sum(dim=(2, 3))
    total = p.sum(dim=(2, 3)) + y.sum(dim=(2, 3))
    return 1 - (2 * overlap / (total + SMOOTH_DICE)).mean()


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """L_CE: mean over the pixels. (Sums over one-hot labels: torch's own has no fixed order on a GPU.)"""
    counted = y.sum() / (y.numel() // y.shape[1])  # part of the pixels; exactly 1 where none is ignored
    return -(y * torch.log_softmax(logits, dim=1)).sum(dim=1).mean() / counted.clamp(min=SMOOTH_DICE)


def entropy(p: Tensor) -> Tensor:
    """L_H: -p log p, mean over b, pixels and classes, as in the released code."""
    return -(p * torch.log(p + SMOOTH_LOG)).mean()


def histogram(p: Tensor) -> Tensor:
    """Part of the image that each class takes, (b, N_C)."""
    return p.mean(dim=(2, 3))


def histogram_matching(p: Tensor, target: Tensor, counted: Sequence[int] = ()) -> Tensor:
    """L_hist: distance of the histograms of unlabelled images to those of labels (Eq. 2).

    Args:
        p: predictions of unlabelled images.
        target: (b, N_C) histogram of the label that each is compared with.
        counted: classes of which the released code takes the sum over b; none for Eq. 2, the mean over b
            and all N_C.
    """
    distance = (target - histogram(p)).abs()
    return distance[:, list(counted)].sum() if counted else distance.mean()
