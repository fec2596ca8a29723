"""Part labels of whole data sets in a folder: what any tool that segments leaves of every image.

    <folder>/<category>/labels.yaml           names of the labels, background first: {classes: [...]}
    <folder>/<category>/part_classes.json     the same as a list; one of the two has to be there
    <folder>/<category>/labels.json           optional: {"marks": ["stand-in parts"]}
    <folder>/<category>/train/good/000.png    of the image train/good/000.png, and so every other one

A PNG holds label numbers, one channel, at the native size of its image, at the path that the image has below
its category; only the suffix may differ. Nothing is guessed: a test image and a training image often share a
name.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from harness.data.digest import file_digest
from harness.data.label_names import CLASSES, DECLARED, declared
from harness.data.labels import ABOUT, Labels, marks_of, read_labels
from harness.data.litter import is_litter
from harness.errors import DataError, nearest

CHECK = "`python -m harness.data segments` checks all of them"


@final
@dataclass(frozen=True)
class Segments:
    """The label maps of one category.

    Attributes:
        folder: where they lie.
        classes: names of the labels; 0 is the background.
        marks: what tables must say of numbers made with them.
    """

    folder: Path
    classes: tuple[str, ...]
    marks: tuple[str, ...] = ()

    @cached_property
    def files(self) -> dict[str, Path]:
        """Path below the folder without suffix -> file."""
        found = [p for p in sorted(self.folder.rglob("*.png")) if not self._hidden(p)]
        return {p.relative_to(self.folder).with_suffix("").as_posix(): p for p in found}

    @cached_property
    def sha256(self) -> str:
        """Content hash over names, classes and files.

        Raises:
            DataError: a file cannot be read.
        """
        lines = [[name, file_digest(path)] for name, path in self.files.items()]
        return hashlib.sha256(json.dumps([self.classes, lines]).encode()).hexdigest()

    def of(self, image: str) -> Path:
        """The map of the image with this id (a path below the category).

        Raises:
            DataError: there is none.
        """
        name = Path(image).with_suffix("").as_posix()
        path = self.folder / f"{name}.png"
        if not path.is_file():
            raise DataError(f"{path}: missing, the label map of {image}{nearest(name, self.files)}; {CHECK}")
        return path

    def read(self, image: str, size: tuple[int, int]) -> Labels:
        """The label map of an image, uint8 (height, width).

        Args:
            image: its id.
            size: (height, width) of it.

        Raises:
            DataError: missing, unreadable, of another size, or with numbers that have no name.
        """
        return read_labels(self.of(image), self.classes, size)

    def _hidden(self, path: Path) -> bool:
        return any(is_litter(Path(part)) for part in path.relative_to(self.folder).parts)


def find_segments(root: Path, category: str) -> Segments | None:
    """The label maps of a category below `root`; None if there is no folder.

    A sub-type ("juice_bottle/cherry") without a folder of its own shares that of its category.

    Raises:
        DataError: nothing says what the numbers mean.
    """
    folder = next((f for f in (root / category, root / category.partition("/")[0]) if f.is_dir()), None)
    if folder is None:
        return None
    classes = declared(folder)
    if classes is None or len(classes) < 2:
        raise DataError(f"{folder / DECLARED}: missing or empty; it, or {CLASSES}, names the label numbers")
    return Segments(folder, classes, marks_of(folder / ABOUT))
