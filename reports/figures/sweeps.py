"""The main metric against a parameter of a method.

Margin and quantile (EfficientAD-DFSC, Table 3 and Fig. 4), number of clusters (CLIP-LAD, Fig. 4).
"""

import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, final

import pandas as pd

from harness.metrics.scale import Scale
from reports.figures.data import LOCO, Data, left_out, shots_key, shots_words
from reports.figures.figure import Curve, Figure, Panel, mark_notes
from reports.frame.naming import FULL, setting_labels, words
from reports.papers.ledger import numbers

AVERAGE = "mean of categories"
_BANDS = "Bands: ± standard deviation over seeds."
_RING = " Ring: {best} on the test images; a choice by it is an oracle."
_OPEN = "Open: not all planned seeds yet."
_COLUMNS = 5


@final
@dataclass(frozen=True)
class Swept:
    """A parameter that a figure is about.

    Attributes:
        key: of the figure.
        method, parameter: ours.
        x_label: of the axis.
        subset: what is measured.
        log: the values are spread over orders of magnitude.
        published: (source, table, method) of the ledger with `param` "parameter=value"; None where the paper
            prints no number.
    """

    key: str
    method: str
    parameter: str
    x_label: str
    subset: str = "mean"
    log: bool = False
    published: tuple[str, str, str] | None = None


SWEPT = (
    Swept(
        "margin", "efficientad_dfsc", "margin", "margin m", published=("dfsc", "table3", "EfficientAD-DFSC")
    ),
    Swept("quantile", "efficientad_dfsc", "quantile", "quantile"),
    Swept("clusters", "clip_lad", "n_clusters", "number of clusters", "all"),
)


def parameter_curves(data: Data) -> list[Figure]:
    """One figure per parameter, data set and number of shots that has at least two of its values."""
    return [figure for swept in SWEPT for figure in _figures(data, swept)]


def _figures(data: Data, swept: Swept) -> Iterator[Figure]:
    points = _points(data, swept)
    for (dataset, shots), some in points.groupby(["dataset", "shots"], sort=False):
        several = some.groupby("label")["x"].transform("nunique") > 1
        if several.any():
            yield _figure(data, swept, str(dataset), int(str(shots)), some[several])


def _points(data: Data, swept: Swept) -> pd.DataFrame:
    """Cells and averages of the method, with `x` (the value) and `label` (its other settings)."""
    found = data.main(pd.concat([data.cells, data.averages.assign(category=AVERAGE)], ignore_index=True))
    found = found[found["subset"] == swept.subset]
    return found.merge(_settings(data, swept), on="variant")


def _settings(data: Data, swept: Swept) -> pd.DataFrame:
    """variant, x, label of the method's settings whose value is a number."""
    trials = data.frame.trials[data.frame.trials["method"] == swept.method]
    every = trials.assign(own=setting_labels(trials)).drop_duplicates("variant")
    params = [json.loads(p or "{}") for p in every["params"]]
    values = [_number(p.pop(swept.parameter, None)) for p in params]
    every = every.assign(
        x=pd.Series(values, every.index, dtype=float), params=[json.dumps(p, sort_keys=True) for p in params]
    )
    every = every[every["x"].notna()]
    suffixes = [v[len(own) :] for v, own in zip(every["variant"], every["own"], strict=True)]
    labels = [rest + suffix for rest, suffix in zip(setting_labels(every), suffixes, strict=True)]
    return every.assign(label=labels)[["variant", "x", "label"]]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _figure(data: Data, swept: Swept, dataset: str, shots: int, points: pd.DataFrame) -> Figure:
    categories = [c for c in points["category"].unique() if c != AVERAGE] + [AVERAGE]
    panels = tuple(
        _panel(data, swept, dataset, shots, c, points[points["category"] == c]) for c in categories
    )
    shown = points[points["mean"].notna()]
    marked = mark_notes(zip(shown["label"], shown["marks"], strict=True))
    missing = points[(points["category"] == AVERAGE) & points["mean"].isna()]
    gaps = left_out([f"mean at {x:g}" for x in missing["x"].sort_values()])
    partial = (_OPEN,) if bool((shown["n"] < _wanted(shown)).any()) else ()
    return Figure(
        f"{swept.key}-{dataset}-{shots_key(shots)}",
        f"{swept.method}: {data.scale.title} by {swept.x_label} ({dataset}, {shots_words(shots)})",
        swept.x_label,
        f"{data.scale.label}, " + ("pooled" if swept.subset == "all" else "mean of logical and structural"),
        panels,
        len(panels) if len(panels) < _COLUMNS else min(_COLUMNS, -(-len(panels) // 2)),
        (_BANDS + _ring(data.scale), *_paper(panels), *partial, *gaps, *marked),
        swept.log,
    )


def _paper(panels: tuple[Panel, ...]) -> tuple[str, ...]:
    shown = any(s.published for p in panels for s in p.series if isinstance(s, Curve))
    return ("Published: as printed; its table says how comparable it is.",) if shown else ()


def _wanted(rows: pd.DataFrame) -> pd.Series:
    """Seeds that should be in each number."""
    return rows["planned"].astype(int)


def _panel(data: Data, swept: Swept, dataset: str, shots: int, category: str, points: pd.DataFrame) -> Panel:
    shown = points[points["mean"].notna()].sort_values("x", kind="stable")
    curves = [_curve(data, str(label), some) for label, some in shown.groupby("label", sort=False)]
    if data.is_auroc and swept.published and dataset == LOCO and shots == FULL:
        curves += _published(swept, category, str(points["label"].iloc[0]))
    return Panel(words(category), tuple(curves))


def _curve(data: Data, label: str, points: pd.DataFrame) -> Curve:
    y = tuple(map(data.printed, points["mean"]))
    spread = tuple(map(data.printed, points["std"].fillna(0)))
    missing = tuple(bool(b) for b in points["n"] < _wanted(points))
    best = {True: max(y), False: min(y)}.get(data.scale.higher_is_better)  # pyright: ignore
    return Curve(label, tuple(points["x"]), y, spread, missing, best=None if best is None else y.index(best))


def _ring(scale: Scale) -> str:
    """What a ring around a point means; there are none where nobody knows which is better."""
    if scale.higher_is_better is None:
        return ""
    return _RING.format(best="highest" if scale.higher_is_better else "lowest")


def _published(swept: Swept, category: Hashable, like: str) -> list[Curve]:
    """The printed numbers of a category."""
    assert swept.published is not None
    source, table, method = swept.published
    found = {
        float(key.param.partition("=")[2]): one.value
        for key, one in numbers(source, table).items()
        if (key.method, key.category) == (method, category) and one.value is not None
    }
    at = tuple(sorted(found))
    return [Curve("published", at, tuple(found[x] for x in at), published=True, like=like)] if at else []
