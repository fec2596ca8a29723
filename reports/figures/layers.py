"""The main metric over layers and resolutions of a frozen network: which features, of which encoder."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from reports.figures.data import Data, left_out, shots_key, shots_words
from reports.figures.figure import Curve, Figure, Panel, mark_notes
from reports.frame.naming import setting_labels

AXES = ("backbone", "layers", "image_size")  # hyper-parameters that every such method calls so
_BAND = "Mean over all categories; bands: ± standard deviation over seeds."
_RING = "Ring: {best} on the test images; a choice by it is an oracle."
_SHORT = re.compile(r"(blocks|layer|block|features)\.?(?=\d)")
_COLUMNS = 3


def layer_curves(data: Data) -> list[Figure]:
    """One figure per data set, number of shots and backbone with several layers or resolutions."""
    points = _points(data)
    return [
        _figure(data, str(dataset), int(str(shots)), str(backbone), some)
        for (dataset, shots, backbone), some in points.groupby(["dataset", "shots", "backbone"], sort=False)
        if len(some[["place", "image_size"]].drop_duplicates()) > 1
    ]


def _points(data: Data) -> pd.DataFrame:
    """Averages of the methods that have all three parameters, with these and the label of the others."""
    rows = data.main(data.averages)
    known = rows["subset"].isin(["mean", "all"])
    # the mean of logical and structural where there are both kinds everywhere, else all anomalies
    both = set(rows["dataset"][(rows["subset"] == "mean") & rows["mean"].notna()])
    wanted = (
        rows["subset"].where(~rows["dataset"].isin(both), "mean").where(rows["dataset"].isin(both), "all")
    )
    return rows[known & (rows["subset"] == wanted)].merge(_settings(data), on="variant")


def _settings(data: Data) -> pd.DataFrame:
    """variant, method, backbone, layers (as a text), image_size, label."""
    trials = data.frame.trials.drop_duplicates("variant")
    params = [json.loads(p or "{}") for p in trials["params"]]
    chosen = [all(axis in p for axis in AXES) for p in params]
    rows = [
        {"variant": v, "method": m, "backbone": p["backbone"], "place": place(p["layers"])}
        | {"image_size": int(p["image_size"]), "params": json.dumps(_rest(p), sort_keys=True)}
        for v, m, p, take in zip(trials["variant"], trials["method"], params, chosen, strict=True)
        if take
    ]
    found = pd.DataFrame(rows, columns=["variant", "method", "backbone", "place", "image_size", "params"])
    # of one backbone, for its weights are a parameter too
    labels = [
        pd.Series([_others(text) for text in setting_labels(some)], some.index, dtype=object)
        for _, some in found.groupby("backbone", sort=False)
    ]
    return found.assign(rest=pd.concat(labels) if labels else [])


def _rest(params: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if key not in AXES}


def _others(label: str) -> str:
    """What a setting's label has in brackets."""
    return label.partition("[")[2].removesuffix("]")


def place(layers: Sequence[str]) -> str:
    """Layers as a tick says them: "2+3" of layer2 and layer3, "22–28" of seven blocks in a row."""
    short = [_SHORT.sub("", name) for name in layers]
    numbers = [int(s) if s.isdigit() else None for s in short]
    first = numbers[0]
    if len(short) > 2 and first is not None and numbers == list(range(first, first + len(short))):
        return f"{short[0]}–{short[-1]}"
    return "+".join(short)


def _figure(data: Data, dataset: str, shots: int, backbone: str, points: pd.DataFrame) -> Figure:
    places = list(dict.fromkeys(points["place"]))
    panels = tuple(
        Panel(str(method), tuple(_curves(data, some, places)))
        for method, some in points.groupby("method", sort=False)
    )
    shown = points[points["mean"].notna()]
    absent = points[points["mean"].isna() & ~points["undefined"].astype(bool)]
    best = {True: "highest", False: "lowest"}.get(data.scale.higher_is_better or False, "best")
    measured = "pooled" if (points["subset"] == "all").all() else "mean of logical and structural"
    return Figure(
        f"layers-{dataset}-{backbone}-{shots_key(shots)}",
        f"{backbone}: {data.scale.title} by layer and resolution ({dataset}, {shots_words(shots)})",
        "layers, by number",
        f"{data.scale.label}, {measured}",
        panels,
        min(_COLUMNS, len(panels)),
        (
            _BAND,
            _RING.format(best=best),
            *left_out(list(absent["variant"])),
            *mark_notes(zip(shown["method"], shown["marks"], strict=True)),
        ),
        ticks={float(i): name for i, name in enumerate(places)},
    )


def _curves(data: Data, points: pd.DataFrame, places: list[str]) -> Iterator[Curve]:
    shown = points[points["mean"].notna()]
    every = list(map(data.printed, shown["mean"]))
    top = (
        None
        if not every or data.scale.higher_is_better is None
        else (max(every) if data.scale.higher_is_better else min(every))
    )
    for (size, rest), some in shown.sort_values("image_size", kind="stable").groupby(
        ["image_size", "rest"], sort=False
    ):
        ordered = some.assign(x=[float(places.index(p)) for p in some["place"]]).sort_values("x")
        y, spread = (tuple(map(data.printed, ordered[c].fillna(0))) for c in ("mean", "std"))
        label = f"{size} px" + (f", {rest}" if rest else "")
        yield Curve(label, tuple(ordered["x"]), y, spread, best=y.index(top) if top in y else None)
