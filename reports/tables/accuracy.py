"""Method × category tables of every metric, and their overview."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from reports.cells import DDOF, SUBSETS, averages, cells
from reports.load import Frame
from reports.naming import ZERO, measure_title, shots_title, words
from reports.ranking import with_ranks
from reports.table import Cell, Column, Group, Kind, Row, Table, statistic

AVERAGE = "average"
NOTED = 6  # methods, and categories, named in a note

_OVER_SEEDS = f"mean ± sample standard deviation over seeds (ddof = {DDOF}); one seed has none"
_HOW = f"Percent, {_OVER_SEEDS}."
_AVERAGE = "Average: mean over the categories per seed first, then over seeds; blank unless every cell is complete."
_ZERO = "Zero-shot methods ignore the support set: the same numbers stand in the table of every number of shots."


def overview(frame: Frame) -> list[Table]:
    """AUROC averaged over categories: methods × (shots, subset), one table per data set."""
    means = averages(frame, cells(frame))
    chosen = means[means["measure"].map(_is_auroc)]
    return [_overview(frame, *key, some) for key, some in chosen.groupby(["dataset", "measure"], sort=False)]


def auroc(frame: Frame) -> list[Table]:
    """AUROC by method and category, one table per data set and number of shots."""
    return _by_category(frame, _is_auroc)


def further(frame: Frame) -> list[Table]:
    """The other metrics of the run, by method and category, one table per limit and number of shots."""
    return _by_category(frame, lambda measure: not _is_auroc(measure))


def _is_auroc(measure: str) -> bool:
    return measure.partition(" ")[0] == "auroc"


def _overview(frame: Frame, dataset: str, measure: str, means: pd.DataFrame) -> Table:
    shots, subsets = _shots(means), _subsets(means)
    columns = [
        Column(f"{shots_title(k)}_{s}", _short(s), Kind.STATISTIC, shots_title(k)) for k in shots for s in subsets
    ]
    by_place = _by_place(means, ["variant", "shots", "subset"])
    rows = [
        Row(_row_label(means, v), tuple(_cell(_at(by_place, v, k, s)) for k in shots for s in subsets))
        for v in _variants(frame, means)
    ]
    categories = frame.trials.loc[frame.trials["dataset"] == dataset, "category"].nunique()
    of = f"average over the {categories} categories" if categories > 1 else "its only category"
    return with_ranks(
        Table(
            f"overview_{_slug(dataset, measure)}",
            f"{measure_title(measure)}, {of} · {dataset}",
            f"{_HOW} {_AVERAGE}" if categories > 1 else _HOW,
            "Method",
            tuple(columns),
            (Group("", tuple(rows)),),
            _notes(frame, means),
        )
    )


def _by_category(frame: Frame, wanted: Callable[[str], bool]) -> list[Table]:
    every = cells(frame)
    chosen = every[every["measure"].map(wanted)]
    means = averages(frame, chosen)
    tables = []
    for (dataset, measure), some in chosen.groupby(["dataset", "measure"], sort=False):
        of_these = means[(means["dataset"] == dataset) & (means["measure"] == measure)]
        for shots in _shots(some):
            here = [frame_[frame_["shots"].isin([shots, ZERO])] for frame_ in (some, of_these)]
            tables.append(_main(frame, dataset, measure, shots, *here))
    return tables


def _main(
    frame: Frame, dataset: str, measure: str, shots: int, cells: pd.DataFrame, means: pd.DataFrame
) -> Table:
    """Groups of rows are subsets, rows are methods, columns are categories and their average."""
    categories = list(dict.fromkeys(frame.trials.loc[frame.trials["dataset"] == dataset, "category"]))
    found = _by_place(cells, ["subset", "variant", "category"])
    average = _by_place(means, ["subset", "variant"])
    groups = []
    for subset in _subsets(cells):
        rows = []
        for variant in _variants(frame, cells):
            line = [_cell(found.get((subset, variant, c))) for c in categories]
            line += [_cell(average.get((subset, variant)))] if len(categories) > 1 else []
            rows.append(Row(_row_label(cells, variant), tuple(line)))
        groups.append(Group(SUBSETS[subset], tuple(rows)))
    return with_ranks(
        Table(
            f"{_slug(measure, dataset, shots_title(shots))}",
            f"{measure_title(measure)}, {shots_title(shots)} · {dataset}",
            f"{_HOW} {_AVERAGE}" if len(categories) > 1 else _HOW,
            "Method",
            tuple(_category_columns(categories)),
            tuple(groups),
            _notes(frame, means),
        )
    )


def _category_columns(categories: list[str]) -> list[Column]:
    """A column per category; sub-types (`juice_bottle/cherry`) share a heading."""
    columns = []
    for category in categories:
        group, _, label = category.rpartition("/")
        columns.append(Column(category, words(label), Kind.STATISTIC, words(group)))
    return columns + ([Column(AVERAGE, "Average", Kind.STATISTIC)] if len(categories) > 1 else [])


def _cell(row: Mapping[str, Any] | None) -> Cell:
    """A number; where there is none, why: not planned (blank), pending, failed, undefined."""
    if row is None:
        return Cell()
    planned = int(row["planned"])
    if row["n"]:
        std = None if pd.isna(row["std"]) else row["std"]
        return statistic(row["mean"], std, int(row["n"]), planned, row["marks"])
    if "why" in row:
        undefined = set(row["why"].values()) == {"undefined"}
        return statistic(None, None, 0, planned) if undefined else Cell(n=0, planned=0)
    if row["ok"] == planned:
        return statistic(None, None, 0, planned)
    return Cell("" if row["state"] == "mixed" else row["state"], n=0, planned=planned)


def _notes(frame: Frame, means: pd.DataFrame) -> tuple[str, ...]:
    """Which averages are blank and why, and what zero-shot means."""
    gaps: dict[str, dict[str, dict[str, None]]] = {}
    for row in means.to_dict("records"):
        if row["why"] and set(row["why"].values()) != {"undefined"}:
            for category, gap in row["why"].items():
                gaps.setdefault(row["variant"], {}).setdefault(category, {})[gap] = None
    named = [f"{variant}: {_limited(map(_gap, found.items()))}." for variant, found in gaps.items()]
    listed = [f"Average blank for {line}" for line in named[:NOTED]]
    rest = [f"Average blank for {len(named) - NOTED} more methods."] if len(named) > NOTED else []
    return (*listed, *rest, *([_ZERO] if (means["shots"] == ZERO).any() else []))


def _gap(item: tuple[str, Mapping[str, None]]) -> str:
    return f"{words(item[0])} {', '.join(item[1])}"


def _limited(parts: Iterable[str]) -> str:
    every = list(parts)
    more = f" and {len(every) - NOTED} more categories" if len(every) > NOTED else ""
    return ", ".join(every[:NOTED]) + more


def _by_place(frame: pd.DataFrame, keys: list[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(row[k] for k in keys): row for row in frame.to_dict("records")}


def _at(found: Mapping[tuple[Any, ...], dict[str, Any]], variant: str, shots: int, subset: str) -> Any:
    return found.get((variant, shots, subset)) or found.get((variant, ZERO, subset))


def _shots(frame: pd.DataFrame) -> list[int]:
    """Numbers of shots that get a table: zero-shot rows join the others, and stand alone only if alone."""
    return sorted(set(frame["shots"]) - {ZERO}) or [ZERO]


def _subsets(frame: pd.DataFrame) -> list[str]:
    present = set(frame["subset"])
    return [s for s in SUBSETS if s in present]


def _variants(frame: Frame, some: pd.DataFrame) -> list[str]:
    present = set(some["variant"])
    return [v for v in dict.fromkeys(frame.trials["variant"]) if v in present]


def _row_label(frame: pd.DataFrame, variant: str) -> str:
    shots = set(frame.loc[frame["variant"] == variant, "shots"])
    return f"{variant} (zero-shot)" if shots == {ZERO} and set(frame["shots"]) != {ZERO} else variant


def _short(subset: str) -> str:
    return "pooled" if subset == "all" else subset


def _slug(*names: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", "_".join(names)).strip("_").lower().replace(".", "")
