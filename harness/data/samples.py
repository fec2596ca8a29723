"""What a data set hands out: samples with their labels, and the split of one category."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.rule import PLAIN, PixelRule

GOOD = "good"
LOGICAL = "logical"
STRUCTURAL = "structural"
UNLABELLED = "unlabelled"  # nobody here knows what it shows: it has a score and a map, and is in no metric


@dataclass(frozen=True)
class Sample:
    """One image and what is known of it.

    Attributes:
        id: path relative to the category folder, with forward slashes; unique in the category.
        path: where the image lies.
        label: "good", "logical", "structural", the defect folder of data sets without that division, or
            "unlabelled".
        defects: names of the defect types shown (several are possible), empty if good or unknown.
        subtype: product type inside the category ("cherry"), if the data set has a manifest of them.
        condition: under which it was taken ("overexposed"), if its data set has several; test images of each
            are judged on their own as well.
        masks: ground-truth files, one per anomalous region; empty if good.
        rule: how its files are read.
        contents: (file, sha256) of the image, its masks and its part mask when the data set was read; empty
            if nobody has looked.
        view_of: the product of which the image is one view, in data sets that photograph each from several
            sides; None where an image is all there is of a product.
    """

    id: str
    path: Path
    label: str = GOOD
    defects: tuple[str, ...] = ()
    subtype: str | None = None
    masks: tuple[Path, ...] = ()
    rule: PixelRule = PLAIN
    contents: tuple[tuple[Path, str], ...] = ()
    condition: str | None = None
    view_of: str | None = None

    def planned(self, path: Path) -> str:
        """sha256 that one of its files had when the data set was read; empty if that is not known."""
        return next((sha256 for known, sha256 in self.contents if known == path), "")


@dataclass(frozen=True)
class DefectType:
    """How much of a defect has to be found (Bergmann et al., IJCV 2022, section 4.3).

    Attributes:
        name: type of defect.
        pixel_value: value in the mask files, 1..255; None where any non-zero value means the defect.
        saturation_threshold: pixels at native size, or a fraction in (0, 1] of the region if relative.
        relative_saturation: which of the two.
    """

    name: str
    pixel_value: int | None
    saturation_threshold: float
    relative_saturation: bool


@dataclass(frozen=True)
class Split:
    """One category of a data set, divided as its authors divided it.

    Attributes:
        dataset, category: names; a sub-type is written "juice_bottle/cherry".
        train, validation: normal images only; validation may be empty.
        test: good and anomalous images.
        defects: mask pixel value -> defect type; empty where masks are plain binary.
        part_masks: sample id -> index PNG of part labels at native size; may be empty.
        part_classes: names of the part labels, index 0 is the background.
        limits: metric -> limits of the false-positive rate at which it is asked for here, where they are not
            the metric's own.
        fingerprint: sha256 over names and contents of everything above.
        marks: what a table must say of numbers made here ("demo data", "derived masks", ...).
    """

    dataset: str
    category: str
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]
    defects: Mapping[int, DefectType] = field(default_factory=dict)
    part_masks: Mapping[str, Path] = field(default_factory=dict)
    part_classes: tuple[str, ...] = ()
    fingerprint: str = ""
    marks: tuple[str, ...] = ()
    limits: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
