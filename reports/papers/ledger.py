"""The ledger of published numbers: every cell of the tables of three papers, and what was found beside them.

CSV files in `reports/papers/published/`; where a number was read, and under which protocol it was made, is
in `reports.papers.origin`. Numbers are percent, with the decimals that are printed. "-" stands for what is
not printed, or cannot be read; the loader turns it into None and never into a number.
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

    @property
    def decimals(self) -> int:
        """With which it is printed."""
        return len(self.text.partition(".")[2])


@final
@dataclass(frozen=True)
class Printed:
    """A table of a paper.

    Attributes:
        paper: its short name.
        page: where it is in the paper; "" where the text that was transcribed does not show it.
        caption: what it shows.
        dataset: of its numbers, by its name here.
        protocol: under which they were made (`reports.papers.origin.protocols`).
        seen: in which kind of source it was read: paper, repository or second-hand.
        where: that source: file, lines and snapshot.
    """

    paper: str
    page: str
    caption: str
    dataset: str
    protocol: str
    seen: str
    where: str


Ledger = Mapping[Key, Published]
_FOLDER = files("reports.papers") / "published"

# Averages that differ from the recomputed ones by more than rounding explains, by source, method, category,
# subset and metric; kept as printed.
ODDITIES: Mapping[tuple[str, str, str, str, str], str] = {
    ("psad", "PatchCore", MEAN, "logical", "auroc"): "printed 74.0, recomputed 73.9",
    ("dfsc", "PatchCore", MEAN, "logical", "auroc"): "printed 74.0, recomputed 73.9",
    ("dfsc", "EfficientAD-S", MEAN, "structural", "auroc"): "printed 94.2, recomputed 94.1",
    ("psad", "SLSG", MEAN, MEAN, "auroc"): "printed 90.3, recomputed 90.5",
    ("anomalib", "RD4AD", MEAN, "all", "pixel_auroc"): "printed 96.9, recomputed 97.4",
    ("spade", "SPADE", MEAN, "all", "pixel_auroc"): "printed 96.5, recomputed 96.0",
}
ABOUT = ("tables.csv", "sources.csv", "methods.csv", "protocols.csv")  # what is said of numbers; all else is


@cache
def ledger() -> Ledger:
    """Every published number, by what it is of.

    Raises:
        DataError: a row is not a number of the eight columns before it, stands there twice, or is of a table
            of which nothing is said.
    """
    found: dict[Key, Published] = {}
    for one in (_published(row) for name in _files() for row in rows(name)):
        if one.key in found:
            raise DataError(f"published: {'/'.join(one.key)} stands twice in the ledger")
        if one.key[:2] not in printed_tables():
            raise DataError(f"published: {'/'.join(one.key)} is of no table in tables.csv")
        found[one.key] = one
    return found


@cache
def printed_tables() -> Mapping[tuple[str, str], Printed]:
    """(source, table) -> where it is printed."""
    found = {}
    for source, table, page, paper, *said in rows("tables.csv"):
        found[source, table] = Printed(paper, "" if page == ABSENT else page, *said)
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


def _files() -> list[str]:
    """Names of the files with numbers, in order."""
    names = (entry.name for entry in _FOLDER.iterdir() if entry.name not in ABOUT)
    return sorted((name for name in names if name.endswith(".csv")), key=lambda name: name[: -len(".csv")])


def rows(name: str) -> list[list[str]]:
    """The rows of a file of the ledger, without its head."""
    lines = (_FOLDER / name).read_text(encoding="utf-8").splitlines()
    return list(csv.reader(lines))[1:]
