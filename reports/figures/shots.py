"""The main metric by number of shots, with bands (CLIP-LAD, Table 1 and 2, over all categories)."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from reports.figures.data import LOCO, Data, left_out, parts
from reports.figures.figure import Curve, Figure, Panel, mark_notes
from reports.frame.cells import SUBSETS
from reports.frame.naming import shots_title
from reports.papers.clip_lad import CLIP_LAD1
from reports.papers.ledger import MEAN, numbers
from reports.papers.spec import NINE

_BAND = "Average over all categories; bands: ± standard deviation over seeds."


def shots_curves(data: Data) -> list[Figure]:
    """One figure per data set with several numbers of shots, and per eight methods."""
    rows = data.main(data.averages)
    return [
        figure for name, some in rows.groupby("dataset", sort=False) for figure in _of(data, str(name), some)
    ]


def _of(data: Data, dataset: str, rows: pd.DataFrame) -> Iterator[Figure]:
    shots = sorted(rows["shots"].unique())
    every, note = parts(rows)
    if len(shots) > 1:
        for number, some in every:
            figure = _figure(data, dataset, number, some, shots)
            yield replace(figure, notes=(*figure.notes, *note))


def _figure(data: Data, dataset: str, number: str, rows: pd.DataFrame, shots: list[int]) -> Figure:
    subsets = [s for s in SUBSETS if rows["mean"][rows["subset"] == s].notna().any()]
    panels = tuple(_panel(data, dataset, s, rows[rows["subset"] == s], shots) for s in subsets)
    published = any(curve.published for p in panels for curve in p.series if isinstance(curve, Curve))
    shown = rows[rows["subset"].isin(subsets)]
    absent = shown[shown["mean"].isna() & ~shown["undefined"].astype(bool)]
    gaps = [f"{v} ({shots_title(k)})" for v, k in zip(absent["variant"], absent["shots"], strict=True)]
    paper = ("Published: CLIP-LAD, Table 1 (its own split of the sub-types).",) if published else ()
    marked = shown[shown["mean"].notna()]
    return Figure(
        f"shots-{dataset}{number}",
        f"{data.scale.title} by number of shots ({dataset})",
        "training images",
        data.scale.label,
        panels,
        min(2, max(1, len(panels))),
        (_BAND, *paper, *left_out(gaps), *mark_notes(zip(marked["variant"], marked["marks"], strict=True))),
        ticks={float(i): shots_title(k) for i, k in enumerate(shots)},
    )


def _panel(data: Data, dataset: str, subset: str, rows: pd.DataFrame, shots: list[int]) -> Panel:
    curves = []
    for variant, some in rows[rows["mean"].notna()].groupby("variant", sort=False):
        points = some.sort_values("shots")
        x = tuple(float(shots.index(k)) for k in points["shots"])
        y, spread = (tuple(map(data.printed, points[c].fillna(0))) for c in ("mean", "std"))
        curves.append(Curve(str(variant), x, y, spread))
    if data.is_auroc and subset == "all" and dataset == LOCO and _nine(data, dataset):
        curves += _published(data, curves, shots)
    return Panel(SUBSETS[subset], tuple(curves))


def _nine(data: Data, dataset: str) -> bool:
    """The categories are those that the paper averages over."""
    trials = data.frame.trials
    return set(trials["category"][trials["dataset"] == dataset]) == set(NINE)


def _published(data: Data, ours: list[Curve], shots: list[int]) -> Iterator[Curve]:
    """Printed averages of the methods that are shown, in the colour of the first setting of each."""
    methods = data.frame.trials.drop_duplicates("variant").set_index("variant")["method"]
    first: dict[str, str] = {}
    for curve in ours:
        first.setdefault(str(methods[curve.label]), curve.label)
    printed = numbers("clip-lad", "table1").items()
    for contestant in CLIP_LAD1.contestants:
        places = {f"{k}-shot": float(i) for i, k in enumerate(shots)}
        found = {
            places[key.setting]: one
            for key, one in printed
            if (key.method, key.category) == (contestant.published, MEAN) and key.setting in places
        }
        points = [(x, one.value, one.std) for x, one in sorted(found.items()) if one.value is not None]
        if points and contestant.ours in first:
            x, y, std = zip(*points, strict=True)
            label = f"{contestant.published}, published"
            spread = tuple(s or 0.0 for s in std)
            yield Curve(label, x, y, spread, published=True, like=first[contestant.ours])
