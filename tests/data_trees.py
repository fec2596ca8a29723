"""Tiny data sets in the layouts that the readers know."""

import json
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

from harness.data import ImageSet, Sample
from harness.datasets.folders import Tree
from harness.datasets.splits import assemble

SIZE = (12, 16)  # height, width
DEFECTS = [
    {
        "defect_name": "missing_nut",
        "pixel_value": 255,
        "saturation_threshold": 5,
        "relative_saturation": False,
    },
    {
        "defect_name": "extra_nut",
        "pixel_value": 254,
        "saturation_threshold": 0.5,
        "relative_saturation": True,
    },
    {"defect_name": "scratch", "pixel_value": 253, "saturation_threshold": 1.0, "relative_saturation": True},
]


def image(path: Path, seed: int | None = None, size: tuple[int, int] = SIZE) -> Path:
    """Noise; without a seed, noise of its own for every name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = crc32("/".join(path.parts[-4:]).encode()) if seed is None else seed
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path, value: int = 255, box=(2, 2, 6, 6), size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size, np.uint8)
    pixels[box[0] : box[2], box[1] : box[3]] = value
    Image.fromarray(pixels).save(path)
    return path


def spot(path: Path) -> None:
    """Make an image white where `mask` marks it."""
    pixels = np.asarray(Image.open(path)).copy()
    pixels[2:6, 2:6] = 255
    Image.fromarray(pixels).save(path)


def planned(paths: list[Path]) -> ImageSet:
    """Images as a data set hands them out: it has read the files, and knows how they go on."""
    samples = tuple(Sample(path.name, path) for path in paths)
    split, _ = assemble(("d", "c", paths[0].parent), Tree(samples, (), (), ()))
    return ImageSet.of_samples(split.train)


def loco(root: Path, category: str = "screw_bag", train: int = 6) -> Path:
    """Logical 000 has two regions of two types, logical 001 a full-image mask."""
    folder = root / category
    for i in range(train):
        image(folder / f"train/good/{i:03d}.png", i)
    for i in range(2):
        image(folder / f"validation/good/{i:03d}.png", 100 + i)
        image(folder / f"test/good/{i:03d}.png", 200 + i)
        image(folder / f"test/logical_anomalies/{i:03d}.png", 300 + i)
    image(folder / "test/structural_anomalies/000.png", 400)
    truth = folder / "ground_truth"
    mask(truth / "logical_anomalies/000/000.png", 254)
    mask(truth / "logical_anomalies/000/001.png", 255, (6, 6, 9, 9))
    mask(truth / "logical_anomalies/001/000.png", 255, (0, 0, *SIZE))
    mask(truth / "structural_anomalies/000/000.png", 253)
    (folder / "defects_config.json").write_text(json.dumps(DEFECTS))
    return folder


def mvtec(root: Path, category: str = "bottle") -> Path:
    """3 train, 1 good, `crack` with `_mask` files and `dent` with masks of the same name."""
    folder = root / category
    for i in range(3):
        image(folder / f"train/good/{i:03d}.png", i)
    image(folder / "test/good/000.png", 10)
    for i in range(2):
        image(folder / f"test/crack/{i:03d}.png", 20 + i)
        mask(folder / f"ground_truth/crack/{i:03d}_mask.png")
    image(folder / "test/dent/000.png", 30)
    mask(folder / "ground_truth/dent/000.png")
    return folder


def mvtec_ad2(root: Path, *categories: str, private: int = 2) -> Path:
    """Objects under two lights: 4 train, 3 validation, 4 good, 4 bad, twice `private` without labels."""
    for category in categories or ("can", "rice"):
        folder = root / category
        for split, n in (("train", 4), ("validation", 3)):
            for i in range(n):
                image(folder / f"{split}/good/{i:03d}_regular.png")
        for light in ("regular", "overexposed"):
            for i in range(2):
                image(folder / f"test_public/good/{i:03d}_{light}.png")
                spot(image(folder / f"test_public/bad/{i:03d}_{light}.png"))
                mask(folder / f"test_public/ground_truth/bad/{i:03d}_{light}_mask.png")
        for split, light in (("test_private", "regular"), ("test_private_mixed", "mixed")):
            for i in range(private):
                image(folder / f"{split}/{i:03d}_{light}.png")
    return root
