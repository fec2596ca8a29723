"""Part labels in a folder: index PNGs or LabelMe files, drawn by a person or proposed by a method.

    <folder>/<category>/labels.yaml           names of the labels, background first: {classes: [...]}
    <folder>/<category>/part_classes.json     the same as a list; index PNGs need one of the two
    <folder>/<category>/labels.json           optional: {"by": "clip_lad", "marks": ["stand-in labels"]}
    <folder>/<category>/000.png | 000.json    of the image whose id ends so: train/good/000.png

A PNG holds label numbers at the native size of its image. Beside a LabelMe file of the same name a PNG is
taken for the picture that was labelled; a LabelMe file without shapes is a draft and does not count, nor
does what the system or an editor hides in the folder. LabelMe files alone may do without declared names:
then there are those that are used, as long as no two of them look like one.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.data.digest import file_digest
from harness.data.images import image_size
from harness.data.label_names import CLASSES, DECLARED, declared, numbers, undeclared, unknown
from harness.data.labelme import IGNORED, Drawing, drawing, json_in, painted
from harness.data.litter import is_litter
from harness.errors import DataError

ABOUT = "labels.json"
STAND_IN = "stand-in labels"
Labels = NDArray[np.uint8]

__all__ = ["ABOUT", "CLASSES", "IGNORED", "STAND_IN", "LabelFolder", "Labels", "find_labels", "read_labels"]


@final
@dataclass(frozen=True)
class LabelFolder:
    """The labels of one category.

    Attributes:
        folder: where they lie.
        files: path below the folder without suffix -> index PNG or LabelMe file.
        classes: names of the labels; 0 is the background.
        marks: what tables must say of numbers made with them.
    """

    folder: Path
    files: Mapping[str, Path]
    classes: tuple[str, ...]
    marks: tuple[str, ...] = ()

    def of(self, image: str) -> Path | None:
        """The file that labels the image with this id (a path below the category), or None."""
        steps = Path(image).with_suffix("").parts
        names = ("/".join(steps[i:]) for i in range(len(steps)))
        return next((self.files[name] for name in names if name in self.files), None)

    @property
    def sha256(self) -> str:
        """Content hash over names, classes and files.

        Raises:
            DataError: a file cannot be read.
        """
        lines = [[name, file_digest(path)] for name, path in sorted(self.files.items())]
        return hashlib.sha256(json.dumps([self.classes, lines]).encode()).hexdigest()


def find_labels(root: Path, category: str) -> LabelFolder | None:
    """The labels of a category below `root`; None if there are none.

    A sub-type ("juice_bottle/cherry") without a folder of its own shares that of its category.

    Raises:
        DataError: files that say nothing usable, index PNGs without names, names that are not declared or
            look like one; all of them.
    """
    folder = next((f for f in (root / category, root / category.partition("/")[0]) if f.is_dir()), None)
    if folder is None:
        return None
    files = label_files(folder)
    drawn = _drawings(files.values())
    files = {name: p for name, p in files.items() if p.suffix == ".png" or (p in drawn and drawn[p].shapes)}
    if not files:
        return None
    return LabelFolder(folder, files, _classes(folder, files.values(), drawn), marks_of(folder / ABOUT))


def label_files(folder: Path) -> dict[str, Path]:
    """Index PNGs and JSON files in a category's folder and below, by their path without suffix."""
    found = [p for p in sorted(folder.rglob("*")) if not _hidden(p.relative_to(folder))]
    drawn = [p for p in found if p.suffix == ".json" and p.name not in (CLASSES, ABOUT)]
    pictures = [p for p in found if p.suffix == ".png" and not p.with_suffix(".json").is_file()]
    return {p.relative_to(folder).with_suffix("").as_posix(): p for p in (*pictures, *drawn)}


def _hidden(path: Path) -> bool:
    return any(is_litter(Path(part)) for part in path.parts)


