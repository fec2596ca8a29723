"""Pictures turned about their centre, for methods that add rotated copies of the normal images."""

import math
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from methods.shared.pixels import RGB

Border = Literal["mirror", "black"]


class Turn(NamedTuple):
    """By how much a picture is turned.

    Attributes:
        degrees: counter-clockwise.
        border: what comes in at the corners: the picture mirrored at its border, or black.
    """

    degrees: float
    border: Border = "mirror"


def turned(picture: RGB, turn: Turn) -> RGB:
    """The picture turned about its centre, uint8 (height, width, 3) as before, interpolated linearly."""
    if turn.degrees % 360 == 0:
        return picture
    height, width = picture.shape[:2]
    radius = math.ceil(math.hypot(height, width) / 2)
    # as much on both sides, so that the centre of what is turned is that of the picture
    rows, columns = max(0, radius - height // 2), max(0, radius - width // 2)
    margins = [(rows, rows), (columns, columns), (0, 0)]
    large = np.pad(picture, margins, mode="reflect" if turn.border == "mirror" else "constant")
    rotated = np.asarray(Image.fromarray(large).rotate(turn.degrees, Image.Resampling.BILINEAR))
    return rotated[rows : rows + height, columns : columns + width].copy()
