"""Texts that tell a flawless object from a damaged one: WinCLIP's compositional prompt ensemble.

The words are those published with WinCLIP (Jeong et al., CVPR 2023, appendix): states of an object,
each in every template. `clip` uses the same ones.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from harness.artifacts import ArtifactStore
from methods.shared.openclip.spec import ClipSpec
from methods.shared.openclip.text import text_embeddings

NORMAL = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ABNORMAL = ("damaged {}", "{} with flaw", "{} with defect", "{} with damage")
PICTURES = (
    "a cropped photo of {}.",
    "a close-up photo of {}.",
    "a bright photo of {}.",
    "a dark photo of {}.",
    "a jpeg corrupted photo of {}.",
    "a blurry photo of {}.",
    "a photo of {}.",
    "a photo of {} for visual inspection.",
    "a photo of {} for anomaly detection.",
)
OBJECTS = ("a {}", "the {}", "a small {}", "the small {}", "a large {}", "the large {}")
CLASS_NAMES = {
    "juice_bottle/banana": "banana juice bottle",
    "juice_bottle/cherry": "cherry juice bottle",
    "juice_bottle/orange": "orange juice bottle",
    "splicing_connectors/blue": "splicing connectors with blue cable",
    "splicing_connectors/red": "splicing connectors with red cable",
    "splicing_connectors/yellow": "splicing connectors with yellow cable",
}


def class_name(category: str) -> str:
    """What prompts call the objects of a category: its name with spaces, unless `CLASS_NAMES` has it."""
    return CLASS_NAMES.get(category, category.replace("/", " ").replace("_", " "))


def templates() -> tuple[str, ...]:
    """The 22 templates: every picture of "a" or "the", and plain photos of small and large ones."""
    plain = [picture.format(thing) for picture in PICTURES for thing in OBJECTS[:2]]
    return (*plain, *(f"a photo of {thing}." for thing in OBJECTS[2:]))


def normal_and_abnormal(name: str, spec: ClipSpec, store: ArtifactStore, device: str) -> NDArray[np.float32]:
    """Embeddings of "flawless" and of "damaged": float32 (2, d), unit vectors.

    Raises:
        ConfigError, WeightsError: see `methods.shared.openclip.features.readings`.
    """
    classes = [[state.format(name) for state in states] for states in (NORMAL, ABNORMAL)]
    return text_embeddings(classes, templates(), spec, store, device)


def abnormality(
    embeddings: NDArray[np.float32], texts: NDArray[np.float32], temperature: float
) -> NDArray[np.float64]:
    """softmax(cosine / temperature) of "damaged" against "flawless" (WinCLIP, Eq. 1).

    Args:
        embeddings: unit vectors (…, d).
        texts: see `normal_and_abnormal`.
        temperature: τ.

    Returns:
        Probabilities (…,).
    """
    normal, abnormal = np.moveaxis(embeddings.astype(np.float64) @ texts.T.astype(np.float64), -1, 0)
    return expit((abnormal - normal) / temperature)
