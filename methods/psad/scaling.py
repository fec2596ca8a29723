"""Adaptive scaling: what makes the scores of PSAD's banks comparable (Kim et al., AAAI 2024)."""

from dataclasses import dataclass
from typing import Literal, Self, final

import numpy as np
from numpy.typing import NDArray

from methods.psad.banks import EPSILON

Floats = NDArray[np.float64]
Scale = Literal["max", "std", "none"]
Reference = Literal["loo_nn", "repo_random_pair"]


@final
@dataclass(frozen=True)
class AdaptiveScaling:
    """ŝ = (s - shift) / scale of the scores of one bank."""

    shift: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, loo: NDArray[np.floating], as_scale: Scale = "max") -> Self:
        """From the scores of the training images against the others.

        Args:
            loo: S_train, (n,), each at least 0. Without any (a single training image) scores stay as
                they are.
            as_scale: "max" divides by the largest (paper). "std" standardises (a switch of the released
                code; from three images on: two have the same score, and no spread). "none" leaves scores
                as they are.
        """
        if as_scale == "max" and len(loo):
            return cls(0.0, max(float(loo.max()), EPSILON))
        if as_scale == "std" and len(loo) > 2:
            return cls(float(loo.mean()), float(loo.std(ddof=1)) + EPSILON)
        return cls()

    def __call__(self, scores: Floats) -> Floats:
        """Scaled scores; their order within the bank stays as it is."""
        return (scores - self.shift) / self.scale


def reference_scores(distances: Floats, as_reference: Reference = "loo_nn") -> Floats:
    """S_train of a bank with one vector per image.

    Args:
        distances: between all training images, (n, n).
        as_reference: "loo_nn" is the distance to the nearest other image (paper). "repo_random_pair" is
            what the released code computes instead, `distances[k][argsort == 1]`: the distance to image
            number r, where r is the rank of image 1 as seen from image k.

    Returns:
        (n,); empty for a single image.
    """
    n = len(distances)
    if n < 2:
        return np.empty(0)
    if as_reference == "loo_nn":
        return np.where(np.eye(n, dtype=bool), np.inf, distances).min(axis=1)
    orders = np.argsort(distances, axis=1, kind="stable")
    return distances[orders == 1]
