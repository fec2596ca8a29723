"""Which patches show the object: the first principal component of the image's own features."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

Masking = Literal["off", "pca", "paper"]
BORDER, CENTRE = 0.2, 0.35  # the centre leaves out a fifth at every side; so much of it has to be kept
SQUARE = np.ones((3, 3), bool)

# Where the authors mask, after looking at the training images of each object: of MVTec AD these, of VisA all.
PAPER = frozenset(
    ["capsule", "hazelnut", "pill", "screw", "toothbrush"]
    + ["candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2"]
    + [f"pcb{i}" for i in range(1, 5)]
    + ["pipe_fryum"]
)


def masked(masking: Masking, category: str) -> bool:
    """Whether patches of a category are masked."""
    return masking == "pca" or (masking == "paper" and category.partition("/")[0] in PAPER)


def foreground(vectors: NDArray[np.float32], grid: tuple[int, int], threshold: float) -> NDArray[np.bool_]:
    """The patches whose first principal component is above a threshold, enlarged a little and closed.

    The sign of a component means nothing: it is turned round where too little of the centre would be kept.

    Args:
        vectors: features (rows * columns, d), as the network gives them.
        grid: (rows, columns).
        threshold: of the component, in units of the features.

    Returns:
        bool (rows * columns,).
    """
    component = first_component(vectors).reshape(grid)
    kept = component > threshold
    (top, left), (bottom, right) = ([int(n * part) for n in grid] for part in (BORDER, 1 - BORDER))
    centre = kept[top:bottom, left:right]
    if centre.sum() <= centre.size * CENTRE:
        kept = -component > threshold
    larger = binary_dilation(kept, SQUARE)  # of the grid: the code dilates the flat row of patches
    # outside of the picture neither enlarges nor eats away anything
    closed = binary_erosion(binary_dilation(larger, SQUARE), SQUARE, border_value=1)
    return np.asarray(closed, bool).ravel()


def first_component(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Coordinates along the direction of largest variance, whose largest entry is positive, (n,)."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    direction = directions[:, -1]
    return centred @ (direction * np.sign(direction[np.abs(direction).argmax()]))
