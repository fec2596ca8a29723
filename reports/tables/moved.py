"""What moved the number: from one protocol to another, one factor at a time (`why:` of a sweep file)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import pandas as pd

from harness.metrics.scale import Scale
from reports.frame.cells import DDOF
from reports.frame.load import Frame, LoadedRun
from reports.frame.naming import ZERO, setting_labels, shots_title, words
from reports.frame.protocols import asked
from reports.stats.evidence import scores_of
from reports.stats.regrouped import BOOTSTRAP, Drawn, Images, mean
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, number, statistic, text

SECTION = "What moved the number"
_DIFFERENCE = {"difference": "Difference", "low": "from", "high": "to"}
_COLUMNS = (
    Column("what", "What changes", Kind.TEXT),
    Column("value", "Value", Kind.STATISTIC),
    Column("categories", "Categories"),
    Column("draws", "Draws"),
    *(Column(f"step_{key}", label, group="Against the row above") for key, label in _DIFFERENCE.items()),
    *(Column(f"alone_{key}", label, group="Alone, against the first") for key, label in _DIFFERENCE.items()),
)
_HOW = (
    f"Value: mean ± sample standard deviation over draws (ddof = {DDOF}) of the mean over categories. "
    f"{100 * BOOTSTRAP.level:g} % intervals of differences: percentile bootstrap, {BOOTSTRAP.resamples} "
    "resamples of the test images of each object within label and product type, the same for every row, so "
    "that sub-categories are the images of their object grouped anew; draws averaged inside each."
)
_IMAGES = (
    "Intervals are about other test images. What other draws would change is the standard deviation beside."
)
_ALONE = "A factor alone: the first protocol with this factor of the second. The order of the rows matters."


def moved(frame: Frame) -> list[Table]:
    """One table for every run that goes from one protocol to another."""
    return [t for i, source in enumerate(frame.sources) if _steps(source) for t in _of_run(frame, i, source)]


def _steps(source: LoadedRun) -> list[Mapping[str, Any]]:
    return [record for record in source.protocols if record["step"]]


def _of_run(frame: Frame, run: int, source: LoadedRun) -> Iterator[Table]:
    steps, trials = _steps(source), frame.trials[frame.trials["run"] == run]
    if not len(trials):
        return
    first, last = steps[0]["step"]["from"], steps[0]["step"]["to"]
    measured = _Measured(frame, source, trials)
    groups = [
        Group(f"{method}, {shots_title(k)}", tuple(_rows(measured.under(at, steps), steps, frame)))
        for method, some in _methods(trials, steps[0]["step"]["touched"])
        for k, at in _by_shots(some)
    ]
    apart = f"_{run + 1}" if len(frame.sources) > 1 else ""
    yield Table(
        f"moved_{first}_{last}{apart}",
        f"{SECTION}: from {first} to {last} · {', '.join(dict.fromkeys(trials['images']))}",
        _HOW,
        "Step",
        _COLUMNS,
        tuple(groups),
        (_IMAGES, _ALONE, *_curves(steps)),
        SECTION,
    )


def _curves(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    areas = dict.fromkeys(r["protocol"] for r in steps if r["protocol"] and r["number"].get("curve"))
    return [
        f"The number of {name} is an area over the shots; here every number of shots is apart."
        for name in areas
    ]


def _methods(trials: pd.DataFrame, touched: Mapping[str, list[str]]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Methods with their settings, those that a factor changes aside."""
    bare = [
        _without(params, touched.get(m, ()))
        for m, params in zip(trials["method"], trials["params"], strict=True)
    ]
    settings = trials.assign(params=bare)
    yield from trials.groupby(pd.Series(setting_labels(settings), trials.index), sort=False)