def _drawings(files: Iterable[Path]) -> dict[Path, Drawing]:
    """Those of LabelMe files."""
    found, problems = dict[Path, Drawing](), []
    for path in files:
        try:
            if path.suffix == ".json" and (read := drawing(path)) is not None:
                found[path] = read
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return found


def _classes(folder: Path, files: Iterable[Path], drawn: Mapping[Path, Drawing]) -> tuple[str, ...]:
    names = declared(folder)
    if names is not None:
        if problems := list(_undeclared(drawn.values(), names)):
            raise DataError("\n".join(problems))
        return names
    if indexed := [p for p in files if p.suffix == ".png"]:
        which = f"it, or {DECLARED}, names the label numbers of {indexed[0].name} and others"
        raise DataError(f"{folder / CLASSES}: missing; {which}")
    try:
        return undeclared(used(drawn.values()))
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error


def used(drawn: Iterable[Drawing]) -> dict[str, list[str]]:
    """Where every name is used: "000.json, shape 3"."""
    places = defaultdict(list)
    for one in drawn:
        for shape in one.shapes:
            places[shape.label].append(f"{one.path.name}, shape {shape.number}")
    return dict(places)


def _undeclared(drawn: Iterable[Drawing], classes: Sequence[str]) -> Iterator[str]:
    known = numbers(classes)
    for one in drawn:
        for shape in (shape for shape in one.shapes if shape.label not in known):
            yield f"{one.path}: shape {shape.number}: {unknown(shape.label, classes)}"


def read_labels(path: Path, classes: Sequence[str], size: tuple[int, int]) -> Labels:
    """One label map at native size, uint8 (height, width); `IGNORED` where a drawing says `__ignore__`.

    Args:
        path: index PNG, or LabelMe file (see `harness.data.labelme`; later shapes lie on top).
        classes: names of the labels.
        size: (height, width) of the image.

    Raises:
        DataError: unreadable, of another size, or with labels that have no name.
    """
    if path.suffix != ".json":
        return check_labels(_indexed(path, size), classes, str(path))
    found = drawing(path)
    if found is None:
        raise DataError(f"{path}: not a LabelMe file (no list `shapes`)")
    if problems := list(_undeclared([found], classes)):
        raise DataError("\n".join(problems))
    return painted(found, numbers(classes), size)


def check_label_file(path: Path, classes: Sequence[str], image: Path) -> None:
    """Read the labels of an image to see whether they can be read; asked again, only the files' times are.

    Raises:
        DataError: see `read_labels`; or the image cannot be read.
    """
    try:
        stamps = [(stat.st_mtime_ns, stat.st_size) for stat in (path.stat(), image.stat())]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    _checked(path, tuple(classes), image, *stamps)


@lru_cache(maxsize=1 << 16)
def _checked(path: Path, classes: tuple[str, ...], image: Path, *stamps: tuple[int, int]) -> None:
    del stamps  # part of the cache's key only
    read_labels(path, classes, image_size(image))


def check_labels(labels: Labels, classes: Sequence[str], what: str) -> Labels:
    """`labels` as they are.

    Raises:
        DataError: a value without a name.
    """
    if (highest := int(labels.max(initial=0))) >= len(classes):
        raise DataError(f"{what}: label {highest}, but only {len(classes)} labels have names ({CLASSES})")
    return labels


def marks_of(path: Path) -> tuple[str, ...]:
    """What a file `labels.json` says that tables must say of numbers made with its labels."""
    about = json_in(path) if path.is_file() else {}
    return tuple(about.get("marks", ())) if isinstance(about, dict) else ()


def _indexed(path: Path, size: tuple[int, int]) -> Labels:
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1"):
                raise DataError(
                    f"{path}: an index PNG has one channel of label numbers, this is {image.mode}"
                )
            if image.size != size[::-1]:  # before it is decoded: a small file can be a huge picture
                raise DataError(f"{path}: {image.size} pixels, but its image has {size[::-1]}")
            return np.asarray(image).astype(np.uint8)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image ({error})") from error
