"""Files that appear whole or not at all, and the palette of part masks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.whole import whole

PALETTE = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178),
    (213, 94, 0), (204, 121, 167), (150, 150, 150), (120, 60, 160), (140, 200, 60), (255, 255, 255),
)  # fmt: skip


def indexed(parts: NDArray[np.uint8]) -> Image.Image:
    """A palette image whose pixel values are the class indices (h, w)."""
    image = Image.frombytes("P", parts.shape[::-1], parts.tobytes())
    image.putpalette([channel for colour in PALETTE for channel in colour])
    return image


def write_png(root: Path, path: str, image: Image.Image) -> None:
    """Write an image to `path` inside `root`."""
    write(root, path, lambda partial: image.save(partial, format="PNG", compress_level=2))


def write_json(root: Path, path: str, content: object) -> None:
    """Write JSON to `path` inside `root`."""
    text = json.dumps(content, indent=1) + "\n"
    write(root, path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write(root: Path, path: str, save: Callable[[Path], object]) -> None:
    """Write beside, then rename: no reader ever sees half a file."""
    with whole(root / path, durable=False) as partial:  # drawn again where it is lost
        save(partial)
