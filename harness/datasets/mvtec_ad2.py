"""MVTec AD 2: eight objects under several lightings, one labelled test split and two without labels.

ROOT/can/train/good/000_regular.png
ROOT/can/validation/good/000_regular.png
ROOT/can/test_public/good/000_regular.png: the lighting stands in the name (000_overexposed.png, …)
ROOT/can/test_public/bad/000_regular.png
ROOT/can/test_public/ground_truth/bad/000_regular_mask.png

Beside them, by option, `test_private/000_regular.png` and `test_private_mixed/000_mixed.png` (other
lightings), flat and without labels: only the authors' server evaluates those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.data.images import image_files
from harness.data.rule import PLAIN, PixelRule
from harness.data.samples import GOOD, Sample
from harness.datasets.easel import Easel, plate
from harness.datasets.expected import of_this
from harness.datasets.folders import Layout, Tree, category_folders, read_tree
from harness.datasets.record import DataSet, Inspection, Names
from harness.datasets.splits import assemble
from harness.errors import DataError

PRIVATE: tuple[str, ...] = ("test_private", "test_private_mixed")
# of each of the two: the server wants a map of every image
_COUNTS = {
    "can": 321,
    "fabric": 314,
    "fruit_jelly": 255,
    "rice": 277,
    "sheet_metal": 142,
    "vial": 276,
    "wallplugs": 232,
    "walnuts": 228,
}
COUNTS: dict[str, dict[str, int]] = {name: dict.fromkeys(PRIVATE, n) for name, n in _COUNTS.items()}
# how many of them each object has is not published by the server's rules
TOTALS = {"train": 2528, "validation": 302, "test good": 379, "test anomalous": 705}

_KNOWN = Layout(validation=("validation/good",), normal="", abnormal=(), masks=None)
_PUBLIC = replace(
    _KNOWN, normal="test_public/good", abnormal=("test_public/bad",), masks="test_public/ground_truth"
)
_LAYOUTS = {
    "public": _PUBLIC,
    "private": replace(_KNOWN, unlabelled=PRIVATE[:1]),
    "private_mixed": replace(_KNOWN, unlabelled=PRIVATE[1:]),
    "server": replace(_KNOWN, unlabelled=PRIVATE),
}
Limit = Annotated[float, Field(gt=0, le=1)]


@final
@dataclass(frozen=True)
class Ad2Options:
    """What a sweep file may say about MVTec AD 2.

    Attributes:
        test: the split that is scored. Only "public" has labels; of "private", "private_mixed" and "server"
            (both of them, which is what `harness.submission` needs) there are scores and maps, and metrics
            are empty.
        pro_limits: limits of the false-positive rate up to which AU-PRO is computed; the paper has 0.05.
        marks: what tables have to say of the numbers.
        pixels: how files are read that are not plain 8-bit images: `bits` that are in use of 16, `range` of
            other numbers, `mask_exif` (own, image, ignore), `mask_threshold`, `mask_channel`,
            `mask_invert`, `max_megapixels`.
        allow_duplicates: accept test images that are training images as well; every table then says so.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    test: Literal["public", "private", "private_mixed", "server"] = "public"
    pro_limits: Annotated[tuple[Limit, ...], Field(min_length=1)] = (0.05,)
    marks: tuple[str, ...] = ()
    pixels: PixelRule = PLAIN
    allow_duplicates: bool = False


def condition(path: Path) -> str | None:
    """The lighting that the name of an image says ("012_shift_1.png"), or None."""
    return path.stem.partition("_")[2] or None


def _names(root: Path, options: Ad2Options) -> Names:
    found = of_this(category_folders(root, _LAYOUTS[options.test]), COUNTS)
    return Names(found, found, found)


