"""Behind `python -m harness.data`: draw, validate, describe and label data sets."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness.curate.arguments import parser
from harness.errors import ConfigError, DataError, HarnessError

if TYPE_CHECKING:
    from harness.registry import Registry

WIDTH = 110  # columns of a table that is written to a file


def main(segmenters: "Registry", argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 (all well), 1 (done, with reservations), 2 (wrong input) or 130.

    Args:
        segmenters: the methods, some of which segment; the front door hands them in.
        argv: the command line.
    """
    arguments = parser().parse_args(argv)
    commands = {
        "demo": demo,
        "sketch": sketch,
        "check": check,
        "subtypes": subtypes,
        "partmasks": partial(partmasks, segmenters),
        "labels": labels,
        "segments": segments,
    }
    try:
        return commands[arguments.command](arguments)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def demo(arguments: argparse.Namespace) -> int:
    """Draw the demo data set."""
    from harness.datasets.demo import generate, preview

    asked = ("size", "train", "validation", "good", "logical", "structural", "categories", "seed", "workers")
    given = {name: getattr(arguments, name) for name in asked if getattr(arguments, name) is not None}
    try:
        with _Bar("drawing") as bar:
            generate(arguments.out, **given, progress=bar.update)
    except OSError as error:
        why = error.strerror or error
        raise DataError(f"{error.filename or arguments.out}: cannot be written ({why})") from error
    print(f"demo data set in {arguments.out}")
    if arguments.preview:
        preview(arguments.out, arguments.preview)
        print(f"preview in {arguments.preview}")
    return 0


def sketch(arguments: argparse.Namespace) -> int:
    """Draw a tiny copy of the layout of a data set."""
    from harness.curate.sketch import sketch as draw
    from harness.datasets import DATASETS
    from harness.datasets.easel import Easel

    dataset = DATASETS.load(arguments.name)
    draw(dataset, Easel(arguments.out, arguments.train, arguments.test, tuple(arguments.categories)))
    print(f"sketch of {dataset.name} in {arguments.out}; numbers on it are marked as demo data")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Say what is in a data set and what is wrong with it."""
    from harness.curate.check import check as look_over
    from harness.curate.check import table

    dataset = _dataset(arguments)
    with _Bar("decoding") as bar:
        report = look_over(arguments.root, dataset, _options(dataset, arguments), arguments.deep, bar.update)
    problems = [*report.problems, *_archive(dataset, arguments.archive)]
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table(report))
    _told(report.notes, problems)
    what = f"{len(problems)} problem(s)" if problems else "nothing wrong"
    print(f"{arguments.root}, read as {dataset.name}: {what}")
    return 2 if problems else 0


def _archive(dataset: Any, path: Path | None) -> list[str]:
    from harness.data.digest import file_digest

    if path is None:
        return []
    known = {**dataset.archives, **({dataset.archive: dataset.sha256} if dataset.sha256 else {})}
    if not known:
        return [f"{path}: there is no official archive of {dataset.name} to compare with"]
    found = file_digest(path)
    meant = {path.name: known[path.name]} if path.name in known else known
    others = "; ".join(f"{name} has {sha256}" for name, sha256 in meant.items())
    return [] if found in known.values() else [f"{path}: sha256 {found}, but {others}"]


def subtypes(arguments: argparse.Namespace) -> int:
    """Propose the product type of every image of a category by colour, for review."""
    from harness.curate.derive import derive
    from harness.curate.sheet import review_sheet
    from harness.data.subtypes import write_manifest

    if "/" in arguments.category:
        raise ConfigError(f"--category {arguments.category}: a whole category is divided, not a part of one")
    dataset = _dataset(arguments)
    split = dataset.read(arguments.root, arguments.category, _options(dataset, arguments))
    recipe = _recipe(arguments)
    proposal = derive(split, recipe, arguments.out)
    write_manifest(proposal.manifest)
    for name, sizes in proposal.sizes.items():
        print(f"{split.category}/{name}: " + ", ".join(f"{n} {group}" for group, n in sizes.items()))
    print(f"{len(proposal.ambiguous)} ambiguous: {', '.join(proposal.ambiguous) or 'none'}")
    print(f"manifest in {arguments.out}; please review it before it is used")
    if arguments.preview:
        review_sheet(split, proposal, recipe, arguments.preview)
        print(f"sheet in {arguments.preview}")
    return _compare(proposal.manifest, split.category) if arguments.check else 0


def partmasks(segmenters: "Registry", arguments: argparse.Namespace) -> int:
    """Propose part labels of a category by a method that segments, and pick the images worth labelling."""
    from harness.curate.partmasks import Segmenter, propose

    dataset = _dataset(arguments)
    split = dataset.read(arguments.root, arguments.category, _options(dataset, arguments))
    params = _pairs(arguments.param)
    method = None if arguments.method == "none" else Segmenter(segmenters, arguments.method, params)
    with _Bar("segmenting") as bar:
        found = propose(
            split, arguments.out, method, arguments.shots, arguments.seed, arguments.pick, bar.update
        )
    if found.masks:
        print(f"stand-in labels in {found.masks}: {', '.join(found.classes)}")
        print(f"use them with labels_dir: {arguments.out}; tables mark them as stand-in labels")
    print(f"worth labelling (LabelMe) in {found.to_label}: {', '.join(found.picked)}")
    print(f"then use them with labels_dir: {found.to_label.parent}")
    return 0


def labels(arguments: argparse.Namespace) -> int:
    """Say how the parts of labelled images are called, and declare it if asked to."""
    from harness.curate import partlabels

    reports = [partlabels.look_over(f) for f in partlabels.folders_of(arguments.folder, arguments.category)]
    for report in reports:
        print(partlabels.heading(report))
        Console(width=None if sys.stdout.isatty() else WIDTH).print(partlabels.table(report))
        _told(report.doubts, report.problems)
        if arguments.write:
            print(f"written: {partlabels.write(report)}" if report.declared is None else "declared already")
    problems = sum(len(report.problems) for report in reports)
    print(f"{arguments.folder}: {f'{problems} problem(s)' if problems else 'nothing wrong'}")
    return 2 if problems else 0


def segments(arguments: argparse.Namespace) -> int:
    """Say whether a folder has a label map of every image, and what is wrong with them."""
    from harness.curate import segments as maps

    dataset = _dataset(arguments)
    options = _options(dataset, arguments)
    with _Bar("reading") as bar:
        reports = maps.look_over(
            arguments.maps, arguments.root, dataset, options, arguments.category, bar.update
        )
    for report in reports:
        print(maps.heading(report))
        Console(width=None if sys.stdout.isatty() else WIDTH).print(maps.table(report))
        _told(report.doubts, report.problems)
    problems = sum(len(report.problems) for report in reports)
    print(f"{arguments.maps}: {f'{problems} problem(s)' if problems else 'nothing wrong'}")
    return 2 if problems else 0


def _told(notes: Sequence[str], problems: Sequence[str]) -> None:
    for kind, lines in (("note", notes), ("problem", problems)):
        for line in lines:
            print(f"{kind}: {line}")


def _pairs(texts: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE words; values are YAML."""
    return dict(map(_pair, texts))


