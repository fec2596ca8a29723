"""The ledger of published numbers: every cell of the tables of three papers, as printed.

One CSV file per table in `reports/published/`. Numbers are percent. "-" stands for what a paper does not
print, or prints unreadably; the loader turns it into None and never into a number.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import NamedTuple, final

from harness.errors import DataError, nearest

ABSENT = "-"
MEAN = "mean"  # the category of an average row, and the subset that is the mean of logical and structural
AS_PRINTED = 0.05  # points by which rounding alone may move an average of rounded numbers


class Key(NamedTuple):
    """What a published number is of; unique in the ledger.

    `category` MEAN is the printed average row. `subset` is logical, structural, all (pooled) or MEAN.
    """

    source: str
    table: str
    method: str
    category: str
    subset: str
    setting: str
    param: str
    metric: str


@final
@dataclass(frozen=True)
class Published:
    """A printed cell.

    Attributes:
        key: what it is of.
        text: the number as printed, decimals included; "" where there is none that can be read.
        value: in percent, None where there is none.
        std: printed standard deviation in percent, None where there is none.
    """

    key: Key
    text: str
    value: float | None
    std: float | None


@final
@dataclass(frozen=True)
class Printed:
    """A table of a paper.

    Attributes:
        paper: its short name.
        page: where it is in the paper; "" where the text that was transcribed does not show it.
        caption: what it shows.
    """

    paper: str
    page: str
    caption: str


Ledger = Mapping[Key, Published]

# Averages that differ from the recomputed ones by more than rounding explains; kept as printed.
ODDITIES: Mapping[tuple[str, str, str, str], str] = {
    ("psad", "PatchCore", MEAN, "logical"): "printed 74.0, recomputed 73.9",
    ("dfsc", "PatchCore", MEAN, "logical"): "printed 74.0, recomputed 73.9",
    ("dfsc", "EfficientAD-S", MEAN, "structural"): "printed 94.2, recomputed 94.1",
    ("psad", "SLSG", MEAN, MEAN): "printed 90.3, recomputed 90.5",
}


@cache
def ledger() -> Ledger:
    """Every published number, by what it is of.

    Raises:
        DataError: a row is not a number of the eight columns before it, or stands there twice.
    """
    found: dict[Key, Published] = {}
    for (source, table), _ in printed_tables().items():
        for row in _rows(f"{source}_{table}.csv"):
            one = _published(row)
            if one.key in found:
                raise DataError(f"published: {'/'.join(one.key)} stands twice in the ledger")
            found[one.key] = one
    return found


@cache
def printed_tables() -> Mapping[tuple[str, str], Printed]:
    """(source, table) -> where it is printed."""
    found = {}
    for source, table, page, paper, caption in _rows("tables.csv"):
        found[source, table] = Printed(paper, "" if page == ABSENT else page, caption)
    return found


def numbers(source: str, table: str) -> Ledger:
    """The published numbers of one table.

    Raises:
        DataError: there is no such table.
    """
    known = printed_tables()
    if (source, table) not in known:
        names = [" ".join(name) for name in known]
        raise DataError(f"published: no table {source} {table}{nearest(f'{source} {table}', names)}")
    return {k: one for k, one in ledger().items() if (k.source, k.table) == (source, table)}


def recomputed_averages() -> Iterator[tuple[Published, float]]:
    """Every printed average whose terms are printed too, with the mean of those."""
    for one in ledger().values():
        for name in ("category", "subset"):
            terms = _terms(one, name) if getattr(one.key, name) == MEAN else []
            if terms and one.value is not None:
                yield one, fmean(terms)


def _terms(average: Published, name: str) -> list[float]:
    """The printed numbers that an average is the mean of; empty unless all of them are printed."""
    fixed = average.key._replace(**{name: ""})
    same = [o for o in ledger().values() if o.key._replace(**{name: ""}) == fixed and o is not average]
    if name == "subset":
        same = [o for o in same if o.key.subset in ("logical", "structural")]
    values = [o.value for o in same if o.value is not None]
    return values if len(values) == len(same) > 1 else []


def _published(row: Sequence[str]) -> Published:
    *key, value, std = row
    try:
        text = "" if value == ABSENT else value
        return Published(Key(*key), text, _number(value), _number(std))
    except (TypeError, ValueError) as error:
        raise DataError(f"published: {','.join(row)} is not a row of the ledger ({error})") from None


def _number(text: str) -> float | None:
    return None if text == ABSENT else float(text)


def _rows(name: str) -> list[list[str]]:
    lines = (files("reports.papers") / "published" / name).read_text(encoding="utf-8").splitlines()
    return list(csv.reader(lines))[1:]
