"""Curves of the saturated per-region overlap (sPRO), as far as a run has them.

A run keeps the area A(l) under the curve up to some limits l of the false-positive rate, divided by l.
From these the mean of the curve between two limits follows exactly, (l₂A(l₂) - l₁A(l₁)) / (l₂ - l₁), also
of curves that are averaged over trials. That is what is drawn: a step is as high as the curve on average.
"""

from collections.abc import Iterator

import pandas as pd

from reports.figures.data import Data, left_out, parts, percent, shots_words
from reports.figures.figure import Curve, Figure, Panel, mark_notes
from reports.frame.cells import SUBSETS

_HOW = "A step is the mean of the curve between two stored limits, exact; average over all categories."
_FROM = 0.2  # of the first limit, where a logarithmic axis has to begin


def spro_curves(data: Data) -> list[Figure]:
    """One figure per data set and eight methods, each with its most shots, where two limits are stored."""
    rows = _limits(data.averages)
    most = rows.groupby(["dataset", "variant"], sort=False)["shots"].transform("max")
    kept = rows[rows["shots"] == most].groupby("dataset", sort=False)
    return [figure for dataset, some in kept for figure in _of(str(dataset), some)]


def _limits(rows: pd.DataFrame) -> pd.DataFrame:
    """Averages of AU-sPRO with their `limit`, of one definition."""
    named = rows["measure"].str.extract(r"^auspro@([\d.e-]+)(.*)$")
    rows = rows.assign(limit=named[0].astype(float), definition=named[1])[named[0].notna()]
    return rows[rows["definition"] == rows["definition"].iloc[0]] if len(rows) else rows


def _of(dataset: str, rows: pd.DataFrame) -> Iterator[Figure]:
    every, note = parts(rows)
    for number, some in every:
        panels = (_panel(s, some[some["subset"] == s]) for s in SUBSETS)
        shown = tuple(p for p in panels if p.series)
        if shown:
            yield _figure(f"spro-{dataset}{number}", dataset, some, shown, note)


def _figure(
    key: str, dataset: str, rows: pd.DataFrame, panels: tuple[Panel, ...], note: tuple[str, ...]
) -> Figure:
    labels = {series.label for panel in panels for series in panel.series}
    marked = rows[rows["variant"].isin(labels)]
    shots = ", ".join(shots_words(k) for k in sorted(marked["shots"].unique()))
    absent = [v for v in rows["variant"].unique() if v not in labels]
    return Figure(
        key,
        f"sPRO by false-positive rate ({dataset}, {shots})",
        "false-positive rate",
        "mean sPRO, %",
        panels,
        min(2, len(panels)),
        (_HOW, *note, *left_out(absent), *mark_notes(zip(marked["variant"], marked["marks"], strict=True))),
        log_x=True,
    )


def _panel(subset: str, rows: pd.DataFrame) -> Panel:
    curves = []
    for variant, some in rows.groupby("variant", sort=False):
        areas = some.sort_values("limit")
        if len(areas) > 1 and areas["mean"].notna().all():
            curves.append(_steps(str(variant), list(areas["limit"]), list(areas["mean"])))
    return Panel(SUBSETS[subset], tuple(curves))


def _steps(label: str, limits: list[float], areas: list[float]) -> Curve:
    ends = [0.0, *limits]
    integrals = [0.0, *(limit * area for limit, area in zip(limits, areas, strict=True))]
    heights = [(integrals[i + 1] - integrals[i]) / (ends[i + 1] - ends[i]) for i in range(len(limits))]
    return Curve(label, (_FROM * limits[0], *limits), tuple(map(percent, heights)), kind="steps")
