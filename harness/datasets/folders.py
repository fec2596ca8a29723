"""The tree that most data sets share, read once for all of them.

train/good/*.png   validation/good/*.png (or val/good)   test/<defect>/*.png
ground_truth/<defect>/<stem>_mask.png  or  <stem>.png  or  <stem>/*.png (one per region)

Folders are found by pattern and whatever the case of their letters; what an operating system, a viewer or an
editor leaves behind (`harness.data.litter`) is passed over and counted.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import final

from harness.data.images import IMAGE_SUFFIXES, image_files
from harness.data.litter import litter, without_litter
from harness.data.samples import GOOD, UNLABELLED, Sample
from harness.datasets.ground_truth import beside, masks_of
from harness.datasets.hints import nearest_layout
from harness.datasets.walk import found_folders, is_folder, there
from harness.errors import DataError


@final
@dataclass(frozen=True)
class Layout:
    """Where a data set keeps what, relative to the category folder. Every step of a path may be a pattern.

    Attributes:
        train: folder of normal training images.
        validation: folders of further normal images; the first that exists is taken.
        normal: folder of normal test images; may be absent.
        abnormal: folders of abnormal test images; `normal` is left out.
        unlabelled: folders of test images of which nobody here knows what they show; each must be there.
        masks: folder with one folder of masks per abnormal folder, by name or by path, or with the masks
            themselves; None if there are no masks.
        labels: abnormal folder name -> label of its samples; `label` where it is not listed.
        label: of samples whose folder has none of its own; empty for the name of the folder.
        strict: whether the layout is that of a known data set, where an empty folder or an abnormal image
            without its mask is a problem; in anybody's own folders whole defects may lack masks or images.
        mask_ending: what follows the stem of an image in the name of a mask that lies beside it ("_GT.png");
            empty where masks lie elsewhere.
        held_out: share of the training images that is normal test images instead, for data sets without.
    """

    train: str = "train/good"
    validation: tuple[str, ...] = ("validation/good", "val/good")
    normal: str = "test/good"
    abnormal: tuple[str, ...] = ("test/*",)
    masks: str | None = "ground_truth"
    labels: Mapping[str, str] = field(default_factory=dict)
    strict: bool = True
    mask_ending: str = ""
    held_out: float = 0.0
    unlabelled: tuple[str, ...] = ()
    label: str = ""


@final
@dataclass(frozen=True)
class Tree:
    """The samples of one category folder, what was wrong while reading it, and what is unusual."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def category_folders(root: Path, layout: Layout) -> list[str]:
    """Names of the folders of `root` that hold training images or test images.

    Raises:
        DataError: `root` cannot be read.
    """
    try:
        folders = [path for path in without_litter(root) if path.is_dir()]
    except OSError as error:
        raise DataError(f"{root}: cannot be read as a folder ({error.strerror})") from error
    return [path.name for path in folders if _holds(path, (layout.train, layout.normal))]


def _holds(folder: Path, patterns: Sequence[str]) -> bool:
    try:
        return any(found_folders(folder, str(Path(p).parts[0])) for p in patterns if p)
    except OSError:  # a category that cannot be read must not vanish: reading it says so
        return True


def read_tree(folder: Path, layout: Layout) -> Tree:
    """The samples of a category folder, sorted by path, and everything that is wrong; never raises."""
    reader = _Reader(folder, layout)
    train = reader.samples(layout.train, GOOD, required=True)
    validation = reader.samples(reader.first(layout.validation), GOOD)
    normal = reader.samples(layout.normal, GOOD)
    abnormal = list(reader.abnormal())
    unlabelled = [s for name in layout.unlabelled for s in reader.samples(name, UNLABELLED, required=True)]
    reader.same_folder(train, normal)
    if layout.held_out:
        train, held = _divided(train, layout.held_out)
        normal = (*normal, *held)
    if not (normal or abnormal or layout.unlabelled):
        where = ", ".join((layout.normal, *layout.abnormal))
        reader.problems.append(f"{folder}: no test images ({where}); there: {_listed(folder)}")
    reader.count_litter()
    test = (*normal, *abnormal, *unlabelled)
    return Tree(train, validation, test, tuple(reader.problems), tuple(reader.notes))


