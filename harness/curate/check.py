"""Looks a data set over: what is there, what is wrong, what differs from the official archive."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from harness.curate.values import Look, look, odd, span, turned
from harness.data.images import decode
from harness.data.samples import GOOD, LOGICAL, STRUCTURAL, UNLABELLED, Sample, Split
from harness.datasets import DATASETS
from harness.datasets.drawn import sketched
from harness.datasets.record import DataSet, Inspection
from harness.errors import DataError
from harness.metrics import METRICS
from harness.metrics.defined import undefined

NAMED = 6  # categories in a note
Progress = Callable[[int, int], None]
_SKETCH = "{}: a sketch of {}, drawn by Ladder: its counts are no archive's, its numbers are demo data"


@final
@dataclass(frozen=True)
class Report:
    """What `check` found.

    Attributes:
        dataset: the data set it was read as.
        found: category -> inspection.
        problems: what has to be mended, one sentence each.
        notes: what is unusual but accepted.
        values: category -> range of the numbers in its image files; empty unless they were decoded.
    """

    dataset: DataSet
    found: dict[str, Inspection]
    problems: Sequence[str]
    notes: Sequence[str]
    values: Mapping[str, str] = field(default_factory=dict)


def guess(root: Path) -> DataSet:
    """The data set that the folder looks like; "folder" if it is none that has a name.

    Raises:
        DataError: no such folder, or it cannot be read.
    """
    first = ("demo", "mvtec_loco", "mvtec_ad")
    others = [name for name in DATASETS if name not in (*first, "folder")]
    named = (DATASETS.load(name) for name in (*first, *others, "folder"))
    try:
        if root.is_dir():
            if (name := sketched(root)) in DATASETS:
                return DATASETS.load(name)
            return next(dataset for dataset in named if dataset.recognise(root))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    raise DataError(f"{root}: no such folder")


def check(
    root: Path, dataset: DataSet, options: Any = None, deep: bool = False, progress: Progress | None = None
) -> Report:
    """Everything that is wrong with a data set, all categories and sub-categories.

    Args:
        root: its folder.
        dataset: what to read it as.
        options: of the data set.
        deep: decode every image and part mask, and look at their values.
        progress: called with (images decoded, images in all).

    Raises:
        DataError: no category at all below `root`, or an unreadable sub-type manifest.
    """
    names = dataset.names(root, options)
    found = {category: dataset.inspect(root, category, options) for category in names.known}
    problems = [problem for inspection in found.values() for problem in inspection.problems]
    whole = {category: found[category].split for category in names.whole}
    notes = [_SKETCH.format(root, sketched(root))] if sketched(root) else []
    notes += [note for category in names.whole for note in found[category].notes]
    notes += [note for category, split in whole.items() for note in turned(category, _all(split))]
    notes += _without_value(dataset, whole)
    looks, undecodable = decoded(whole, progress) if deep else ({}, [])
    problems += undecodable
    notes += [note for category, seen in looks.items() for note in odd(category, seen)]
    notes += _absent(dataset, whole)
    spans = {category: span(list(seen.values())) for category, seen in looks.items()}
    return Report(dataset, found, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(notes)), spans)


def _totals(dataset: DataSet, splits: Sequence[Split]) -> list[str]:
    """Where all categories are there: which splits are not as large as the official archive's."""
    found = sum(map(counts_of, splits), Counter[str]())
    seen = [name for name in dataset.totals if not name.startswith("test") or found[name]]
    return [
        f"{name}: {found[name]:,} images in all categories together (archive: {dataset.totals[name]:,})"
        for name in seen
        if found[name] != dataset.totals[name]
    ]


def _absent(dataset: DataSet, whole: Mapping[str, Split]) -> list[str]:
    """What the official archive has more or less of: categories, or images where all of those are here."""
    absent = [category for category in dataset.counts if category not in whole]
    if absent:
        return [f"categories of the official archive that are not here: {', '.join(absent)}"]
    return _totals(dataset, list(whole.values()))


