"""Reads the layout of MVTec LOCO AD: several masks per image, defect types by pixel value, sub-types.

ROOT/juice_bottle/defects_config.json: which pixel value of a mask is which defect, and when it is found
ROOT/juice_bottle/train/good/000.png
ROOT/juice_bottle/validation/good/000.png
ROOT/juice_bottle/test/good/000.png
ROOT/juice_bottle/test/logical_anomalies/000.png
ROOT/juice_bottle/test/structural_anomalies/000.png
ROOT/juice_bottle/ground_truth/logical_anomalies/000/000.png: one mask per defect
ROOT/juice_bottle/ground_truth/structural_anomalies/000/000.png
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, final

from harness.data.rule import PLAIN, PixelRule
from harness.data.samples import LOGICAL, STRUCTURAL, DefectType, Sample, Split
from harness.data.subtypes import Manifest, SubtypeRule, subtype_problems, with_subtypes
from harness.datasets.drawn import demo_state
from harness.datasets.folders import Layout, Tree, category_folders, read_tree
from harness.datasets.loco_files import DEFECTS, find_manifest, read_defects, read_parts
from harness.datasets.record import Inspection, Names
from harness.datasets.splits import Parts, assemble, finish
from harness.errors import DataError

LABELS = {"logical_anomalies": LOGICAL, "structural_anomalies": STRUCTURAL}
LAYOUT = Layout(labels=LABELS)


@final
@dataclass(frozen=True)
class LocoOptions:
    """What a sweep file may say about a data set in LOCO's layout.

    Attributes:
        subtypes: sub-type manifest; by default `subtypes.json` in the root, if there is one.
        subtype_rule: what decides for images whose product type the manifest calls ambiguous:
            "primary_attribute" (the recorded type), "nearest_gap" (nearest training image in pooled
            features, must be in the manifest) or "drop_ambiguous" (they are in no sub-category).
        marks: what tables have to say of the numbers ("derived masks").
        pixels: how files are read that are not plain 8-bit images: `bits` that are in use of 16, `range` of
            other numbers, `mask_exif` (own, image, ignore), `mask_threshold`, `mask_channel`,
            `mask_invert`, `max_megapixels`.
        allow_duplicates: accept test images that are training images as well; every table then says so.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    subtypes: Path | None = None
    subtype_rule: SubtypeRule = "primary_attribute"
    marks: tuple[str, ...] = ()
    pixels: PixelRule = PLAIN
    allow_duplicates: bool = False


@final
@dataclass(frozen=True)
class LocoReader:
    """Lists and reads categories in LOCO's layout for one data set.

    Attributes:
        name: of the data set.
        counts: category -> split -> images of the archive; other numbers are marked in every table.
        paper_counts: the same where the paper prints other numbers than the archive has.
        marks: what tables always have to say.
        split_by_subtype: whether `all` means the sub-categories where a manifest lies in the data set;
            where one is asked for by option it always does.
    """

    name: str
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    paper_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    split_by_subtype: bool = True

    def names(self, root: Path, options: LocoOptions) -> Names:
        """Category folders of `root`; sub-categories after the folder they are part of."""
        whole = tuple(category_folders(root, LAYOUT))
        manifest = find_manifest(root, options.subtypes, whole)
        parts = {c: [f"{c}/{s}" for s in manifest.subtypes(c)] if manifest else [] for c in whole}
        known = tuple(name for c in whole for name in (c, *parts[c]))
        if not (self.split_by_subtype or options.subtypes):
            return Names(whole, whole, known)
        return Names(whole, tuple(name for c in whole for name in (parts[c] or [c])), known)

    def inspect(self, root: Path, category: str, options: LocoOptions) -> Inspection:
        """One category or sub-category with everything that is wrong or unusual."""
        whole, _, subtype = category.partition("/")
        tree = read_tree(root / whole, LAYOUT)
        defects, parts, problems = _extras(root / whole, tree)
        notes = [*tree.notes, *self._notes(whole, tree)]
        manifest = find_manifest(root, options.subtypes, category_folders(root, LAYOUT))
        tree = _typed(tree, manifest, whole, options)
        place = (self.name, category, root / whole)
        drawn, unfinished = demo_state(root)
        problems += unfinished
        marks = (*self.marks, *drawn, *self._marks(whole, tree), *options.marks)
        split, found = assemble(
            place, tree, defects, parts, marks, options.pixels, duplicates=options.allow_duplicates
        )
        problems += found
        if subtype:
            problems += _unlisted(tree, manifest, whole, options.subtype_rule)
            split = _only(split, subtype, root / whole)
        return Inspection(split, problems, notes)

    def _marks(self, category: str, tree: Tree) -> list[str]:
        found, expected = counts_of(tree), self.counts.get(category)
        if expected is None or found == expected:
            return []
        return ["the paper's split" if found == self.paper_counts.get(category) else "unofficial split"]

    def _notes(self, category: str, tree: Tree) -> list[str]:
        found, expected = counts_of(tree), self.counts.get(category)
        if expected is None or found == expected:
            return []
        other = [
            f"{split} {found[split]} (archive: {n})" for split, n in expected.items() if found[split] != n
        ]
        paper = "; these are the paper's numbers" if found == self.paper_counts.get(category) else ""
        return [f"{category}: other counts than the official archive: {', '.join(other)}{paper}"]


def counts_of(tree: Tree) -> dict[str, int]:
    """Images per split, the test split by label; the order in which tables print them."""
    labels = [sample.label for sample in tree.test]
    return {
        "train": len(tree.train),
        "validation": len(tree.validation),
        "test good": labels.count("good"),
        "test logical": labels.count(LOGICAL),
        "test structural": labels.count(STRUCTURAL),
    }


def _extras(folder: Path, tree: Tree) -> tuple[dict[int, DefectType], Parts, list[str]]:
    problems: list[str] = []
    defects: dict[int, DefectType] = {}
    parts = Parts()
    ids = [sample.id for sample in tree.train + tree.validation + tree.test]
    try:
        defects = read_defects(folder / DEFECTS)
    except DataError as error:
        problems += str(error).splitlines()
    try:
        parts = read_parts(folder, ids)
    except DataError as error:
        problems.append(str(error))
    return defects, parts, problems


def _typed(tree: Tree, manifest: Manifest | None, category: str, options: LocoOptions) -> Tree:
    if manifest is None:
        return tree
    groups = (tree.train, tree.validation, tree.test)
    train, validation, test = (
        with_subtypes(group, manifest, category, options.subtype_rule) for group in groups
    )
    return replace(tree, train=train, validation=validation, test=test)


def _unlisted(tree: Tree, manifest: Manifest | None, category: str, rule: SubtypeRule) -> list[str]:
    samples: Sequence[Sample] = tree.train + tree.validation + tree.test
    return subtype_problems(samples, manifest, category, rule) if manifest else []


def _only(split: Split, subtype: str, folder: Path) -> Split:
    train, validation, test = (
        tuple(sample for sample in group if sample.subtype == subtype)
        for group in (split.train, split.validation, split.test)
    )
    ids = {sample.id for sample in train + validation + test}
    masks = {sample: path for sample, path in split.part_masks.items() if sample in ids}
    split = replace(split, train=train, validation=validation, test=test, part_masks=masks)
    return finish(split, folder)
