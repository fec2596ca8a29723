"""`python -m harness.data segments`: whether another tool's label maps are whole, and fit their images."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from rich.table import Table

from harness.data import Sample
from harness.data.images import image_size
from harness.data.segments import Segments, find_segments
from harness.datasets.record import DataSet
from harness.errors import DataError, nearest

Progress = Callable[[int, int], None]
SHOWN = 3  # names in a line


@final
@dataclass
class Report:
    """What the maps of one category look like.

    Attributes:
        segments: the maps.
        category: of the data set.
        images: how many it has.
        pixels: of every class, over all maps that could be read.
        used: in how many of them a class is.
        problems: what has to be mended.
        doubts: what looks like a mistake.
    """

    segments: Segments
    category: str
    images: int
    pixels: Counter[int] = field(default_factory=Counter)
    used: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def look_over(
    maps: Path, root: Path, dataset: DataSet, options: Any, categories: Sequence[str], progress: Progress
) -> list[Report]:
    """Read the map of every image of every category that `maps` has a folder of.

    Args:
        maps: the folder of label maps.
        root: of the data set.
        dataset: what it is read as.
        options: of the data set.
        categories: only these; empty for all.
        progress: called with (maps read, maps in all).

    Raises:
        DataError: no such folder, no such category, or one of `categories` has no maps.
    """
    known = dataset.names(root, options).whole
    names = [name for name in known if not categories or name in categories]
    if unknown := [name for name in categories if name not in known]:
        close = nearest(unknown[0], known)
        raise DataError(f"{root}: no category {unknown[0]!r}{close}; there are: {', '.join(known)}")
    found = {name: find_segments(maps, name) for name in names}
    if absent := [name for name in names if found[name] is None and (categories or not any(found.values()))]:
        raise DataError(f"{maps}: no label maps of {', '.join(absent)}")
    return _all({name: one for name, one in found.items() if one}, root, dataset, options, progress)


def _all(
    found: dict[str, Segments], root: Path, dataset: DataSet, options: Any, progress: Progress
) -> list[Report]:
    splits = {name: dataset.read(root, name, options) for name in found}
    samples = {name: (*s.train, *s.validation, *s.test) for name, s in splits.items()}
    total, done, reports = sum(map(len, samples.values())), 0, []
    for name, segments in found.items():
        report = Report(segments, name, len(samples[name]))
        for sample in samples[name]:
            _take(sample, report)
            done += 1
            progress(done, total)
        _judge(report, samples[name])
        reports.append(report)
    return reports


def _take(sample: Sample, report: Report) -> None:
    try:
        labels = report.segments.read(sample.id, image_size(sample.path))
    except DataError as error:
        report.problems.append(str(error))
        return
    counts = np.bincount(labels.ravel(), minlength=len(report.segments.classes))
    report.pixels.update({i: int(n) for i, n in enumerate(counts)})
    report.used.update(np.flatnonzero(counts).tolist())


def _judge(report: Report, samples: Sequence[Sample]) -> None:
    """Maps of no image, and classes that are nowhere."""
    wanted = {Path(sample.id).with_suffix("").as_posix() for sample in samples}
    if idle := [name for name in report.segments.files if name not in wanted]:
        shown = ", ".join(idle[:SHOWN]) + (", …" if len(idle) > SHOWN else "")
        report.doubts.append(f"{report.segments.folder}: {len(idle)} maps of no image: {shown}")
    names = report.segments.classes
    nowhere = [name for i, name in enumerate(names) if i and not report.used[i]]
    report.doubts += [f"{report.segments.folder}: {name!r} is in no map" for name in nowhere]


def heading(report: Report) -> str:
    """How many images have maps."""
    whole = report.images - len(report.problems)
    return f"{report.segments.folder}: maps of {whole} of {report.images} images of {report.category}"


def table(report: Report) -> Table:
    """Classes, in how many maps they are, and their part of all pixels."""
    found, total = Table(), max(sum(report.pixels.values()), 1)
    for column in ("label", "number", "maps", "pixels"):
        found.add_column(column, justify="left" if column == "label" else "right")
    for i, name in enumerate(report.segments.classes):
        found.add_row(name, str(i), str(report.used[i]), f"{100 * report.pixels[i] / total:.2f} %")
    return found
