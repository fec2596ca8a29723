"""The tree that most data sets share, read once for all of them.

train/good/*.png   validation/good/*.png (or val/good)   test/<defect>/*.png
ground_truth/<defect>/<stem>_mask.png  or  <stem>.png  or  <stem>/*.png (one per region)
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import final

from harness.data.images import IMAGE_SUFFIXES, image_files
from harness.data.samples import GOOD, Sample
from harness.errors import DataError


@final
@dataclass(frozen=True)
class Layout:
    """Where a data set keeps what, relative to the category folder.

    Attributes:
        train: folder of normal training images.
        validation: folders of further normal images; the first that exists is taken.
        normal: folder of normal test images; may be absent.
        abnormal: folders of abnormal test images, the last name may be a pattern; `normal` is left out.
        masks: folder with one folder of masks per abnormal folder, by name; None if there are no masks.
        labels: abnormal folder name -> label of its samples; the name itself where it is not listed.
        masks_required: whether an abnormal image without a mask is a problem even if `masks` is absent.
    """

    train: str = "train/good"
    validation: tuple[str, ...] = ("validation/good", "val/good")
    normal: str = "test/good"
    abnormal: tuple[str, ...] = ("test/*",)
    masks: str | None = "ground_truth"
    labels: Mapping[str, str] = field(default_factory=dict)
    masks_required: bool = True


@final
@dataclass(frozen=True)
class Tree:
    """The samples of one category folder and what was wrong while reading it."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]
    problems: tuple[str, ...]


def read_tree(folder: Path, layout: Layout) -> Tree:
    """The samples of a category folder, sorted by path, and everything that is wrong; never raises."""
    problems: list[str] = []
    train = _samples(folder, folder / layout.train, GOOD, problems, required=True)
    validation = _samples(folder, _first(folder, layout.validation), GOOD, problems)
    normal = _samples(folder, folder / layout.normal, GOOD, problems)
    abnormal = [
        s for path in _abnormal(folder, layout, problems) for s in _defect(folder, path, layout, problems)
    ]
    if not normal and not abnormal:
        problems.append(f"{folder}: no test images ({layout.normal}, {', '.join(layout.abnormal)})")
    return Tree(train, validation, tuple(normal) + tuple(abnormal), tuple(problems))


def _samples(
    root: Path, folder: Path | None, label: str, problems: list[str], required: bool = False
) -> tuple[Sample, ...]:
    if folder is None or not (required or _there(folder)):
        return ()
    try:
        paths = image_files(folder)
    except DataError as error:
        problems.append(str(error))
        return ()
    if not paths:
        problems.append(f"{folder}: no images here (allowed: {', '.join(IMAGE_SUFFIXES)})")
    return tuple(Sample(sample_id(root, path), path, label) for path in paths)


def sample_id(folder: Path, path: Path) -> str:
    """The path of a file relative to the category folder, with forward slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if _there(folder / name)), None)


def _there(path: Path) -> bool:
    """Whether a path exists; one that may not be looked at does, so that reading it says why it fails."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _abnormal(folder: Path, layout: Layout, problems: list[str]) -> list[Path]:
    found = {path for pattern in layout.abnormal for path in _glob(folder, pattern, problems)}
    return sorted(found - {folder / layout.normal})


def _glob(folder: Path, pattern: str, problems: list[str]) -> list[Path]:
    path = folder / pattern
    if "*" not in path.name:
        return [path] if _there(path) else []
    try:
        found = [p for p in path.parent.iterdir() if fnmatchcase(p.name, path.name) and p.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"{path.parent}: cannot be read as a folder ({error.strerror})")
        return []
    return found


def _defect(folder: Path, images: Path, layout: Layout, problems: list[str]) -> list[Sample]:
    label = layout.labels.get(images.name, images.name)
    samples = _samples(folder, images, label, problems)
    masks = folder / layout.masks / images.name if layout.masks else None
    if masks is None or not (layout.masks_required or _there(masks.parent)):
        return list(samples)
    found = _masks(masks, problems)
    stems = {sample.path.stem for sample in samples}
    problems += [
        f"{path}: a mask without its image"
        for stem, paths in found.items()
        if stem not in stems
        for path in paths
    ]
    problems += [
        f"{s.path}: no mask for this image in {masks}" for s in samples if not found.get(s.path.stem)
    ]
    return [Sample(s.id, s.path, label, (), None, tuple(found.get(s.path.stem, ()))) for s in samples]


def _masks(folder: Path, problems: list[str]) -> dict[str, list[Path]]:
    """Stem of an image -> its mask files."""
    try:
        found: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()) if _there(folder) else []:
            if path.is_dir():
                found.setdefault(path.name, []).extend(image_files(path))
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                found.setdefault(path.stem.removesuffix("_mask"), []).append(path)
        return found
    except (OSError, DataError) as error:
        problems.append(
            str(error) if isinstance(error, DataError) else f"{folder}: cannot be read ({error.strerror})"
        )
        return {}
