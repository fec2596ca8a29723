"""From cosines to scores and maps (Li et al., CVPR 2024, section 3.5)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Values = NDArray[np.float64]


def abnormality(
    features: NDArray[np.floating[Any]], anchors: NDArray[np.floating[Any]], scale: float
) -> Values:
    """Softmax of the cosines to the abnormal prototype against the normal one, (…,).

    Args:
        features: unit vectors (…, d).
        anchors: (2, d), see `contexts.Texts.anchors`.
        scale: by which cosines are multiplied.
    """
    normal, abnormal = np.moveaxis(features.astype(np.float64) @ anchors.T.astype(np.float64), -1, 0)
    return expit(scale * (abnormal - normal))


def harmonic(text: NDArray[np.floating[Any]], seen: NDArray[np.floating[Any]]) -> Values:
    """1 / (1 / text + 1 / seen); 0 where one of them is.

    Args:
        text: probabilities.
        seen: distances, at least 0, as many.
    """
    with np.errstate(divide="ignore"):
        return 1 / (1 / np.asarray(text, np.float64) + 1 / np.asarray(seen, np.float64))
