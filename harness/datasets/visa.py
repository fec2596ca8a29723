"""VisA: twelve categories, as distributed (a CSV file says what is what) or as prepare_data.py lays it out.

As distributed, Normal and Anomaly number their files alike; masks hold classes, any value but 0 is anomalous:

    ROOT/split_csv/1cls.csv: object,split,label,image,mask
    ROOT/candle/Data/Images/Normal/0000.JPG
    ROOT/candle/Data/Images/Anomaly/000.JPG
    ROOT/candle/Data/Masks/Anomaly/000.png

Laid out anew (VisA_pytorch/1cls): candle/train/good, candle/test/{good,bad}, candle/ground_truth/bad.

Ids differ between the two forms, and so do the draws of `nested`; those of `first_k`, `block` and `vand2025`
do not, because the order of the files is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, final

from pydantic import AfterValidator

from harness.data.rule import PLAIN, PixelRule
from harness.data.samples import GOOD, Sample
from harness.datasets.easel import Easel
from harness.datasets.expected import by_category, of_this, unlike
from harness.datasets.folders import Layout, Tree, category_folders, read_tree
from harness.datasets.listed import listed_tree
from harness.datasets.record import DataSet, Inspection, Names
from harness.datasets.splits import assemble
from harness.datasets.visa_index import COLUMNS, check_index, read_index
from harness.datasets.walk import is_folder
from harness.errors import DataError

ANOMALY = "anomaly"
IMAGES, INDEX = "Data/Images", "split_csv"
ANEW = "1cls"  # the folder that prepare_data.py makes
LAYOUT = Layout(validation=(), labels={"bad": ANOMALY})
WHY = (
    "is the split of the paper's two-class setting: its training part holds anomalous images, so it gives no "
    "k normal shots. Few-shot papers draw k from 1cls: `split: 1cls` under `dataset:`, and `shots: [1, 2, 4]`"
)

# split_csv/1cls.csv: 10,821 images
_COUNTS = {
    "candle": (900, 100, 100),
    "capsules": (542, 60, 100),
    "cashew": (450, 50, 100),
    "chewinggum": (453, 50, 100),
    "fryum": (450, 50, 100),
    "macaroni1": (900, 100, 100),
    "macaroni2": (900, 100, 100),
    "pcb1": (904, 100, 100),
    "pcb2": (901, 100, 100),
    "pcb3": (905, 101, 100),
    "pcb4": (904, 101, 100),
    "pipe_fryum": (450, 50, 100),
}
COUNTS = by_category(_COUNTS)


def _normal(split: str) -> str:
    """Refuse what cannot be meant; the message goes to the person who wrote it."""
    if split.startswith("2cls_"):
        raise ValueError(f"{split} {WHY}")
    if not split or set(split) & set("/\\\0"):
        raise ValueError(f"must be the name of a file in {INDEX}/ without .csv")
    return split


@final
@dataclass(frozen=True)
class VisaOptions:
    """What a sweep file may say about VisA.

    Attributes:
        split: name of a file in split_csv/; its training part must be normal, as of VisA's own only that of
            1cls is.
        marks: what tables have to say of the numbers.
        pixels: how files are read that are not plain 8-bit images: `bits` that are in use of 16, `range` of
            other numbers, `mask_exif` (own, image, ignore), `mask_threshold`, `mask_channel`,
            `mask_invert`, `max_megapixels`.
        allow_duplicates: accept test images that are training images as well; every table then says so.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    split: Annotated[str, AfterValidator(_normal)] = ANEW
    marks: tuple[str, ...] = ()
    pixels: PixelRule = PLAIN
    allow_duplicates: bool = False


def _anew(root: Path) -> Path | None:
    """The folder of categories where VisA is laid out anew; None where it is as distributed."""
    return next((f for f in (root, root / ANEW) if f.is_dir() and _categories(f)), None)


def _categories(folder: Path) -> tuple[str, ...]:
    return of_this(category_folders(folder, LAYOUT), COUNTS)


