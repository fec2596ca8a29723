"""Method × category tables of every metric, and their overview."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from harness.metrics import CONDITION
from harness.metrics.scale import Scale
from reports.frame.cells import DDOF, SUBSETS, averages, cells
from reports.frame.load import Frame
from reports.frame.naming import ZERO, metric_of, shots_title, words
from reports.leaderboard import order
from reports.tables.ranking import with_ranks
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, slug, statistic

AVERAGE = "average"
NOTED = 6  # methods, and categories, named in a note

_HOW = f"mean ± sample standard deviation over seeds (ddof = {DDOF}); a single seed has none."
_AVERAGE = "Average: per seed over the categories, then over seeds; blank unless every cell is complete."
_SEEDS = Column("seeds", "Seeds")
_ZERO = "Zero-shot methods ignore the support set: their numbers are the same for every number of shots."


def overview(frame: Frame) -> list[Table]:
    """AUROC averaged over categories: methods × (shots, subset), for data sets that have an average.

    Where it was not measured, the first metric that was takes its place.
    """
    means = averages(frame, cells(frame))
    chosen = means[means["measure"].map(partial(_is_main, frame)).astype(bool)]
    kinds = [some for _, some in chosen.groupby(["dataset", "measure"], sort=False)]
    return [_overview(frame, some) for some in kinds if some["mean"].notna().any()]


def main(frame: Frame) -> list[Table]:
    """AUROC (see `overview`) by method and category, one table per data set and number of shots."""
    return _by_category(frame, partial(_is_main, frame), "results")


def further(frame: Frame) -> list[Table]:
    """The other metrics of the run, by method and category, one table per limit and number of shots."""
    return _by_category(frame, lambda measure: not _is_main(frame, measure), "further")


def conditions(frame: Frame) -> list[Table]:
    """Every metric once more, of test images that were taken under one condition (a lighting) each."""
    found = sorted(s for s in frame.metrics["subset"].unique() if s.startswith(CONDITION))
    titles = {subset: words(subset.removeprefix(CONDITION)) for subset in found}
    return _by_category(frame, lambda _: True, "conditions", titles)


def _is_main(frame: Frame, measure: str) -> bool:
    return metric_of(measure) == frame.main


def _how(scale: Scale, averaged: bool) -> str:
    """The caption: what the numbers are."""
    sentences = [f"{scale.words}, {_HOW}", _AVERAGE if averaged else "", scale.direction]
    return " ".join(filter(None, sentences))


def _overview(frame: Frame, means: pd.DataFrame) -> Table:
    dataset, measure = _kind(means)
    scale, shots, subsets = frame.scale(measure), _shots(means), _subsets(means)
    places = [(k, s) for k in shots for s in subsets]
    columns = [
        Column(f"{shots_title(k)}_{s}", _short(s), Kind.STATISTIC, shots_title(k), scale.higher_is_better)
        for k, s in places
    ]
    by_place = _by_place(means, ["variant", "shots", "subset"])
    rows = [
        Row(
            _row_label(means, v),
            (*(cell_of(_at(by_place, v, k, s), scale) for k, s in places), _seeds(means, v)),
        )
        for v in _variants(frame, means)
    ]
    categories = frame.trials.loc[frame.trials["dataset"] == dataset, "category"].nunique()
    of = f"average over the {categories} categories" if categories > 1 else "its only category"
    return with_ranks(
        Table(
            slug("overview", measure, dataset),
            f"{frame.title(measure)}, {of} · {dataset}",
            _how(scale, categories > 1),
            "Method",
            (*columns, _SEEDS),
            (Group("", tuple(rows)),),
            _notes(means),
            "results",
        )
    )


def _by_category(
    frame: Frame, wanted: Callable[[str], bool], section: str, titles: Mapping[str, str] = SUBSETS
) -> list[Table]:
    every = cells(frame, titles)
    chosen = every[every["measure"].map(wanted).astype(bool)]
    means = averages(frame, chosen)
    tables = []
    for _, some in chosen.groupby(["dataset", "measure"], sort=False):
        dataset, measure = _kind(some)
        of_these = means[(means["dataset"] == dataset) & (means["measure"] == measure)]
        tables += [
            _main(frame, k, _with_zero(some, k), _with_zero(of_these, k), titles) for k in _shots(some)
        ]
    placed = [replace(table, section=section) for table in tables]
    if titles is SUBSETS:
        return placed
    return [
        replace(table, key=f"{table.key}_{section}", title=f"{table.title} · by condition")
        for table in placed
    ]


def _kind(some: pd.DataFrame) -> tuple[str, str]:
    """Data set and measure of rows that share them."""
    return some["dataset"].iloc[0], some["measure"].iloc[0]


def _with_zero(frame: pd.DataFrame, shots: int) -> pd.DataFrame:
    return frame[frame["shots"].isin([shots, ZERO])]


def _main(
    frame: Frame, shots: int, cells: pd.DataFrame, means: pd.DataFrame, titles: Mapping[str, str]
) -> Table:
    """Groups of rows are subsets, rows are methods, columns are categories and their average."""
    dataset, measure = _kind(cells)
    scale = frame.scale(measure)
    categories = list(dict.fromkeys(frame.trials.loc[frame.trials["dataset"] == dataset, "category"]))
    found = _by_place(cells, ["subset", "variant", "category"])
    average = _by_place(means, ["subset", "variant"])

    def row(subset: str, variant: str) -> Row:
        line = [cell_of(found.get((subset, variant, c)), scale) for c in categories]
        line += [cell_of(average.get((subset, variant)), scale)] if len(categories) > 1 else []
        return Row(_row_label(cells, variant), (*line, _seeds(cells, variant)))

    variants = _variants(frame, cells)
    present = set(cells["subset"])
    groups = [
        Group(titles[s], _best_first((row(s, v) for v in variants), -2, scale))
        for s in titles
        if s in present
    ]
    return with_ranks(
        Table(
            slug(measure, dataset, shots_title(shots)),
            f"{frame.title(measure)}, {shots_title(shots)} · {dataset}",
            _how(scale, len(categories) > 1),
            "Method",
            tuple(category_columns(categories, scale.higher_is_better)),
            tuple(groups),
            _notes(means),
        )
    )


def category_columns(categories: list[str], higher_is_better: bool | None) -> list[Column]:
    """A column per category; sub-types (`juice_bottle/cherry`) share a heading."""
    columns = []
    for category in categories:
        group, _, label = category.rpartition("/")
        columns.append(Column(category, words(label), Kind.STATISTIC, words(group), higher_is_better))
    if len(categories) > 1:
        columns.append(Column(AVERAGE, "Average", Kind.STATISTIC, higher_is_better=higher_is_better))
    return [*columns, _SEEDS]


def cell_of(row: Mapping[Any, Any] | None, scale: Scale) -> Cell:
    """A number; where there is none, why: not planned (blank), pending, failed, undefined."""
    if row is None:
        return Cell()
    planned = int(row["planned"])
    if row["n"]:
        std = None if pd.isna(row["std"]) else row["std"]
        return statistic(row["mean"], std, int(row["n"]), planned, row["marks"], scale)
    if row["undefined"]:
        return statistic(None, None, 0, planned)
    if "why" in row:
        return Cell(n=0, planned=0)
    return Cell("" if row["state"] == "mixed" else row["state"], n=0, planned=planned)


def _seeds(frame: pd.DataFrame, variant: str) -> Cell:
    """Seeds planned for the numbers of a row: "3", or "1–3" where they differ."""
    planned = frame.loc[frame["variant"] == variant, "planned"]
    low, high = int(planned.min()), int(planned.max())
    return Cell(str(high) if low == high else f"{low}–{high}", high)


def _notes(means: pd.DataFrame) -> tuple[str, ...]:
    """Which averages are blank and why, and what zero-shot means."""
    why: dict[str, list[str]] = {}
    for variant, some in means.groupby("variant", sort=False):
        if gaps := _gaps(some):
            why.setdefault(gaps, []).append(str(variant))
    listed = [f"Average blank for {_limited(variants)}: {gaps}." for gaps, variants in why.items()]
    if len(listed) > NOTED:
        listed[NOTED:] = [f"Average blank for more methods, for {len(listed) - NOTED} further reasons."]
    return (*listed, *([_ZERO] if (means["shots"] == ZERO).any() else []))


def _gaps(means: pd.DataFrame) -> str:
    """What keeps the averages of a method from being printed: "4/5 seeds in pushpins, …"."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for row in means[~means["undefined"].astype(bool)].to_dict("records"):
        for category, gap in row["why"].items():
            found.setdefault(category, {}).setdefault(gap, {})[_short(row["subset"])] = None
    by_gap: dict[str, list[str]] = {}
    for category, gaps in found.items():
        by_gap.setdefault(" or ".join(map(_gap, gaps.items())), []).append(words(category))
    return ", ".join(f"{gap} in {_limited(names)}" for gap, names in by_gap.items())


