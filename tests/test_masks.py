"""Masks that cannot be meant as they are: what is said, and that the option which is named settles it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_trees import mvtec
from PIL import Image, ImageFilter

from harness.data.masks import regions
from harness.data.rule import PixelRule
from harness.datasets.folder import FOLDER, FolderOptions

SIZE = (12, 16)
SHAPE = np.zeros(SIZE, np.uint8)
SHAPE[2:6, 2:6] = 255


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def masked(root: Path, picture: Image.Image, suffix: str = ".png", **options: Any) -> Path:
    """Data whose three masks are all this picture."""
    folder = mvtec(root)
    for path in sorted((folder / "ground_truth").rglob("*.png")):
        path.unlink()
        picture.save(path.with_suffix(suffix), **options)
    return folder


def problems(root: Path, **pixels: Any) -> str:
    return "\n".join(FOLDER.inspect(root, "bottle", _options(pixels)).problems)


def marked(root: Path, **pixels: Any) -> np.ndarray:
    """The region of the first abnormal image, read under these options."""
    split = FOLDER.read(root, "bottle", _options(pixels))
    (region,) = regions(next(sample for sample in split.test if sample.masks), split)
    return region.mask


def _options(pixels: dict[str, Any]) -> FolderOptions:
    return FolderOptions(pixels=PixelRule(**pixels))


def test_jpeg(root: Path):
    masked(root, Image.fromarray(SHAPE).convert("RGB"), ".jpg", quality=40)
    said = problems(root)
    assert "000_mask.jpg: saved as JPEG, whose noise would count" in said and "{mask_threshold: 127}" in said
    assert (marked(root, mask_threshold=127) == (SHAPE > 0)).all()


def test_many_grey_levels(root: Path):
    soft = Image.fromarray(SHAPE).filter(ImageFilter.GaussianBlur(1.2)).rotate(7, Image.Resampling.BICUBIC)
    assert len(np.unique(np.asarray(soft))) > 16
    masked(root, soft)
    assert "has 16 or more grey levels" in problems(root)
    assert (marked(root, mask_threshold=127) == (np.asarray(soft) > 127)).all()
    assert marked(root, mask_threshold=0).sum() > marked(root, mask_threshold=127).sum()


def test_a_drawing_in_the_alpha_channel(root: Path):
    white = np.full((*SIZE, 3), 255, np.uint8)
    masked(root, Image.fromarray(np.dstack([white, SHAPE]), "RGBA"))
    assert "the drawing lies in the alpha channel; say `pixels: {mask_channel: alpha}`" in problems(root)
    assert (marked(root, mask_channel="alpha") == (SHAPE > 0)).all()


def test_no_alpha_channel(root: Path):
    masked(root, Image.fromarray(SHAPE))
    assert "has no alpha channel" in problems(root, mask_channel="alpha")


def palette() -> Image.Image:
    """White is index 0, black index 1: what is drawn in black on white."""
    picture = Image.fromarray((SHAPE == 0).astype(np.uint8), "P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    return picture


@pytest.mark.parametrize("picture", [Image.fromarray(255 - SHAPE), palette()], ids=["grey", "palette"])
def test_inverted(root: Path, picture: Image.Image):
    masked(root, picture)
    said = problems(root)
    assert (
        "marks 92% of its picture, and 3 of 3 masks mark nearly all" in said and "{mask_invert: true}" in said
    )
    assert (marked(root, mask_invert=True) == (SHAPE > 0)).all()
    assert (marked(root, mask_invert=False) == (SHAPE == 0)).all()


@pytest.mark.parametrize("values", [(255,), (1,), (1, 2, 3)], ids=str)
def test_what_was_fine_stays_fine(root: Path, values: tuple[int, ...]):
    pixels = SHAPE.copy()
    for row, value in enumerate(values):
        pixels[2 + row, 2:6] = value
    pixels[5, 2:6] = values[0]
    pixels[pixels == 255] = values[0]
    masked(root, Image.fromarray(pixels))
    assert problems(root) == ""
    assert (marked(root) == (SHAPE > 0)).all()


def test_another_reading_is_another_data_set(root: Path):
    masked(root, Image.fromarray(SHAPE))
    plain = FOLDER.read(root, "bottle").fingerprint
    assert FOLDER.read(root, "bottle", _options({"mask_threshold": 127})).fingerprint != plain
    assert FOLDER.read(root, "bottle", _options({"mask_invert": False})).fingerprint == plain
    assert FOLDER.read(root, "bottle").fingerprint == plain


@pytest.mark.parametrize("threshold", [-1, 255])
def test_thresholds_that_mark_all_or_nothing(threshold: int):
    with pytest.raises(ValueError, match=r"mask_threshold must be 0\.\.254"):
        PixelRule(mask_threshold=threshold)
