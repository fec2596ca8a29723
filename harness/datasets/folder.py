"""Any folder of images: MVTec-like by default, every path can be said.

    ROOT/bolt/train/good/000.png
    ROOT/bolt/validation/good/000.png: may be missing
    ROOT/bolt/test/good/000.png
    ROOT/bolt/test/scratch/000.png: as many folders as there are kinds of defects
    ROOT/bolt/ground_truth/scratch/000.png: or 000_mask.png, or 000/*.png; `masks: null` for none

With only one category its folder is ROOT itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, final

from pydantic import Field

from harness.data.rule import PLAIN, PixelRule
from harness.datasets.easel import Easel
from harness.datasets.folders import Layout, category_folders, read_tree
from harness.datasets.record import DataSet, Inspection, Names
from harness.datasets.splits import assemble
from harness.datasets.walk import found_folders

HeldOut = Annotated[float, Field(ge=0, lt=1)]


@final
@dataclass(frozen=True)
class FolderOptions:
    """Where images lie, relative to a category folder. Every step of a path may be a pattern (`OK/*`).

    Attributes:
        train: normal training images.
        validation: further normal images; by default `validation/good` or `val/good`, if there.
        normal: normal test images.
        abnormal: folders of abnormal test images, patterns allowed; the folder name is the defect.
        masks: ground truth, one folder per folder of abnormal images; null if there is none.
        labels: abnormal folder -> "logical" or "structural" or another label.
        mask_ending: masks lie beside their images and are called like them with this at the end ("_GT.png").
        held_out: share of the training images that is tested with instead, where there are no normal test
            images (`normal: ''`); always the same ones.
        marks: what tables have to say of the numbers.
        pixels: how files are read that are not plain 8-bit images: `bits` that are in use of 16, `range` of
            other numbers, `mask_exif` (own, image, ignore), `mask_threshold`, `mask_channel`,
            `mask_invert`, `max_megapixels`.
        allow_duplicates: accept test images that are training images as well; every table then says so.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    train: str = "train/good"
    validation: str | None = None
    normal: str = "test/good"
    abnormal: tuple[str, ...] = ("test/*",)
    masks: str | None = "ground_truth"
    labels: Mapping[str, str] = field(default_factory=dict)
    mask_ending: str = ""
    held_out: HeldOut = 0.0
    marks: tuple[str, ...] = ()
    pixels: PixelRule = PLAIN
    allow_duplicates: bool = False


def layout_of(options: FolderOptions) -> Layout:
    """The layout that the options describe."""
    validation = (options.validation,) if options.validation else Layout().validation
    return Layout(
        options.train,
        validation,
        options.normal,
        options.abnormal,
        options.masks,
        options.labels,
        strict=False,
        mask_ending=options.mask_ending,
        held_out=options.held_out,
    )


def names(root: Path, options: FolderOptions) -> Names:
    """The folders of `root` with training images; the root itself is the only category if it has them."""
    layout = layout_of(options)
    if found_folders(root, layout.train):
        own = (root.resolve().name,)
        return Names(own, own, own)
    found = tuple(category_folders(root, layout))
    return Names(found, found, found)


def _inspect(root: Path, category: str, options: FolderOptions) -> Inspection:
    layout = layout_of(options)
    folder = root if found_folders(root, layout.train) else root / category
    tree = read_tree(folder, layout)
    held = (f"{options.held_out:.0%} of the training images held out",) if options.held_out else ()
    marks, pixels = (*held, *options.marks), options.pixels
    split, problems = assemble(
        ("folder", category, folder), tree, marks=marks, pixels=pixels, duplicates=options.allow_duplicates
    )
    return Inspection(split, problems, tree.notes)


def _sketch(easel: Easel) -> None:
    for category in easel.categories(("bolt", "washer")):
        easel.good(f"{category}/{{split}}/good/{{i:03d}}.png", category, ("train", "validation", "test"))
        for i in range(easel.test):
            image, mask = (
                f"{category}/test/scratch/{i:03d}.png",
                f"{category}/ground_truth/scratch/{i:03d}.png",
            )
            easel.masked(image, mask, category, "scratch")


FOLDER = DataSet(
    name="folder",
    title="Folder of images",
    summary="Your own images: train/good, test/good, test/<defect>, ground_truth/<defect>; every path is "
    "an option, masks may be missing.",
    licence="that of your images",
    citation="",
    Options=FolderOptions,
    inspector=_inspect,
    lister=names,
    doc=__doc__,
    recognise=lambda root: True,
    sketcher=_sketch,
)