def _gap(item: tuple[str, Iterable[str]]) -> str:
    """A gap; an undefined value is one of some subsets, a missing trial lacks them all."""
    gap, subsets = item
    return f"{gap} ({', '.join(subsets)})" if gap == "undefined" else gap


def _limited(names: Sequence[str]) -> str:
    more = f" and {len(names) - NOTED} more" if len(names) > NOTED else ""
    return ", ".join(names[:NOTED]) + more


def _by_place(frame: pd.DataFrame, keys: list[str]) -> dict[tuple[Any, ...], Mapping[Any, Any]]:
    return {tuple(row[k] for k in keys): row for row in frame.to_dict("records")}


def _at(found: Mapping[tuple[Any, ...], Mapping[Any, Any]], variant: str, shots: int, subset: str) -> Any:
    return found.get((variant, shots, subset)) or found.get((variant, ZERO, subset))


def _shots(frame: pd.DataFrame) -> list[int]:
    """Numbers of shots that get a table: zero-shot rows join the others, and stand alone only if alone."""
    return sorted(set(frame["shots"]) - {ZERO}) or [ZERO]


def _subsets(frame: pd.DataFrame) -> list[str]:
    present = set(frame["subset"])
    return [s for s in SUBSETS if s in present]


def _variants(frame: Frame, some: pd.DataFrame) -> list[str]:
    present = set(some["variant"])
    return [v for v in order(frame) if v in present]


def _best_first(rows: Iterable[Row], column: int, scale: Scale) -> tuple[Row, ...]:
    """By the number of one column; those without behind, and all as they are where better is not known."""
    sign = 0 if scale.higher_is_better is None else -1 if scale.higher_is_better else 1

    def place(row: Row) -> tuple[bool, float]:
        value = row.cells[column].value
        return (False, sign * value) if isinstance(value, float) else (True, 0.0)

    return tuple(sorted(rows, key=place))


def _row_label(frame: pd.DataFrame, variant: str) -> str:
    shots = set(frame.loc[frame["variant"] == variant, "shots"])
    return f"{variant} (zero-shot)" if shots == {ZERO} and set(frame["shots"]) != {ZERO} else variant


def _short(subset: str) -> str:
    return "pooled" if subset == "all" else subset.removeprefix(CONDITION)
