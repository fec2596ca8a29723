"""`python -m harness.data labels check`: what a folder of part labels calls things, and how often.

With `write`, the names are declared once and for all, in `labels.yaml`: of names that look like one, the
spelling that is used most; what is spelt otherwise is refused from then on, and named here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import yaml
from PIL import Image
from rich.table import Table

from harness.curate.partmasks import TO_LABEL
from harness.data.images import IMAGE_SUFFIXES, image_size
from harness.data.label_names import AS_BACKGROUND, BACKGROUND, DECLARED, IGNORE, alike, declared, unknown
from harness.data.labelme import Drawing, drawing, painted
from harness.data.labels import label_files
from harness.errors import DataError, nearest
from harness.whole import whole

OWN_WORDS = {IGNORE: "counts nowhere", **dict.fromkeys(AS_BACKGROUND, "background")}


@final
@dataclass
class Report:
    """What the labels of one category look like.

    Attributes:
        folder: where they lie.
        declared: names that the folder declares, or None.
        shapes: name -> how often each kind of shape has it ("index PNG" counts images).
        files: name -> files that use it.
        images: files with labels.
        drafts: LabelMe files without a shape.
        problems: what cannot be read or meant.
        doubts: what looks like a mistake.
    """

    folder: Path
    declared: tuple[str, ...] | None = None
    shapes: dict[str, Counter[str]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    images: int = 0
    drafts: int = 0
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """What `labels.yaml` should say: what is declared, or what is used, the usual spelling of each."""
        if self.declared is not None:
            return self.declared
        others = {rarer for rarer, _ in self.spellings}
        return (BACKGROUND, *sorted(self.files.keys() - others - OWN_WORDS.keys()))

    @property
    def spellings(self) -> list[tuple[str, str]]:
        """Names that look like one: (the rarer, the more frequent)."""
        used = {name: sum(kinds.values()) for name, kinds in self.shapes.items()}
        pairs = alike(used.keys() - OWN_WORDS.keys())
        return [(a, b) if (used[a], b) < (used[b], a) else (b, a) for a, b in pairs]

    def count(self, name: str, kind: str, file: str) -> None:
        """Note that a file uses a name."""
        self.shapes.setdefault(name, Counter())[kind] += 1
        known = self.files.setdefault(name, [])
        if file not in known:
            known.append(file)


def folders_of(root: Path, categories: Sequence[str]) -> list[Path]:
    """The folders of label files: `root` itself if there are some in it, else those below it.

    Raises:
        DataError: no such folder, or no such category in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    below = [p for p in sorted(root.iterdir()) if p.is_dir() and p.name != TO_LABEL and label_files(p)]
    here = any(path.parent == root for path in label_files(root).values())
    if here and not categories:
        return [root]
    known = [p.name for p in below]
    for name in categories:
        if name not in known:
            raise DataError(
                f"{root}: no labels of {name!r}{nearest(name, known)}; there are: {', '.join(known)}"
            )
    if not below:
        raise DataError(f"{root}: neither LabelMe files nor index PNGs in it or its folders")
    return [p for p in below if not categories or p.name in categories]


def look_over(folder: Path) -> Report:
    """Read every label file of a category."""
    report = Report(folder)
    try:
        report.declared = declared(folder)
    except DataError as error:
        report.problems.append(str(error))
    for path in label_files(folder).values():
        try:
            _take(path, report)
        except DataError as error:
            report.problems += str(error).splitlines()
    _judge(report)
    return report


def _take(path: Path, report: Report) -> None:
    if path.suffix == ".png":
        _take_indexed(path, report)
        return
    found = drawing(path)
    if found is None:
        report.doubts.append(f"{path}: not a LabelMe file, but of many images (COCO); it is passed over")
        return
    report.images += bool(found.shapes)
    report.drafts += not found.shapes
    for shape in found.shapes:
        report.count(shape.label, shape.kind, path.name)
    _check_pixels(found)


def _check_pixels(found: Drawing) -> None:
    """Paint it, at the size of the picture beside it; without one, at the size that it states."""
    beside = (found.path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)
    picture = next((path for path in beside if path.is_file()), None)
    size = image_size(picture) if picture else None
    if size is not None and found.shapes:
        painted(found, {shape.label: 1 for shape in found.shapes}, size)


def _take_indexed(path: Path, report: Report) -> None:
    if report.declared is None:
        raise DataError(f"{path}: an index PNG, whose numbers {DECLARED} or part_classes.json has to name")
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1"):
                raise DataError(f"{path}: an index PNG has one channel, this is {image.mode}")
            values = np.flatnonzero(np.bincount(np.asarray(image).astype(np.uint8).ravel()))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image ({error})") from error
    report.images += 1
    for value in values.tolist():
        if value >= len(report.declared):
            raise DataError(f"{path}: label {value}, but only {len(report.declared)} labels have names")
        report.count(report.declared[value], "index PNG", path.name)


def _judge(report: Report) -> None:
    """Names against what is declared, or against each other."""
    if report.declared is not None:
        for name in report.files.keys() - {*report.declared, *OWN_WORDS}:
            report.problems.append(
                f"{report.folder}: {unknown(name, report.declared)}; in {_some(report.files[name])}"
            )
        unused = [name for name in report.declared[1:] if name not in report.files]
        report.doubts += [f"{report.folder}: {name!r} is declared, and in no file" for name in unused]
        return
    for rarer, usual in report.spellings:
        report.problems.append(
            f"{report.folder}: {rarer!r} ({_some(report.files[rarer])}) looks like {usual!r} "
            f"({_some(report.files[usual])})"
        )


def _some(files: Sequence[str]) -> str:
    return ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def heading(report: Report) -> str:
    """How many images have labels."""
    drafts = f", {report.drafts} still without a shape" if report.drafts else ""
    return f"{report.folder}: {report.images} labelled images{drafts}"


def table(report: Report) -> Table:
    """Names with numbers and counts."""
    found = Table()
    for column in ("label", "number", "images", "shapes"):
        found.add_column(column, justify="left" if column in ("label", "shapes") else "right")
    numbers = {name: str(i) for i, name in enumerate(report.names)}
    for name in [*numbers, *sorted(report.files.keys() - numbers.keys())]:
        kinds = ", ".join(f"{n} {kind}" for kind, n in report.shapes.get(name, Counter()).most_common())
        number = numbers.get(name, OWN_WORDS.get(name, "?"))
        found.add_row(name, number, str(len(report.files.get(name, ()))), kinds)
    return found


def write(report: Report) -> Path:
    """Declare the names of a report in `labels.yaml`; the file.

    Raises:
        DataError: there are no names to declare, or it cannot be written.
    """
    path = report.folder / DECLARED
    if len(report.names) < 2:
        raise DataError(f"{report.folder}: no label is used yet; there is nothing to declare")
    content: Mapping[str, Sequence[str]] = {"classes": list(report.names)}
    try:
        with whole(path) as partial:
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            partial.write_text(
                f"# Part labels, the background first; their order gives their numbers.\n{text}"
            )
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    return path