class _Reader:
    """Collects problems and notes on the way through one category folder."""

    def __init__(self, folder: Path, layout: Layout):
        self.folder, self.layout = folder, layout
        self.problems: list[str] = []
        self.notes: list[str] = []

    def first(self, names: Sequence[str]) -> str:
        """The first of some folders that is there; an empty pattern finds none."""
        return next((name for name in names if self._folders(name)), "")

    def samples(self, pattern: str, label: str, required: bool = False) -> tuple[Sample, ...]:
        """The images of all folders that a pattern finds."""
        folders = self._folders(pattern)
        if required and not folders:
            there_is = _listed(self.folder) + nearest_layout(self.folder)
            self.problems.append(f"{self.folder / pattern}: no such folder; there: {there_is}")
        return tuple(sample for folder in folders for sample in self._in(folder, label, required))

    def abnormal(self) -> Iterator[Sample]:
        """Abnormal images with their masks."""
        normal = set(self._folders(self.layout.normal))
        found = {path for pattern in self.layout.abnormal for path in self._folders(pattern)}
        for folder in sorted(found - normal):
            if is_folder(folder):
                yield from self._defect(folder)

    def same_folder(self, train: Sequence[Sample], normal: Sequence[Sample]) -> None:
        """Normal images to learn from and to be tested with are two things."""
        if both := {s.path for s in train} & {s.path for s in normal}:
            self.problems.append(
                f"{min(both).parent}: {len(both)} images are training and test images; "
                "name two folders, or hold a share out: `normal: ''`, `held_out: 0.2` under `dataset:`"
            )

    def count_litter(self) -> None:
        """How much of what lies here nobody meant."""
        if found := Counter(litter(self.folder)):
            listed = ", ".join(f"{n} × {name}" if n > 1 else name for name, n in sorted(found.items())[:8])
            self.notes.append(f"{self.folder}: passed over {sum(found.values())} hidden files: {listed}")

    def _folders(self, pattern: str) -> list[Path]:
        try:
            return found_folders(self.folder, pattern)
        except OSError as error:
            where = error.filename or self.folder
            self.problems.append(f"{where}: cannot be read as a folder ({error.strerror})")
            return []

    def _in(self, folder: Path, label: str, required: bool) -> tuple[Sample, ...]:
        try:
            paths = image_files(folder)
        except DataError as error:
            self.problems.append(str(error))
            return ()
        paths = self._pictures(folder, paths)
        if not paths:
            sentence = f"{folder}: no images here (allowed: {', '.join(IMAGE_SUFFIXES)})"
            # an empty folder of defects is what an archive of a part of a data set leaves behind
            (self.problems if label == GOOD or required or self.layout.strict else self.notes).append(
                sentence + _deeper(folder)
            )
        return tuple(Sample(sample_id(self.folder, path), path, label) for path in paths)

    def _pictures(self, folder: Path, paths: Sequence[Path]) -> list[Path]:
        """The images among files of which some may be masks that lie beside them."""
        masks = beside(paths, self.layout.mask_ending)
        if masks and not self.layout.mask_ending:
            mask, image = next(iter(masks.items()))
            ending = mask.name[len(image.stem) :]
            self.problems.append(
                f"{folder}: {mask.name} looks like the mask of {image.name} beside it ({len(masks)} such); "
                f"say `mask_ending: {ending}` under `dataset:`, or move the masks"
            )
        return [path for path in paths if path not in masks]

    def _defect(self, folder: Path) -> list[Sample]:
        label = self.layout.labels.get(folder.name, self.layout.label or folder.name)
        samples = self._in(folder, label, required=False)
        found = self._masks(folder, samples)
        if found is None:
            return list(samples)
        lacking = [s for s in samples if not found.get(s.path.stem)]
        if samples and len(lacking) == len(samples) and not self.layout.strict:
            self.notes.append(f"{folder}: none of its {len(samples)} images has a mask: image metrics alone")
        else:
            self.problems += [
                f"{s.path}: no mask for this image (looked in {self._where()})" for s in lacking
            ]
        self._ambiguous(samples, found)
        return [replace(s, masks=tuple(found.get(s.path.stem, ()))) for s in samples]

    def _where(self) -> str:
        return str(self.folder / (self.layout.masks or "."))

    def _masks(self, folder: Path, samples: Sequence[Sample]) -> Mapping[str, Sequence[Path]] | None:
        """Stem of an image -> its mask files; None where there are no masks at all."""
        stems = {sample.path.stem for sample in samples}
        if self.layout.mask_ending:
            pairs = beside(without_litter(folder), self.layout.mask_ending)
            return {image.stem: [mask] for mask, image in pairs.items()}
        if not self.layout.masks:
            return None
        root = next(iter(self._folders(self.layout.masks)), self.folder / self.layout.masks)
        if not (self.layout.strict or there(root)):
            return None
        return masks_of(root, self.folder, folder, stems, self.problems)

    def _ambiguous(self, samples: Sequence[Sample], found: Mapping[str, Sequence[Path]]) -> None:
        """Two images of one stem (000.png, 000.jpg) would share a mask."""
        counts = Counter(sample.path.stem for sample in samples)
        for stem in (stem for stem, n in counts.items() if n > 1 and found.get(stem)):
            names = ", ".join(sample.path.name for sample in samples if sample.path.stem == stem)
            self.problems.append(f"{samples[0].path.parent}: {names} would share the mask {found[stem][0]}")


def _divided(samples: Sequence[Sample], share: float) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Training images, and those held out: by the hash of their names, so that more files move none."""
    held = {s.id for s in samples if int(sha256(s.id.encode()).hexdigest()[:8], 16) < share * 2**32}
    kept = tuple(sample for sample in samples if sample.id not in held)
    return kept, tuple(sample for sample in samples if sample.id in held)


def _listed(folder: Path) -> str:
    """What is in a folder, for a message about what is not."""
    try:
        names = [path.name + "/" * path.is_dir() for path in without_litter(folder)]
    except OSError:
        return "nothing that can be read"
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "nothing"


def _deeper(folder: Path) -> str:
    """A hint at images that lie one folder further down."""
    try:
        inner = [path for path in without_litter(folder) if path.is_dir()]
        holding = next((path for path in inner if image_files(path)), None)
    except (OSError, DataError):
        return ""
    return f"; there are some in {holding.name}/: end the path with /*" if holding else ""


def sample_id(folder: Path, path: Path) -> str:
    """The path of a file relative to the category folder, with forward slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()