def _inspect(root: Path, category: str, options: Ad2Options) -> Inspection:
    tree = _lit(read_tree(root / category, _LAYOUTS[options.test]))
    other = _other_counts(root / category)
    split, problems = assemble(
        ("mvtec_ad2", category, root / category),
        tree,
        marks=[*(["unofficial split"] if other else []), *options.marks],
        pixels=options.pixels,
        duplicates=options.allow_duplicates,
    )
    notes = [f"{category}: other counts than the official archive: {', '.join(other)}"] if other else []
    split = replace(split, limits={"aupro": tuple(dict.fromkeys(options.pro_limits))})
    return Inspection(split, problems, [*tree.notes, *notes])


def _lit(tree: Tree) -> Tree:
    """The samples with their lighting."""

    def lit(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(replace(sample, condition=condition(sample.path)) for sample in samples)

    return replace(tree, train=lit(tree.train), validation=lit(tree.validation), test=lit(tree.test))


def _other_counts(folder: Path) -> list[str]:
    """Private splits that are there and not as large as the archive's, whichever split is scored."""
    expected: Mapping[str, int] = COUNTS.get(folder.name, {})
    found = {name: _number(folder / name) for name in expected}
    return [f"{k} {found[k]} (archive: {n})" for k, n in expected.items() if found[k] not in (None, n)]


def _number(folder: Path) -> int | None:
    try:
        return len(image_files(folder))
    except DataError:  # not there; where it is to be scored, reading it says so
        return None


_LIGHTS = {"regular": 1.0, "underexposed": 0.6, "overexposed": 1.3}


def _sketch(easel: Easel) -> None:
    for name in easel.categories(COUNTS):
        for split, n in (("train", easel.train), ("validation", easel.test)):
            for i in range(n):
                _shot(easel, f"{name}/{split}/good/{i:03d}_regular.png", GOOD)
        for i, light in product(range(easel.test), _LIGHTS):
            shot = f"{i:03d}_{light}"
            _shot(easel, f"{name}/test_public/good/{shot}.png", GOOD)
            marked = _shot(easel, f"{name}/test_public/bad/{shot}.png", "scratch")
            easel.mask(f"{name}/test_public/ground_truth/bad/{shot}_mask.png", marked)
        for i in range(2 * easel.test):
            for split, light in zip(PRIVATE, ("regular", "mixed"), strict=True):
                _shot(easel, f"{name}/{split}/{i:03d}_{light}.png", ("scratch", GOOD)[i % 2])


def _shot(easel: Easel, path: str, kind: str) -> NDArray[np.bool_]:
    """Draw an object under the light that the name says; what of it is anomalous, (h, w)."""
    category, file = path.split("/")[0], Path(path)
    # the same object under every light
    pixels, marked = plate(category, f"{file.parent}/{file.name[:3]}", kind)
    lights = list(_LIGHTS.values())
    factor = _LIGHTS.get(condition(file) or "", lights[int(file.name[:3]) % len(lights)])
    easel.image(path, np.clip(pixels * factor, 0, 255).astype(np.uint8))
    return marked


MVTEC_AD2 = DataSet(
    name="mvtec_ad2",
    title="MVTec AD 2",
    summary="Eight objects under changing light; a labelled test split and, by option, the two that only "
    "the authors' server evaluates.",
    licence="CC BY-NC-SA 4.0",
    citation="Heckler-Kram, Neudeck, Scheler, König, Steger: The MVTec AD 2 Dataset: Advanced Scenarios for "
    "Unsupervised Anomaly Detection. arXiv 2503.21622, 2025.",
    url="https://www.mvtec.com/company/research/datasets/mvtec-ad-2",
    sha256="c0ded99ef32bfc8e352d52beb44515e5b292b8598cb963aadfa91ca0763505e4",
    archive="mvtec_ad_2.tar.gz",
    counts=COUNTS,
    totals=TOTALS,
    Options=Ad2Options,
    inspector=_inspect,
    lister=_names,
    doc=__doc__,
    sketcher=_sketch,
    recognise=lambda root: any((root / name / "test_public").is_dir() for name in COUNTS),
    looked_for=("CATEGORY/train/good", "CATEGORY/test_public/good"),
)
