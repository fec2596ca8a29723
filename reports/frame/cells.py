"""From trials to cells: mean and standard deviation over seeds, and averages over categories."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.frame.load import MISSING, Frame
from reports.frame.once import once

DDOF = 1  # of every standard deviation in a report
SUBSETS = {
    "logical": "Logical anomalies",
    "structural": "Structural anomalies",
    "mean": "Mean of logical and structural",
    "all": "All anomalies, pooled",
}
PENDING = "pending"

_PLACE = ["variant", "dataset", "category", "shots"]
_SERIES = ["dataset", "measure", "subset", "variant", "shots"]


def cells(frame: Frame, subsets: Iterable[str] = SUBSETS) -> pd.DataFrame:
    """One row per data set, measure, subset, method, number of shots and planned category.

    Args:
        frame: the runs.
        subsets: which of them.

    Returns:
        Columns `dataset, measure, subset, variant, shots, category`, then `mean` (fraction), `std` (sample
        standard deviation over seeds, null for one), `n` (seeds in them), `planned` (seeds planned), `ok`
        (trials that are ok), `undefined` (an ok trial has no value), `state` (what became of all trials, or
        "mixed"), `marks` and `seeds`.
    """
    return _usual(frame) if subsets is SUBSETS else _cells(frame, subsets)


@once
def _usual(frame: Frame) -> pd.DataFrame:
    """What most tables ask for."""
    return _cells(frame, SUBSETS)


def _cells(frame: Frame, subsets: Iterable[str]) -> pd.DataFrame:
    wanted = frame.metrics[frame.metrics["subset"].isin(list(subsets))]
    kinds = wanted[["dataset", "measure", "subset"]].drop_duplicates()
    every = kinds.merge(_coverage(frame.trials), on="dataset")
    values = wanted.groupby([*_SERIES, "category"], sort=False)["value"]
    found = pd.DataFrame({"mean": values.mean(), "std": values.std(ddof=DDOF), "n": values.count()})
    joined = every.merge(found.reset_index(), on=[*_SERIES, "category"], how="left")
    return _without_undefined(joined.assign(n=joined["n"].fillna(0).astype(int)))


def _without_undefined(cells: pd.DataFrame) -> pd.DataFrame:
    """A mean over seeds of which some are ok but have no value is undefined, not a partial mean."""
    undefined = cells["n"] < cells["ok"].astype(int)
    numbers = {column: cells[column].mask(undefined) for column in ("mean", "std")}
    return cells.assign(**numbers, n=cells["n"].mask(undefined, 0), undefined=undefined)


def _coverage(trials: pd.DataFrame) -> pd.DataFrame:
    grouped = trials.groupby(_PLACE, sort=False)
    counts = grouped.agg(
        planned=("trial_id", "size"),
        ok=("status", lambda s: int((s == "ok").sum())),
        state=("status", _state),
        marks=("marks", _union),
        seeds=("seed", frozenset),
    )
    return counts.reset_index()


def _state(statuses: pd.Series) -> str:
    only = statuses.iloc[0] if statuses.nunique() == 1 else "mixed"
    return PENDING if only == MISSING else only


def _union(marks: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({mark for some in marks for mark in some}))


def averages(frame: Frame, cells: pd.DataFrame) -> pd.DataFrame:
    """The mean over all categories of the data set: per seed first, then mean and std over seeds.

    Returns:
        Columns `dataset, measure, subset, variant, shots`, then `mean`, `std`, `n` (seeds), `planned`,
        `ok`, `undefined` (in every category), `marks`, and `why`: what keeps it from being printed, by
        category ("pushpins" -> "4/5 seeds"); `mean` is null wherever `why` is not empty.
    """
    names = {d: list(dict.fromkeys(c)) for d, c in frame.trials.groupby("dataset", sort=False)["category"]}
    per_seed = frame.metrics.groupby([*_SERIES, "seed"], sort=False)["value"].mean()
    over_seeds = per_seed.groupby(level=_SERIES, sort=False)
    spread = pd.DataFrame({"mean": over_seeds.mean(), "std": over_seeds.std(ddof=DDOF)}).to_dict("index")
    series: dict[tuple[Any, ...], list[dict[Hashable, Any]]] = {}  # a frame each would cost a millisecond
    for row in cells.to_dict("records"):
        series.setdefault(tuple(row[name] for name in _SERIES), []).append(row)
    rows = []
    for key, some in series.items():
        place = dict(zip(_SERIES, key, strict=True))
        rows.append(_average(place, some, names[key[0]], spread.get(key, {})))
    return pd.DataFrame(
        rows, columns=[*_SERIES, "mean", "std", "n", "planned", "ok", "undefined", "marks", "why"]
    )


def _average(
    key: Mapping[str, Hashable],
    cells: Sequence[Mapping[Hashable, Any]],
    categories: list[str],
    spread: Mapping[Any, float],
) -> dict[str, object]:
    why = _gaps(cells, categories)
    seeds = max(int(cell["planned"]) for cell in cells)
    blank = {"mean": None, "std": None, "n": 0}
    found = blank if why else {"mean": spread["mean"], "std": spread["std"], "n": seeds}
    undefined = all(bool(cell["undefined"]) for cell in cells)
    facts = {"ok": sum(int(cell["ok"]) for cell in cells), "undefined": undefined}
    marks = _union(cell["marks"] for cell in cells)
    return {**key, **found, "planned": seeds, **facts, "marks": marks, "why": why}


def _gaps(cells: Sequence[Mapping[Hashable, Any]], categories: list[str]) -> dict[str, str]:
    """What is incomplete, by category; empty if the average may be printed."""
    there = {cell["category"] for cell in cells}
    gaps = {c: "not planned" for c in categories if c not in there}
    gaps |= {str(cell["category"]): _gap(cell) for cell in cells if cell["n"] < cell["planned"]}
    if not gaps:
        first = cells[0]["seeds"]
        gaps = {str(cell["category"]): "other seeds" for cell in cells if cell["seeds"] != first}
    return gaps


def _gap(cell: Mapping[Hashable, Any]) -> str:
    if cell["undefined"]:
        return "undefined"
    return f"{cell['n']}/{cell['planned']} seeds" if cell["state"] == "mixed" else cell["state"]
