"""MVTec AD: fifteen categories, one folder per defect, plain binary masks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from harness.data.rule import PLAIN, PixelRule
from harness.datasets.folders import Layout, Tree, read_tree
from harness.datasets.loco import category_folders
from harness.datasets.record import DataSet, Inspection, Names
from harness.datasets.splits import assemble

LAYOUT = Layout(validation=())

# counted in the distributed archive: 5,354 images
_COUNTS = {
    "bottle": (209, 20, 63),
    "cable": (224, 58, 92),
    "capsule": (219, 23, 109),
    "carpet": (280, 28, 89),
    "grid": (264, 21, 57),
    "hazelnut": (391, 40, 70),
    "leather": (245, 32, 92),
    "metal_nut": (220, 22, 93),
    "pill": (267, 26, 141),
    "screw": (320, 41, 119),
    "tile": (230, 33, 84),
    "toothbrush": (60, 12, 30),
    "transistor": (213, 60, 40),
    "wood": (247, 19, 60),
    "zipper": (240, 32, 119),
}
COUNTS: dict[str, dict[str, int]] = {
    category: dict(zip(("train", "test good", "test anomalous"), row, strict=True))
    for category, row in _COUNTS.items()
}


@final
@dataclass(frozen=True)
class MvtecAdOptions:
    """What a sweep file may say about MVTec AD.

    Attributes:
        marks: what tables have to say of the numbers.
        pixels: how files are read that are not plain 8-bit images: `bits` that are in use of 16, `range` of
            other numbers, `mask_exif` (own, image, ignore), `mask_threshold`, `mask_channel`,
            `mask_invert`, `max_megapixels`.
        allow_duplicates: accept test images that are training images as well; every table then says so.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    marks: tuple[str, ...] = ()
    pixels: PixelRule = PLAIN
    allow_duplicates: bool = False


def _counts(tree: Tree) -> dict[str, int]:
    good = sum(sample.label == "good" for sample in tree.test)
    return {"train": len(tree.train), "test good": good, "test anomalous": len(tree.test) - good}


def _names(root: Path, options: MvtecAdOptions) -> Names:
    del options
    found = tuple(category_folders(root, LAYOUT))
    return Names(found, found, found)


def _inspect(root: Path, category: str, options: MvtecAdOptions) -> Inspection:
    tree = read_tree(root / category, LAYOUT)
    found, expected = _counts(tree), COUNTS.get(category)
    unofficial = expected is not None and found != expected
    marks = [*(["unofficial split"] if unofficial else []), *options.marks]
    place = ("mvtec_ad", category, root / category)
    split, problems = assemble(
        place, tree, marks=marks, pixels=options.pixels, duplicates=options.allow_duplicates
    )
    other = [f"{k} {found[k]} (archive: {n})" for k, n in (expected or {}).items() if found[k] != n]
    notes = [f"{category}: other counts than the official archive: {', '.join(other)}"] if other else []
    return Inspection(split, problems, [*tree.notes, *notes])


def _recognise(root: Path) -> bool:
    return any((root / category / "train" / "good").is_dir() for category in COUNTS)


MVTEC_AD = DataSet(
    name="mvtec_ad",
    title="MVTec AD",
    summary="Fifteen categories of objects and textures, structural anomalies in the main.",
    licence="CC BY-NC-SA 4.0",
    citation="Bergmann, Fauser, Sattlegger, Steger: MVTec AD - A Comprehensive Real-World Dataset for "
    "Unsupervised Anomaly Detection. CVPR 2019.",
    url="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    archive="mvtec_anomaly_detection.tar.xz",
    sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
    counts=COUNTS,
    Options=MvtecAdOptions,
    inspector=_inspect,
    lister=_names,
    recognise=_recognise,
)