def _without_value(dataset: DataSet, whole: Mapping[str, Split]) -> list[str]:
    """Which metrics these test sets cannot have, and why; categories with the same reason together."""
    places: dict[str, list[str]] = {}
    # no validation images, and images that are no views of products, are mostly nothing odd
    validated = any("validation" in counts for counts in (dataset.totals, *dataset.counts.values()))
    for category, split in whole.items():
        masks = any(sample.masks for sample in split.test)
        views = any(sample.view_of for sample in split.test)
        names = [name for name in METRICS if views or METRICS.load(name).kind != "sample"]
        validation = bool(split.validation) or not validated
        for why in undefined([s.label for s in split.test], masks, names, validation):
            places.setdefault(why, []).append(category)
    return [f"{_several(categories)}: {why}" for why, categories in places.items()]


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def decoded(
    splits: Mapping[str, Split], progress: Progress | None = None
) -> tuple[dict[str, dict[Sample, Look]], list[str]]:
    """Every image and part mask decoded: category -> image -> what it is like, and what cannot be decoded."""
    images = [(category, sample) for category, split in splits.items() for sample in _all(split)]
    parts = [path for split in splits.values() for path in split.part_masks.values()]
    looks: dict[str, dict[Sample, Look]] = {category: {} for category in splits}
    problems: list[str] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = chain(pool.map(_looked, (sample for _, sample in images)), pool.map(_undecodable, parts))
        for done, result in enumerate(found, start=1):
            if isinstance(result, Look):
                category, sample = images[done - 1]
                looks[category][sample] = result
            elif result:
                problems.append(result)
            if progress:
                progress(done, len(images) + len(parts))
    return looks, problems


def _looked(sample: Sample) -> Look | str:
    try:
        return look(sample)
    except DataError as error:
        return str(error)


def _undecodable(path: Path) -> str:
    try:
        decode(path)
    except DataError as error:
        return str(error)
    return ""


def _all(split: Split) -> tuple[Sample, ...]:
    return split.train + split.validation + split.test


def table(report: Report) -> Table:
    """Images per split and label of every category; "100/335" where the official archive has 335."""
    splits = {category: inspection.split for category, inspection in report.found.items()}
    labels = {sample.label for split in splits.values() for sample in split.test}
    unlabelled, labels = UNLABELLED in labels, labels - {GOOD, UNLABELLED}
    known = [label for label in (LOGICAL, STRUCTURAL) if label in labels]
    anomalous = [f"test {label}" for label in known] if labels <= set(known) else ["test anomalous"]
    columns = ["train", "validation", "test good", *anomalous, "masks"]
    columns += [f"test {UNLABELLED}"] if unlabelled else []
    columns += ["parts"] if any(split.part_masks for split in splits.values()) else []
    shown = Table(
        title=f"{report.dataset.title} ({report.dataset.licence})", title_justify="left", box=SIMPLE_HEAD
    )
    shown.add_column("category", no_wrap=True)
    for column in columns:
        shown.add_column(column.removeprefix("test "), justify="right")
    if report.values:
        shown.add_column("values", no_wrap=True, justify="right")
    shown.add_column("state", no_wrap=True)
    for category, split in splits.items():
        counts, expected = counts_of(split), report.dataset.counts.get(category, {})
        cells = [_cell(counts[column], expected.get(column)) for column in columns]
        cells += [report.values.get(category, "")] if report.values else []
        wrong = len(report.found[category].problems)
        shown.add_row(category, *cells, f"[red]{wrong} wrong[/]" if wrong else "ok")
    return shown


def _cell(count: int, expected: int | None) -> str:
    return str(count) if expected in (None, count) else f"{count}/{expected}"


def counts_of(split: Split) -> Counter[str]:
    """Images per split, those of the test split by label and as "test anomalous"; masks and part masks."""
    test = Counter(f"test {sample.label}" for sample in split.test)
    test["test anomalous"] = len(split.test) - test["test good"] - test[f"test {UNLABELLED}"]
    groups = {"train": len(split.train), "validation": len(split.validation), "all": len(_all(split))}
    masks = {"masks": sum(len(s.masks) for s in split.test), "parts": len(split.part_masks)}
    return Counter(groups | masks) + test
