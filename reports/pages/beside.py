"""Published numbers of a method beside ours: every cell that both have, whatever the protocol."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, final

import pandas as pd

from reports.frame.cells import averages, cells
from reports.frame.load import Frame
from reports.frame.naming import metric_of, shots_title, words
from reports.frame.once import once
from reports.frame.protocols import apart
from reports.leaderboard.protocols import under_each
from reports.pages.subpage import Pair
from reports.papers.ledger import MEAN, Published, ledger
from reports.papers.named import names_of
from reports.papers.origin import Origin, origin
from reports.tables.published import place_of, plain
from reports.tables.table import Cell, Column, Group, Kind, Row, Table

Place = tuple[str, str, int, str, str]  # data set, category, shots, subset, measure
HOW = (
    "Points: ours minus published. Whether the two can be compared is for the protocols to say; that of each "
    "published number is beside it, and {ours}"
)


def beside(frame: Frame, method: str) -> tuple[tuple[Table, ...], tuple[Pair, ...]]:
    """A table of what is published of a method and what we have, and the pairs for a figure."""
    names = names_of(method, frame.cards[method].title if method in frame.cards else method)
    mine = set(frame.trials.loc[frame.trials["method"] == method, "variant"])
    rows, pairs = [], []
    for one, said, place in _published():
        if plain(one.key.method) not in names or one.value is None:
            continue
        for under in (u for u in _ours(frame) if u.same_average(one, place)):
            told = _told(frame, place) + under.label
            for variant, ours in under.places.get(place, {}).items():
                if variant in mine:
                    rows.append(_row(one, said, variant, told, ours))
                    pairs.append(Pair(f"{variant}, {told} ({said.paper})", one.value, 100 * ours["mean"]))
    if not rows:
        return (), ()
    ours = " / ".join(dict.fromkeys(_protocols(frame))) or "nothing"
    caption = HOW.format(ours=f"ours: {ours}.")
    groups = (Group("", tuple(rows)),)
    return (Table("published", "Published beside ours", caption, "What", _COLUMNS, groups),), tuple(pairs)


@final
@dataclass(frozen=True)
class _Under:
    """What we have under one protocol.

    Attributes:
        label: ", " and the protocol where there are several, else "".
        categories: by data set, those of the trials.
        places: place -> variant -> mean, standard deviation, n and marks of what is complete.
    """

    label: str
    categories: Mapping[str, set[str]]
    places: Mapping[Place, Mapping[str, Mapping[str, Any]]]

    def same_average(self, one: Published, place: Place) -> bool:
        """A printed average is beside ours only if both are over the same categories, named in the table."""
        if one.key.category != MEAN:
            return True
        return self.categories.get(place[0]) == _printed(one.key.source, one.key.table, one.key.method)


@cache
def _printed(source: str, table: str, method: str) -> frozenset[str]:
    """Categories of which a table prints numbers of a method."""
    keys = (k for k in ledger() if (k.source, k.table, k.method) == (source, table, method))
    return frozenset(key.category for key in keys) - {MEAN}


_COLUMNS = (
    Column("published", "Published", Kind.PUBLISHED),
    Column("ours", "Ours", Kind.STATISTIC, higher_is_better=None),
    Column("difference", "Ours − published"),
    Column("protocol", "Protocol", Kind.TEXT),
    Column("source", "Read in", Kind.TEXT),
)


def _row(one: Published, said: Origin, variant: str, told: str, ours: Mapping[str, Any]) -> Row:
    mean, std = 100 * ours["mean"], ours["std"]
    spread = "" if std is None or pd.isna(std) else f"{100 * std:.1f}"
    cells = (
        Cell(one.text, (one.value or 0.0) / 100, marks=said.marks),
        Cell(
            f"{mean:.1f}", ours["mean"], spread, n=int(ours["n"]), planned=int(ours["n"]), marks=ours["marks"]
        ),
        Cell(f"{mean - (one.value or 0.0):+.1f}".replace("-", "−"), mean - (one.value or 0.0)),
        Cell(said.protocol, said.protocol),
        Cell(f"{said.paper}, {one.key.table}", said.where),
    )
    return Row(f"{variant}: {told}", cells)


def _told(frame: Frame, place: Place) -> str:
    _, category, shots, subset, measure = place
    where = "average" if category == MEAN else words(category)
    return f"{where}, {'pooled' if subset == 'all' else subset}, {shots_title(shots)}, {frame.title(measure)}"


@cache
def _published() -> tuple[tuple[Published, Origin, Place], ...]:
    found = []
    for key, one in ledger().items():
        if (place := place_of(one)) is not None:
            shots, subset, measure = place
            said = origin(key)
            found.append((one, said, (said.dataset, key.category, shots, subset, measure)))
    return tuple(found)


@once
def _ours(frame: Frame) -> list[_Under]:
    frames = apart(frame)
    return [_under(one, len(frames) > 1) for one in frames]


def _under(frame: Frame, several: bool) -> _Under:
    found: dict[Place, dict[str, Mapping[str, Any]]] = {}
    names = frame.trials["dataset"]
    label = "".join(names.iloc[0].partition(", ")[1:]) if several else ""
    categories = {str(name): set(some) for name, some in frame.trials.groupby(names.map(_name))["category"]}
    every = cells(frame)
    for category, row in (*_rows(every, True), *_rows(averages(frame, every), False)):
        place = (_name(row["dataset"]), category, int(row["shots"]), row["subset"], row["measure"])
        if metric_of(place[-1]) in ("auroc", "auspro", "aupro", "ap", "f1max", "pixel_auroc"):
            found.setdefault(place, {})[row["variant"]] = row
    return _Under(label, categories, found)


def _name(dataset: str) -> str:
    """Of a data set as tables name it: without the run, and the protocol, that tell two apart."""
    return re.split("[ ,]", dataset)[0]


def _rows(table: pd.DataFrame, by_category: bool) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    whole = table[table["mean"].notna() & (table["n"] == table["planned"])]
    for row in whole.to_dict("records"):
        yield (str(row["category"]) if by_category else MEAN), row


def _protocols(frame: Frame) -> Iterator[str]:
    yield from (name for name, _ in under_each(frame) if name)
