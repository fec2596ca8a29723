"""`python -m reports diff A B`: cells that differ, cells that one run lacks, and what made the two.

A difference of AUROCs on the same test images has an interval and a p-value: what other images of the same
kind would change. Other metrics are compared as numbers.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import pandas as pd

from harness.addresses import local
from harness.errors import DataError, HarnessError
from harness.metrics.scale import PERCENT, Scale
from reports.frame.cells import SUBSETS, cells
from reports.frame.duplicates import TOLERANCE
from reports.frame.load import AUROC, Frame, agreed, load
from reports.frame.naming import measure_title, metric_of, setting_labels, shots_title, words
from reports.render.formats import FORMATS, write
from reports.render.markdown import render
from reports.report import Report, Section, state
from reports.stats import Difference, family, paired_auroc, score_table
from reports.stats.evidence import BOOTSTRAP, scores_of
from reports.tables.provenance import facts
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, statistic, text

PLACE = ["dataset", "measure", "subset", "variant", "shots", "category"]
CELL = ["dataset", "variant", "shots", "category"]
TESTED = 200  # at most so many differences get an interval: the largest
LISTED = 2000  # rows of a table at most; CSV has them all

Place = tuple[Any, ...]
Cells = dict[Place, Mapping[str, Any]]


def main(arguments: Sequence[str]) -> int:
    """Compare two runs; 0 if nothing differs, 1 if something does, 2 if a run is wrong or damaged."""
    options = _parser(list(FORMATS)).parse_args(arguments)
    try:
        frames = load([options.first]), load([options.second])
        report = compare(*frames)
        shown = shortened(report)
        if options.out:
            of_each = {name: make(report if name == "csv" else shown) for name, make in FORMATS.items()}
            write(options.out, {name: text for files in of_each.values() for name, text in files.items()})
    except HarnessError as error:
        print(f"reports diff: {error}", file=sys.stderr)
        return 2
    print(render(shown))
    for error in (error for frame in frames for error in frame.damage):
        print(f"reports diff: {error}", file=sys.stderr)
    if any(frame.damage for frame in frames):
        return 2
    return 1 if any(section.tables for section in report.sections[:2]) else 0


def _parser(formats: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reports diff", description="Two runs side by side.")
    parser.add_argument("first", type=local, metavar="A", help="a run directory")
    parser.add_argument("second", type=local, metavar="B", help="another one")
    parser.add_argument("--out", type=local, help=f"also write {', '.join(formats)} into this folder")
    return parser


def compare(first: Frame, second: Frame) -> Report:
    """What differs between two frames of one run each."""
    frames = _named_alike(first, second)
    scales, unlike = agreed(frame.scales for frame in frames)
    found = [_by_place(cells(frame)) for frame in frames]
    both = [p for p in found[0] if all(_has(p, some) for some in found)]
    differing = [p for p in both if _size(p, found) > TOLERANCE]
    differing.sort(key=lambda p: -scales[metric_of(p[1])].factor * _size(p, found))
    lacking = [p for p in {**found[0], **found[1]} if _has(p, found[0]) != _has(p, found[1])]
    sections = (
        Section("differing", "Cells that differ", _differing(frames, scales, found, differing), "None."),
        Section("lacking", "Cells that only one run has", _lacking(found, lacking), "None."),
        Section("origin", "What made them", _origin(frames), "The same in everything that is recorded."),
    )
    equal = len(both) - len(differing)
    names = [str(frame.sources[0].path) for frame in frames]
    note = f"A is {names[0]}, B is {names[1]}. {equal} cells are the same in both."
    notes = (note, *unlike, *first.notes, *second.notes)
    return Report(" against ".join(names), state(frames[0]), notes, sections)


def shortened(report: Report) -> Report:
    """The report with no more rows than can be read: of each group the first, and how many follow."""
    sections = [replace(s, tables=tuple(map(_shortened, s.tables))) for s in report.sections]
    return replace(report, sections=tuple(sections))


def _shortened(table: Table) -> Table:
    most = max(1, LISTED // len(table.groups))
    left = sum(max(0, len(group.rows) - most) for group in table.groups)
    if sum(len(group.rows) for group in table.groups) <= LISTED:
        return table
    groups = tuple(replace(group, rows=group.rows[:most]) for group in table.groups)
    note = f"{left:,} more rows are in the CSV file (--out), at most {most:,} of a kind are listed here."
    return replace(table, groups=groups, notes=(*table.notes, note))


def _named_alike(first: Frame, second: Frame) -> tuple[Frame, Frame]:
    """Both frames with the names that their methods have side by side."""
    trials = pd.concat([first.trials, second.trials], ignore_index=True)
    names = dict(zip(trials["trial_id"], setting_labels(trials), strict=True))

    def renamed(frame: Frame) -> Frame:
        return replace(
            frame,
            trials=frame.trials.assign(variant=frame.trials["trial_id"].map(names)),
            metrics=frame.metrics.assign(variant=frame.metrics["trial_id"].map(names)),
        )

    return renamed(first), renamed(second)


def _by_place(cells: pd.DataFrame) -> Cells:
    return {tuple(row[name] for name in PLACE): row for row in cells.to_dict("records")}  # pyright: ignore


def _has(place: Place, cells: Cells) -> bool:
    return place in cells and cells[place]["n"] > 0


def _size(place: Place, found: Sequence[Cells]) -> float:
    return abs(found[0][place]["mean"] - found[1][place]["mean"])


_COLUMNS = (
    Column("a", "A", Kind.STATISTIC),
    Column("b", "B", Kind.STATISTIC),
    Column("difference", "B − A"),
    Column("low", "from"),
    Column("high", "to"),
    Column("p", "p"),
    Column("p_holm", "p, Holm"),
)


def _differing(
    frames: Sequence[Frame], scales: Mapping[str, Scale], found: Sequence[Cells], places: Sequence[Place]
) -> tuple[Table, ...]:
    if not places:
        return ()
    tests = _tests(frames, [p for p in places if metric_of(p[1]) == AUROC][:TESTED])
    adjusted = family(tests)
    groups: dict[str, list[Row]] = {}
    for place in places:
        scale = scales[metric_of(place[1])]
        row = Row(_place(place), tuple(_cells(place, scale, found, tests.get(place), adjusted.get(place))))
        groups.setdefault(_heading(place, scale), []).append(row)
    percent = all(scales[metric_of(p[1])].unit == PERCENT for p in places)
    caption = (
        f"Percent{'' if percent else ' where no other unit is named'}, mean ± standard deviation over seeds; "
        "the largest differences first. "
        f"{100 * BOOTSTRAP.level:g} % intervals of AUROCs on the same test images: bootstrap over images, "
        "seeds averaged; p: DeLong, adjusted by Holm over all that are tested. Blank: another metric, "
        "other images, or beyond the largest {0}."
    ).format(TESTED)
    rows = tuple(Group(label, tuple(some)) for label, some in groups.items())
    return (Table("differing", "Cells that differ", caption, "Cell", _COLUMNS, rows),)


def _heading(place: Place, scale: Scale) -> str:
    """Measure and subset of a cell, and what is unusual about the measure."""
    unusual = [] if scale.unit else ["plain numbers"]
    unusual += {None: ["better: not known"], False: ["lower is better"]}.get(scale.higher_is_better, [])
    return ", ".join([measure_title(place[1], scale), SUBSETS[place[2]].lower(), *unusual])


def _place(place: Place) -> str:
    dataset, _, _, variant, shots, category = place
    return f"{variant}, {shots_title(shots)}, {words(category)} · {dataset}"


def _cells(
    place: Place, scale: Scale, found: Sequence[Cells], test: Difference | None, adjusted: float | None
) -> Iterator[Cell]:
    a, b = (some[place] for some in found)
    for row in (a, b):
        std = None if pd.isna(row["std"]) else row["std"]
        yield statistic(row["mean"], std, int(row["n"]), int(row["planned"]), row["marks"], scale)
    yield _signed(b["mean"] - a["mean"], scale)
    ends = None if test is None else (_signed(test.low, scale), _signed(test.high, scale))
    yield from ends or (Cell(), Cell())
    yield from (_p(test.p if test else None), _p(adjusted))


def _signed(value: float, scale: Scale) -> Cell:
    return Cell(scale.text(value, "+", more=1).replace("-", "−"), value)


def _p(value: float | None) -> Cell:
    return Cell() if value is None else Cell("<0.001" if value < 0.001 else f"{value:.3g}", value)


def _tests(frames: Sequence[Frame], places: Sequence[Place]) -> dict[Place, Difference | None]:
    """B - A of each cell on the same images, seeds averaged; None where images or their labels are others."""
    ids = [_ids(frame, places) for frame in frames]
    scores = [_scores(frame, some, prefix) for frame, some, prefix in zip(frames, ids, "ab", strict=True)]
    return {place: _test(place, [some[place] for some in ids], scores) for place in places}


def _ids(frame: Frame, places: Sequence[Place]) -> dict[Place, list[str]]:
    """The ok trials of each cell."""
    by_cell: dict[Place, list[str]] = {}
    ok = frame.trials[frame.trials["status"] == "ok"]
    for row in ok[[*CELL, "trial_id"]].itertuples(index=False, name=None):
        by_cell.setdefault(row[:-1], []).append(row[-1])
    return {place: by_cell.get((place[0], *place[3:]), []) for place in places}


def _scores(frame: Frame, ids: Mapping[Place, Sequence[str]], prefix: str) -> dict[str, pd.DataFrame]:
    """By trial, all read at once; ids begin with the prefix, so that those of two runs never coincide."""
    wanted = sorted({trial for some in ids.values() for trial in some})
    found = scores_of(frame.sources[0].path, wanted)
    named = found["trial_id"].cat.rename_categories(lambda trial: prefix + str(trial))
    return {str(trial)[1:]: rows for trial, rows in found.assign(trial_id=named).groupby("trial_id")}


def _test(
    place: Place, ids: Sequence[Sequence[str]], scores: Sequence[Mapping[str, pd.DataFrame]]
) -> Difference | None:
    _, _, subset, _, _, category = place
    rows = [known[trial] for some, known in zip(ids, scores, strict=True) for trial in some if trial in known]
    sides = zip("ab", ids, scores, strict=True)
    named = [[prefix + trial for trial in some if trial in known] for prefix, some, known in sides]
    if not all(named):
        return None
    try:
        table = score_table(pd.concat(rows).astype({"trial_id": str}), [*named[0], *named[1]])
    except DataError:
        return None
    options = replace(BOOTSTRAP, seed=crc32(str(category).encode()))
    a, b = (table.of(some) for some in named)
    return paired_auroc(b, a, table.labels, subset, options)


def _lacking(found: Sequence[Cells], places: Sequence[Place]) -> tuple[Table, ...]:
    """By setting and category, whatever the metric."""
    rows: dict[str, Row] = {}
    for place in places:
        cells = tuple(text(_state(place, some)) for some in found)
        rows.setdefault(_place(place), Row(_place(place), cells))
    columns = (Column("a", "A", Kind.TEXT), Column("b", "B", Kind.TEXT))
    caption = "What each run has instead of a number."
    table = Table(
        "lacking", "Cells that only one run has", caption, "Cell", columns, (Group("", tuple(rows.values())),)
    )
    return (table,) if rows else ()


def _state(place: Place, cells: Cells) -> str:
    if place not in cells:
        return "not planned or not measured"
    cell = cells[place]
    return (
        f"{cell['n']} of {cell['planned']} seeds"
        if cell["n"]
        else "undefined"
        if cell["undefined"]
        else cell["state"]
    )


def _origin(frames: Sequence[Frame]) -> tuple[Table, ...]:
    """Facts of the provenance that differ."""
    first, second = (dict(facts(frame.sources[0], frame.trials)) for frame in frames)
    rows = [
        Row(name, (first[name], second[name])) for name in first if first[name].value != second[name].value
    ]
    columns = (Column("a", "A", Kind.TEXT), Column("b", "B", Kind.TEXT))
    table = Table("origin", "What made them", "Where it differs.", "What", columns, (Group("", tuple(rows)),))
    return (table,) if rows else ()
