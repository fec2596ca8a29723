"""Contact sheet of the demo data: every category good, with each defect, with its parts."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

from harness.datasets.demo.catalog import Category, Scene
from harness.datasets.demo.files import PALETTE
from harness.datasets.demo.manifest import read_manifest
from harness.datasets.demo.scenes.drawing import CATEGORIES, scene

_COLUMNS, _BAR, _GOOD = 6, 14, 3
_OUTLINE = {"logical": (255, 0, 255), "structural": (0, 255, 255)}
Tile = tuple[str, NDArray[np.uint8]]


def preview(root: Path | str, path_png: Path | str) -> Path:
    """Draw a contact sheet of a demo data set: three good images, their parts, and one image per defect type.

    Regions are outlined (logical magenta, structural cyan). The images are drawn anew with the data set's
    seed under the split name `preview`, so that every defect type is there however small the data set is.

    Args:
        root: folder written by `generate`.
        path_png: where the sheet goes; its folder is created.

    Returns:
        The path of the sheet.

    Raises:
        DataError: `root` has no readable `demo.json`.
    """
    settings = read_manifest(Path(root))["settings"]
    size, seed = min(int(settings["size"]), 256), int(settings["seed"])
    sheets = [_category_sheet(CATEGORIES[name], seed, size) for name in settings["categories"]]
    sheet = np.zeros((sum(s.shape[0] for s in sheets), max(s.shape[1] for s in sheets), 3), np.uint8)
    top = 0
    for one in sheets:
        sheet[top : top + one.shape[0], : one.shape[1]] = one
        top += one.shape[0]
    path = Path(path_png)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)
    return path


def _category_sheet(category: Category, seed: int, size: int) -> NDArray[np.uint8]:
    tiles: list[Tile] = []
    for index in range(_GOOD):
        good = scene(category.name, seed, "preview", index, size)
        tiles += [(f"{category.name}: good", good.image), ("parts", colour_parts(good.parts))]
    for index, defect in enumerate(category.defects):
        drawn = scene(category.name, seed, "preview", _GOOD + index, size, defect.name)
        tiles.append((defect.name, outline(drawn, category)))
    return _arrange([_label(*tile) for tile in tiles])


def outline(drawn: Scene, category: Category) -> NDArray[np.uint8]:
    """The image with a line around every anomalous region."""
    kinds, image = {d.name: d.kind for d in category.defects}, drawn.image.copy()
    for name, mask in drawn.regions:
        around = _frame(mask) if mask.all() else np.asarray(binary_dilation(mask), bool) & ~mask
        image[around] = _OUTLINE[kinds[name]]
    return image


def _frame(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    frame = np.ones_like(mask)
    frame[2:-2, 2:-2] = False
    return frame


def colour_parts(parts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A part mask (h, w) in colours (h, w, 3)."""
    return np.array(PALETTE, np.uint8)[parts]


def _label(text: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bar = Image.new("RGB", (image.shape[1], _BAR), (20, 20, 20))
    ImageDraw.Draw(bar).text((3, 1), text, fill=(235, 235, 235))
    return np.concatenate([np.asarray(bar), image])


def _arrange(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    h, w = tiles[0].shape[:2]
    rows = -(-len(tiles) // _COLUMNS)
    sheet = np.zeros((rows * h, _COLUMNS * w, 3), np.uint8)
    for i, tile in enumerate(tiles):
        r, c = divmod(i, _COLUMNS)
        sheet[r * h : (r + 1) * h, c * w : (c + 1) * w] = tile
    return sheet
