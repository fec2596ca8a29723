"""Accuracy against cost: seconds of a trial, milliseconds per test image."""

from collections.abc import Iterator

import pandas as pd

from reports.figures.data import Data, left_out, parts
from reports.figures.figure import Curve, Figure, Panel, mark_notes
from reports.frame.naming import shots_title

_PANELS = {"seconds": "seconds of a trial (fit and score)", "ms_per_image": "milliseconds per test image"}
_HOW = (
    "Cost: median over ok trials, by the wall clock; devices: {devices}. "
    "{title}: average over all categories."
)


def cost_accuracy(data: Data) -> list[Figure]:
    """One figure per data set: the main metric, pooled, of every method against what its trials cost."""
    trials = data.frame.trials[data.frame.trials["status"] == "ok"]
    trials = trials.assign(seconds=trials["fit_seconds"] + trials["score_seconds"])
    rows = data.main(data.averages)
    rows = rows[rows["subset"] == "all"]
    found = []
    for dataset, some in rows.groupby("dataset", sort=False):
        found += _of(data, str(dataset), some, trials[trials["dataset"] == dataset])
    return found


def _of(data: Data, dataset: str, rows: pd.DataFrame, trials: pd.DataFrame) -> Iterator[Figure]:
    costs = trials.groupby(["variant", "shots"], sort=False)[list(_PANELS)].median().reset_index()
    every, note = parts(rows)
    rows = pd.concat([some for _, some in every])
    both = rows[rows["mean"].notna()].merge(costs, on=["variant", "shots"])
    if both.empty:
        return
    absent = rows[rows["mean"].isna()]
    gaps = [f"{v} ({shots_title(k)})" for v, k in zip(absent["variant"], absent["shots"], strict=True)]
    devices = ", ".join(sorted(trials["device"].dropna().unique()))
    marked = mark_notes(zip(both["variant"], both["marks"], strict=True))
    yield Figure(
        f"cost-{dataset}",
        f"Accuracy against cost ({dataset})",
        "",
        f"{data.scale.label}, pooled",
        tuple(_panel(data, both, column) for column in _PANELS),
        len(_PANELS),
        (_HOW.format(devices=devices, title=data.scale.title), *note, *left_out(gaps), *marked),
        log_x=True,
    )


def _panel(data: Data, rows: pd.DataFrame, column: str) -> Panel:
    curves = []
    for variant, some in rows[rows[column] > 0].groupby("variant", sort=False):
        points = some.sort_values("shots")
        y = tuple(map(data.printed, points["mean"]))
        names = tuple(shots_title(k) for k in points["shots"]) if len(points) > 1 else ()
        curves.append(Curve(str(variant), tuple(points[column]), y, kind="points", names=names))
    return Panel("", tuple(curves), _PANELS[column])
