"""AUFC (VAND 2025): the area under F1-max over the number of shots, anomalies of all kinds together."""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd

from reports.frame.cells import cells
from reports.frame.load import Frame
from reports.frame.naming import FULL, ZERO, metric_of, words
from reports.stats.spread import spread
from reports.tables.ranking import with_ranks
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, statistic

F1_MAX, VAND = "f1max", (1, 2, 4, 8)

_HOW = (
    "Percent. F1-max of good images against anomalies of all kinds together (pooled), as a curve over the "
    "number of shots k = {}: trapezoids, divided by {}. Per seed, then mean ± sample standard deviation over "
    "seeds (ddof = 1). Average: per seed over the categories, then over seeds."
)
_OTHER = (
    "The challenge has k = 1, 2, 4, 8: areas over other numbers of shots are not those of its leaderboard."
)
_ZERO = "Zero-shot methods ignore the support set: their curve is level."


def aufc(frame: Frame) -> list[Table]:
    """AUFC by method and category, for data sets with F1-max at two numbers of shots or more."""
    every = cells(frame, ("all",))
    chosen = every[every["measure"].map(lambda name: metric_of(str(name)) == F1_MAX).astype(bool)]
    tables = (_table(frame, some) for _, some in chosen.groupby(["dataset", "measure"], sort=False))
    return [table for table in tables if table is not None]


def area(shots: Sequence[int], values: Sequence[float]) -> float:
    """Area under straight lines between values at rising numbers of shots, divided by their range."""
    return float(np.trapezoid(values, shots) / (shots[-1] - shots[0]))


@final
@dataclass(frozen=True)
class _Series:
    """One method: seed -> area, by category, and what keeps a category from having one."""

    name: str
    areas: Mapping[str, Mapping[str, float]]
    gaps: Mapping[str, str]
    planned: int
    marks: tuple[str, ...]
    zero: bool


def _table(frame: Frame, some: pd.DataFrame) -> Table | None:
    shots = sorted(set(some["shots"].astype(int)) - {ZERO, FULL})
    if len(shots) < 2:
        return None
    dataset, measure = str(some["dataset"].iloc[0]), str(some["measure"].iloc[0])
    categories = list(dict.fromkeys(frame.trials.loc[frame.trials["dataset"] == dataset, "category"]))
    values = frame.metrics[(frame.metrics["measure"] == measure) & (frame.metrics["subset"] == "all")]
    found = _values(values[values["dataset"] == dataset])
    methods = [
        _series(str(v), own, shots, categories, found) for v, own in some.groupby("variant", sort=False)
    ]
    listed = ", ".join(map(str, shots))
    return with_ranks(
        Table(
            "_".join(re.findall(r"\w+", f"aufc {dataset}")).lower(),
            f"AUFC, {shots[0]} to {shots[-1]} shots · {dataset}",
            _HOW.format(listed, shots[-1] - shots[0]),
            "Method",
            tuple(_columns(categories)),
            (Group("", tuple(Row(_label(m), tuple(_cells(m, categories))) for m in methods)),),
            tuple(_notes(methods, shots)),
            "results",
        )
    )


def _columns(categories: Sequence[str]) -> list[Column]:
    columns = [Column(c, words(c), Kind.STATISTIC) for c in categories]
    return columns + ([Column("average", "Average", Kind.STATISTIC)] if len(categories) > 1 else [])


def _notes(methods: Sequence[_Series], shots: Sequence[int]) -> list[str]:
    notes = [f"No area for {m.name}: {_said(m.gaps)}." for m in methods if m.gaps]
    notes += [_OTHER] if tuple(shots) != VAND else []
    return notes + ([_ZERO] if any(m.zero for m in methods) else [])


Values = Mapping[tuple[Hashable, ...], Mapping[int, float]]  # method, category, seed -> shots -> F1-max


def _values(metrics: pd.DataFrame) -> Values:
    found: dict[tuple[Hashable, ...], dict[int, float]] = {}
    for row in metrics[["variant", "category", "seed", "shots", "value"]].to_dict("records"):
        place = row["variant"], row["category"], row["seed"]
        found.setdefault(place, {})[int(row["shots"])] = row["value"]
    return found


def _series(
    name: str, own: pd.DataFrame, shots: Sequence[int], categories: Sequence[str], values: Values
) -> _Series:
    zero = set(own["shots"]) == {ZERO}
    rows = {(str(r["category"]), int(r["shots"])): r for r in own.to_dict("records")}
    areas, gaps = dict[str, dict[str, float]](), dict[str, str]()
    for category in categories:
        at = {k: rows.get((category, ZERO if zero else k)) for k in shots}
        if gap := _gap(at):
            gaps[category] = gap
            continue
        seeds = sorted(next(r["seeds"] for r in at.values() if r))
        curves = {s: values[name, category, s] for s in seeds}
        areas[category] = {s: area(shots, [c[ZERO if zero else k] for k in shots]) for s, c in curves.items()}
    marks = tuple(sorted({m for some in own["marks"] for m in some}))
    return _Series(name, areas, gaps, int(own["planned"].max()), marks, zero)


def _gap(at: Mapping[int, Mapping[Hashable, Any] | None]) -> str:
    """Why a curve over shots is not whole; empty if it is."""
    for k, row in at.items():
        if row is None:
            return f"not planned at {k} shots"
        if row["undefined"]:
            return "undefined"
        if row["n"] < row["planned"]:
            return f"{row['n']}/{row['planned']} seeds at {k} shots"
    seeds = {row["seeds"] for row in at.values() if row}
    return "other seeds at other numbers of shots" if len(seeds) > 1 else ""


def _said(gaps: Mapping[str, str]) -> str:
    by_gap: dict[str, list[str]] = {}
    for category, gap in gaps.items():
        by_gap.setdefault(gap, []).append(words(category))
    return "; ".join(f"{gap} in {', '.join(names)}" for gap, names in by_gap.items())


def _label(method: _Series) -> str:
    return f"{method.name} (zero-shot)" if method.zero else method.name


def _cells(method: _Series, categories: Sequence[str]) -> list[Cell]:
    known = [method.areas.get(category) for category in categories]
    cells = [_cell(method, list(areas.values()) if areas else []) for areas in known]
    if len(categories) < 2:
        return cells
    whole = [areas for areas in known if areas]
    alike = len(whole) == len(categories) and len({frozenset(areas) for areas in whole}) == 1
    means = [float(np.mean([areas[seed] for areas in whole])) for seed in whole[0]] if alike else []
    return [*cells, _cell(method, means)]


def _cell(method: _Series, areas: Sequence[float]) -> Cell:
    found = spread(areas)
    if found.mean is None:
        return Cell(n=0, planned=0)
    return statistic(found.mean, found.std, found.n, found.n, method.marks)
