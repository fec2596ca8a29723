"""Single numbers of a frame by a key that a text can name: `clip_lad/4/juice_bottle/auroc`.

A key is method / shots / category / metric / subset: the method's key with the settings in which it differs
("patchcore[k=9]"), shots a number or "full" (0: zero-shot), the category "mean" for the average, the metric
with its limit ("auspro@0.05"). Without a subset it is the pooled one, or else the mean of logical and
structural. Where there are several data sets, theirs comes first; of several protocols with
that of the protocol: `mvtec_loco, clip_lad/patchcore/4/mean/auroc`.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from reports.frame.cells import averages, cells
from reports.frame.load import Frame
from reports.frame.naming import FULL, words
from reports.frame.protocols import apart
from reports.tables.table import Cell, statistic

AVERAGE = "mean"
NOTED = 2  # categories that keep an average from being printed
FIRST = ("all", "mean", "logical", "structural")  # of these, what a key without a subset is
AMBIGUOUS = Cell("a name of several numbers, which differ in signs alone")
_KEPT = "-_.,=@()[]+ /"  # signs that mean nothing to TeX once they are detokenized

Row = Mapping[Any, Any]


def numbers(frame: Frame) -> dict[str, Cell]:
    """Every cell of the tables, and every average, by its key; as the tables print it.

    What is incomplete has no value, and says so: in words, or by its seeds (`Cell.share`). Nor has a key that
    means several, for it says less than a name does.
    """
    frames = apart(frame)
    several = len(frames) > 1 or frame.trials["dataset"].nunique() > 1
    found: dict[str, Cell] = {}
    for one in frames:
        for key, cell in _numbers(one, several):
            found[key] = cell if key not in found else AMBIGUOUS
    return found


def _numbers(frame: Frame, several: bool) -> Iterator[tuple[str, Cell]]:
    """Of trials of one protocol."""
    each, names = cells(frame), _methods(frame)
    rows = [*_single(each), *_averages(frame, each)]
    subsets = _subsets(rows)
    for row in rows:
        cell = _cell(frame, row)
        for key in _keys(row, names[row["variant"]], several, subsets[row["dataset"], row["measure"]]):
            yield key, cell


def _single(each: pd.DataFrame) -> Iterator[Row]:
    yield from each.to_dict("records")


def _averages(frame: Frame, each: pd.DataFrame) -> Iterator[Row]:
    """Averages; those that are blank in the tables say what keeps them so."""
    for row in averages(frame, each).to_dict("records"):
        why = [f"{words(category)} {state}" for category, state in row["why"].items()]
        yield {**row, "category": AVERAGE, "state": ", ".join(why[:NOTED]) + (", …" if why[NOTED:] else "")}


def _subsets(rows: list[Row]) -> dict[tuple[str, str], str]:
    """(data set, measure) -> the subset that a key without one means."""
    there: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        there.setdefault((row["dataset"], row["measure"]), set()).add(row["subset"])
    return {place: next(s for s in FIRST if s in some) for place, some in there.items()}


def _methods(frame: Frame) -> dict[str, str]:
    """Variant -> the method's key with what the variant says beyond its title."""
    known = frame.trials.drop_duplicates("variant")
    rows = zip(known["variant"], known["method"], known["title"], strict=True)
    return {v: m + (v.removeprefix(t) if v.startswith(t) else v.removeprefix(m)) for v, m, t in rows}


def _keys(row: Row, method: str, several: bool, first: str) -> Iterator[str]:
    shots = "full" if row["shots"] == FULL else str(row["shots"])
    parts = [*([row["dataset"]] if several else []), method, shots, row["category"], row["measure"]]
    yield _safe("/".join([*parts, row["subset"]]))
    if row["subset"] == first:
        yield _safe("/".join(parts))


def _safe(key: str) -> str:
    """In letters, digits and signs that any engine reads; other signs are a dash."""
    plain = unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode()
    return "".join(c if c.isalnum() or c in _KEPT else "-" for c in plain)


def _cell(frame: Frame, row: Row) -> Cell:
    if pd.isna(row["mean"]) or row["n"] < row["planned"]:
        state = "" if row["state"] in ("ok", "mixed") else row["state"]
        return Cell("undefined" if row["undefined"] else state, n=row["n"], planned=row["planned"])
    std = None if pd.isna(row["std"]) else row["std"]
    return statistic(row["mean"], std, row["n"], row["planned"], row["marks"], frame.scale(row["measure"]))
