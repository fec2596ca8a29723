"""What a step minimises: L2 + SSIM of the reconstruction, focal loss of the mask (DRÆM, Eq. 1 to 5)."""

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

TERMS: Final = ("l2", "ssim", "focal")
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # of SSIM, for values in [0, 1]
GAMMA = 2.0
SMOOTHING = 1e-5  # of the labels, and added to the probability: its logarithm stays finite


def terms(clean: Tensor, mask: Tensor, reconstruction: Tensor, logits: Tensor) -> Tensor:
    """The three losses, (3,), in the order of `TERMS`; the authors add them as they are.

    Args:
        clean: what was spoiled, (n, 3, h, w) in [0, 1].
        mask: where, (n, 1, h, w), 0 or 1.
        reconstruction: (n, 3, h, w).
        logits: (n, 2, h, w).
    """
    l2 = F.mse_loss(reconstruction, clean)
    return torch.stack([l2, 1 - ssim(reconstruction, clean), focal(logits, mask)])


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity over pixels and channels, with windows that go on with zeros outside."""
    n = a.shape[1]
    blurred = _blurred(torch.cat([a, b, a * a, b * b, a * b], dim=1))
    mu_a, mu_b, square_a, square_b, product = blurred.split(n, dim=1)
    both = mu_a * mu_b
    squares = mu_a.square() + mu_b.square()
    covariance, variances = product - both, square_a + square_b - squares
    return ((2 * both + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2))).mean()


def _blurred(x: Tensor) -> Tensor:
    """The Gaussian window of every place as two products of matrices.

    Not as convolutions: a card would round their factors (TF32), and variances are differences of nearly
    equal numbers.
    """
    rows, columns = (_band(side, x.device).to(x.dtype) for side in x.shape[-2:])
    return rows @ x @ columns


@lru_cache(maxsize=8)
def _band(side: int, device: torch.device) -> Tensor:
    """(side, side): row i holds the window around i, as far as it lies inside."""
    kernel = torch.exp(-((torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    kernel = kernel / kernel.sum()
    apart = torch.arange(side)[:, None] - torch.arange(side) + WINDOW // 2
    inside = (apart >= 0) & (apart < WINDOW)
    return (kernel[apart.clamp(0, WINDOW - 1)] * inside).to(device)


def focal(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean of -(1 - p)^γ log p, p the probability of the true class, labels smoothed."""
    spoiled = logits.softmax(dim=1)[:, 1:]
    true = torch.where(mask > 0, spoiled, 1 - spoiled)
    p = true * (1 - SMOOTHING) + (1 - true) * SMOOTHING + SMOOTHING
    return -((1 - p) ** GAMMA * p.log()).mean()