def _names(root: Path, options: VisaOptions) -> Names:
    anew = _anew(root)
    if anew is not None and options.split != ANEW:
        raise DataError(
            f"{anew}: `split: {options.split}` names a file of {INDEX}/; here folders say what is trained "
            "and tested with: leave it out"
        )
    if anew is not None:
        found = _categories(anew)
    else:
        found = tuple(sorted(p.name for p in root.iterdir() if (p / IMAGES).is_dir()))
        if found:
            check_index(_index(root, options))  # said once, and not by every category
    return Names(found, found, found)


def _index(root: Path, options: VisaOptions) -> Path:
    return root / INDEX / f"{options.split}.csv"


def _inspect(root: Path, category: str, options: VisaOptions) -> Inspection:
    anew = _anew(root)
    folder = (anew or root) / category
    tree = _laid_out(folder) if anew else _distributed(root, category, options)
    marks, notes = unlike(category, tree, COUNTS.get(category, {}))
    split, problems = assemble(
        ("visa", category, folder),
        tree,
        marks=[*marks, *options.marks],
        pixels=options.pixels,
        duplicates=options.allow_duplicates,
    )
    return Inspection(split, problems, [*tree.notes, *notes])


def _distributed(root: Path, category: str, options: VisaOptions) -> Tree:
    try:
        entries, problems = read_index(_index(root, options), category)
    except DataError as error:  # it has gone since the categories were listed
        return Tree((), (), (), (str(error),))
    return listed_tree(root, root / category, entries, problems)


def _laid_out(folder: Path) -> Tree:
    tree = read_tree(folder, LAYOUT)
    two = [f"{folder}: {folder.parent.name} {WHY}"] if is_folder(folder / "train/bad") else []
    return replace(tree, test=tuple(map(_named, tree.test)), problems=(*two, *tree.problems))


def _named(sample: Sample) -> Sample:
    """With the defect that the other form has, so that tables of both have the same rows."""
    return sample if sample.label == GOOD else replace(sample, defects=(ANOMALY,))


def _recognise(root: Path) -> bool:
    if any((root / category / IMAGES).is_dir() for category in COUNTS):
        return True
    return any((f / c / "test/bad").is_dir() for f in (root, root / ANEW) for c in COUNTS)


def _sketch(easel: Easel) -> None:
    rows: list[tuple[str, ...]] = [COLUMNS]
    for category in easel.categories(COUNTS):
        normal, anomalous = (f"{category}/{IMAGES}/{kind}" for kind in ("Normal", "Anomaly"))
        for i in range(easel.train + easel.test):
            name = f"{normal}/{i:04d}.JPG"
            easel.picture(name, category)
            rows.append((category, "train" if i < easel.train else "test", "normal", name, ""))
        for i in range(easel.test):
            name, mask = f"{anomalous}/{i:03d}.JPG", f"{category}/Data/Masks/Anomaly/{i:03d}.png"
            easel.masked(name, mask, category, "scratch", value=1 + i % 8)
            rows.append((category, "test", ANOMALY, name, mask))
    easel.text(f"{INDEX}/{ANEW}.csv", _csv(rows))


def _csv(rows: Sequence[Sequence[str]]) -> str:
    return "".join(",".join(row) + "\n" for row in rows)


VISA = DataSet(
    name="visa",
    title="VisA",
    summary="Twelve categories: circuit boards, several things at once, single things; no validation images. "
    "configs/visa.yaml is a sweep of it.",
    defects="not divided, all are called anomaly",
    licence="CC BY 4.0",
    citation="Zou, Jeong, Pemula, Zhang, Dabeer: SPot-the-Difference Self-Supervised Pre-training for "
    "Anomaly Detection and Segmentation. ECCV 2022.",
    url="https://github.com/amazon-science/spot-diff",
    archive="VisA_20220922.tar",
    sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
    counts=COUNTS,
    Options=VisaOptions,
    inspector=_inspect,
    lister=_names,
    doc=__doc__,
    recognise=_recognise,
    sketcher=_sketch,
    looked_for=(f"CATEGORY/{IMAGES}", "CATEGORY/train/good"),
)