def _by_shots(some: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Trials of one number of shots, with those that ignore it."""
    for k in sorted(set(some["shots"]) - {ZERO}) or [ZERO]:
        yield k, some[some["shots"].isin([k, ZERO])]


def _without(params: str | None, names: Sequence[str]) -> str:
    return json.dumps({k: v for k, v in json.loads(params or "{}").items() if k not in names}, sort_keys=True)


@final
@dataclass(frozen=True)
class _Number:
    """The number of one step.

    Attributes:
        measure: metric with its limit.
        cell: as printed.
        categories, draws: how many there are in it.
        drawn: on the resampled images; None where an interval cannot be had.
    """

    measure: str
    cell: Cell
    categories: int
    draws: int
    drawn: Drawn | None


@final
@dataclass
class _Measured:
    """The trials of a run with their numbers, each resampled once for all steps that it is in."""

    frame: Frame
    source: LoadedRun
    trials: pd.DataFrame

    def __post_init__(self) -> None:
        self._known: dict[tuple[str, str, str], Drawn | None] = {}

    def under(self, some: pd.DataFrame, steps: Sequence[Mapping[str, Any]]) -> dict[str, _Number]:
        """Label -> number of the trials that it asks for."""
        return {r["label"]: self._number(some[asked(some, r["label"])], r["number"]) for r in steps}

    def _number(self, some: pd.DataFrame, what: Mapping[str, Any]) -> _Number:
        measure, subset = what["metric"], what["subset"]
        draws = some.groupby("category")["trial_id"].size()
        counts = len(draws), int(draws.max()) if len(draws) else 0
        rows = self.frame.metrics
        rows = rows[rows["trial_id"].isin(some["trial_id"]) & (rows["subset"] == subset)]
        named = rows["measure"].map(lambda found: found.partition(" ")[0] == measure).astype(bool)
        rows = rows[named].dropna(subset=["value"])
        marks = tuple(sorted({mark for listed in some["marks"] for mark in listed}))
        if len(rows) < len(some) or not len(some):
            said = f"{len(rows)} of {len(some)} trials" if len(some) else "not planned"
            return _Number(measure, Cell(said, marks=marks), *counts, None)
        per_draw = rows.groupby("seed", sort=False)["value"].mean()
        spread = float(per_draw.std(ddof=DDOF)) if len(per_draw) > 1 else None
        value = float(rows.groupby("category")["value"].mean().mean())
        cell = statistic(value, spread, counts[1], counts[1], marks, self.frame.scale(measure))
        return _Number(measure, cell, *counts, self._drawn(some, measure, subset))

    def _drawn(self, some: pd.DataFrame, measure: str, subset: str) -> Drawn | None:
        by_category = [
            [self._of_trial(str(i), str(c), measure, subset) for i in ids["trial_id"]]
            for c, ids in some.groupby("category", sort=False)
        ]
        found = [[d for d in drawn if d is not None] for drawn in by_category]
        if any(len(a) < len(b) for a, b in zip(found, by_category, strict=True)):
            return None
        return mean([mean(drawn) for drawn in found])

    def _of_trial(self, trial_id: str, category: str, measure: str, subset: str) -> Drawn | None:
        key = (trial_id, measure, subset)
        if key not in self._known:
            images = self._objects[category.partition("/")[0]]
            self._known[key] = images.number(measure, subset, self._scores[trial_id])
        return self._known[key]

    @cached_property
    def _table(self) -> pd.DataFrame:
        ok = self.trials.loc[self.trials["status"] == "ok", ["trial_id", "category"]]
        scores = scores_of(self.source.path, ok["trial_id"].tolist())
        return scores.astype({"trial_id": str, "image": str, "label": str}).merge(ok, on="trial_id")

    @cached_property
    def _scores(self) -> dict[str, dict[str, float]]:
        """Trial -> image -> score."""
        groups = self._table.groupby("trial_id", sort=False)
        return {str(i): dict(zip(rows["image"], rows["score"], strict=True)) for i, rows in groups}

    @cached_property
    def _objects(self) -> dict[str, Images]:
        """Object -> its test images, with the product types that its sub-categories show."""
        found = self._table[["category", "image", "label"]].drop_duplicates().sort_values("image")
        parts = found["category"].str.partition("/")
        objects = {}
        for name, rows in found.assign(type=parts[2]).groupby(parts[0]):
            typed = rows[rows["type"] != ""]
            labels = dict(zip(rows["image"], rows["label"], strict=True))
            objects[str(name)] = Images(
                str(name), labels, dict(zip(typed["image"], typed["type"], strict=True))
            )
        return objects


def _rows(found: Mapping[str, _Number], steps: Sequence[Mapping[str, Any]], frame: Frame) -> Iterator[Row]:
    """The path, each factor's row with what it does alone, and at last the whole difference."""
    path = [record for record in steps if record["step"]["kind"] == "path"]
    alone = {r["step"]["factor"]: found[r["label"]] for r in steps if r["step"]["kind"] == "alone"}
    first, before = found[path[0]["label"]], None
    for i, record in enumerate(path):
        here, factor = found[record["label"]], record["step"].get("factor")
        # the first factor of the path is alone there
        by_itself = here if i == 1 and len(path) > 2 and alone else alone.get(factor)
        name = words(factor) if factor else record["step"]["from"]
        cells = [text(record["step"].get("what")) if factor else text(None), here.cell]
        cells += [number(here.categories), number(here.draws)]
        cells += _difference(here, before, frame) + _difference(by_itself, first, frame)
        yield Row(name, tuple(cells))
        before = here
    if len(path) > 2 and before is not None:
        total = f"{path[0]['step']['from']} → {path[0]['step']['to']}"
        blank = [Cell(), Cell(), Cell(), *([Cell()] * 3)]
        yield Row("all of it", (text(total), *blank[:3], *_difference(before, first, frame), *blank[3:]))


def _difference(here: _Number | None, other: _Number | None, frame: Frame) -> list[Cell]:
    """Difference and interval; nothing between numbers of two metrics, or where one is missing."""
    if here is None or other is None or here.measure != other.measure:
        return [Cell()] * 3
    if here.cell.value is None or other.cell.value is None:
        return [text(None)] * 3
    scale = frame.scale(here.measure)
    if here.drawn is None or other.drawn is None:
        return [_signed(here.cell.value - other.cell.value, scale), text(None), text(None)]
    return [_signed(value, scale) for value in here.drawn.minus(other.drawn)]


def _signed(value: float, scale: Scale) -> Cell:
    return Cell(scale.text(value, "+"), value)
