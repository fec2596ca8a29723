"""Over which categories methods can be ranked: all, or while a run goes on those that everybody has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import pandas as pd

from reports.frame.naming import words


@final
@dataclass(frozen=True)
class Scope:
    """The units of a board.

    Attributes:
        units: categories.
        left_out: other categories of the data set, each with the reason.
        values: method -> unit -> mean over seeds, for cells that are complete.
        why: method -> what keeps it from being ranked, for those that are not.
    """

    units: tuple[str, ...]
    left_out: dict[str, str]
    values: Mapping[str, dict[str, float]]
    why: Mapping[str, str]


def scope(cells: pd.DataFrame, categories: Sequence[str]) -> Scope:
    """The units of one board.

    Categories in which the metric is not defined for anybody are no units. Once a method has all others,
    those are the units, and who lacks one is not ranked. Before, the units are those that all methods with
    any number have, so that a board that has just begun compares like with like.

    Args:
        cells: of one data set, measure, subset and number of shots (`reports.frame.cells`).
        categories: of the data set.
    """
    rows = cells.to_dict("records")
    values: dict[str, dict[str, float]] = {str(v): {} for v in cells["variant"].unique()}
    for row in rows:
        if row["n"] and row["n"] == row["planned"]:
            values[row["variant"]][row["category"]] = float(row["mean"])
    blank = _undefined(rows)
    every = [c for c in categories if c not in blank]
    units, waiting = _units(values, every)
    left_out = {c: "not defined" for c in categories if c in blank}
    left_out |= dict.fromkeys(waiting, "not complete yet")
    gaps = {v: _why(v, found, units, rows) for v, found in values.items()}
    return Scope(tuple(units), left_out, values, {v: why for v, why in gaps.items() if why})


def _undefined(rows: Sequence[Mapping[Any, Any]]) -> set[str]:
    """Categories with ok trials of which none has a value."""
    ok = {row["category"] for row in rows if row["ok"]}
    return ok - {row["category"] for row in rows if row["ok"] and not row["undefined"]}


def _units(values: Mapping[str, Mapping[str, float]], every: list[str]) -> tuple[list[str], list[str]]:
    begun = [set(found) for found in values.values() if found]
    if not begun:
        return [], every
    if any(found >= set(every) for found in begun):
        return every, []
    common = set.intersection(*begun)
    return [c for c in every if c in common], [c for c in every if c not in common]


def _why(
    variant: str, found: Mapping[str, float], units: Sequence[str], rows: Sequence[Mapping[Any, Any]]
) -> str:
    """What a method lacks: "failed in pushpins", "2/3 seeds in screw bag"."""
    if not units:
        return "no category is complete"
    mine = {row["category"]: row for row in rows if row["variant"] == variant}
    gaps: dict[str, list[str]] = {}
    for unit in units:
        if unit not in found:
            gaps.setdefault(_gap(mine.get(unit)), []).append(words(unit))
    return "; ".join(f"{gap} in {_few(names)}" for gap, names in gaps.items())


def _gap(row: Mapping[Any, Any] | None) -> str:
    if row is None:
        return "not planned"
    if row["undefined"]:
        return "undefined"
    return f"{row['n']}/{row['planned']} seeds" if row["state"] == "mixed" else str(row["state"])


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