def _pair(text: str) -> tuple[str, Any]:
    from harness.document import NotYaml, parse

    key, sign, value = text.partition("=")
    if not (key and sign):
        raise ConfigError(f"{text[:200]!r} on the command line is not KEY=VALUE")
    try:
        return key, parse(value)
    except NotYaml as error:
        raise ConfigError(f"{key}: {value[:200]!r} is not valid YAML ({error})") from error


def _compare(manifest: Any, category: str) -> int:
    from harness.curate.derive import agreement, published_groups

    groups = published_groups(category)
    if not groups:
        raise DataError(
            f"--check: no published grouping of {category}; there is one of LOCO's bottles and connectors"
        )
    found = agreement(manifest, category, groups)
    print(f"published grouping of the training images (PSAD): {found.agreed} of {found.compared} agree")
    for image in found.differing:
        print(f"differs: {image}")
    return 0 if found.compared and not found.differing else 1


def _dataset(arguments: argparse.Namespace) -> Any:
    from harness.curate.check import guess
    from harness.datasets import DATASETS

    return DATASETS.load(arguments.dataset) if arguments.dataset else guess(arguments.root)


def _options(dataset: Any, arguments: argparse.Namespace) -> Any:
    from dataclasses import fields

    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(dataset.Options).validate_python(_pairs(arguments.option))
    except ValidationError as error:
        allowed = ", ".join(field.name for field in fields(dataset.Options))
        said = [
            (".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()
        ]
        lines = [f"--option {key}: {text}" for key, text in said]
        raise ConfigError([*lines, f"options of {dataset.name}: {allowed}"]) from error


def _recipe(arguments: argparse.Namespace) -> Any:
    from dataclasses import replace

    from harness.curate.derive import COLOUR_RULES, ColourRule

    known = COLOUR_RULES.get(arguments.category)
    regions = tuple(arguments.region) or (known.regions if known else ())
    names = tuple(arguments.names or ())
    k = arguments.k or len(names) or (known.k if known else 3)
    if known and not names and k == known.k:
        return replace(known, regions=regions, pixels=arguments.pixels or known.pixels, seed=arguments.seed)
    return ColourRule(regions, k, arguments.pixels or "all", names=names, seed=arguments.seed)


class _Bar:
    """A progress bar that appears with the first step; on no terminal, nothing but the end is printed."""

    def __init__(self, what: str):
        self.what, self.task = what, None
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True))

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *failure: object) -> None:
        self.progress.stop()

    def update(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if self.task is None:
            self.task = self.progress.add_task(self.what, total=total)
            self.progress.start()
        self.progress.update(self.task, completed=done)
