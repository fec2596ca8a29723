"""What others have published under the protocol of a run, beside the run's own averages.

Numbers of two papers say something about each other only under one protocol, so that there is a table for
every protocol that trials name and the ledger knows, of the same data set, and none for trials without.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import pandas as pd

from reports.frame.cells import DDOF, averages, cells
from reports.frame.load import Frame
from reports.frame.naming import FULL, ZERO, shots_title
from reports.frame.protocols import each
from reports.papers.ledger import ABSENT, MEAN, Published, ledger
from reports.papers.origin import Origin, origin, protocols
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, statistic

COLUMN = "protocols"  # of the trials table: under which a trial was asked for, none to several
_LIMIT = re.compile(r"fpr_limit=([\d.]+)")

Place = tuple[int, str, str]  # shots, subset, measure
Entry = tuple[Place, Published, Origin]
Ours = Mapping[tuple[str, Place], Any]


def published(frame: Frame) -> list[Table]:
    """One table per data set and protocol of the frame of which the ledger has averages."""
    if COLUMN not in frame.trials:  # runs of earlier versions
        return []
    return [table for one in each(frame) for table in _of_one(one)]


def _of_one(frame: Frame) -> Iterator[Table]:
    said = frame.trials[["dataset", COLUMN]].explode(COLUMN).dropna().drop_duplicates()
    for dataset, protocol in said.itertuples(index=False):
        yield from _table(frame, str(dataset), str(protocol))


def _table(frame: Frame, dataset: str, protocol: str) -> Iterator[Table]:
    """The table of one protocol as trials name it: "clip_lad", or "clip_lad, with seeds 10"."""
    name, _, changed = protocol.partition(",")
    entries = _entries(dataset.partition(" ")[0], name.strip())
    ours = _ours(_under(frame, dataset, protocol))
    places = [p for p in dict.fromkeys(place for place, _, _ in entries) if any(p == o for _, o in ours)]
    if not places:
        return
    body = _Body(entries, ours, f"protocol {protocol}" if changed else "")
    yield Table(
        f"published-{re.sub(r'[^a-z0-9]+', '-', f'{dataset}-{protocol}'.lower()).strip('-')}",
        f"Published under the protocol {name} · {dataset}",
        f"{protocols()[name.strip()]} Ours: mean ± sample standard deviation over seeds (ddof = {DDOF}).",
        "Method",
        tuple(column for place in places for column in _columns(frame, place)),
        (Group("", tuple(body.rows(places))),),
        tuple(dict.fromkeys(_sources(entries))),
        "papers",
    )


def _entries(dataset: str, protocol: str) -> list[Entry]:
    every = ((place_of(one), one, origin(key)) for key, one in ledger().items() if key.category == MEAN)
    fitting = ((p, o, said) for p, o, said in every if (said.dataset, said.protocol) == (dataset, protocol))
    return [(place, one, said) for place, one, said in fitting if place is not None]


def place_of(one: Published) -> Place | None:
    """Where a published average stands; None where no average of ours can stand beside it."""
    limit = _LIMIT.fullmatch(one.key.param)
    shots = {"full": FULL, "0-shot": ZERO}.get(one.key.setting)
    if shots is None and one.key.setting.removesuffix("-shot").isdigit():
        shots = int(one.key.setting.removesuffix("-shot"))
    if shots is None or one.value is None or (one.key.param != ABSENT and not limit):
        return None
    metric = re.sub(r"05$", "", one.key.metric) if limit else one.key.metric
    return shots, one.key.subset, f"{metric}@{float(limit[1]):g}" if limit else metric


def _under(frame: Frame, dataset: str, protocol: str) -> Frame:
    asked = frame.trials[COLUMN].explode() == protocol  # as often as a trial names some
    trials = frame.trials[(frame.trials["dataset"] == dataset) & asked.groupby(level=0, sort=False).any()]
    metrics = frame.metrics[frame.metrics["trial_id"].isin(trials["trial_id"])]
    return replace(frame, trials=trials, metrics=metrics)


def _ours(frame: Frame) -> Ours:
    means: pd.DataFrame = averages(frame, cells(frame))
    complete = means[means["mean"].notna()]
    keys = zip(complete["variant"], complete["shots"], complete["subset"], complete["measure"], strict=True)
    return dict(zip(((v, (k, s, m)) for v, k, s, m in keys), complete.to_dict("records"), strict=True))


def _columns(frame: Frame, place: Place) -> Iterator[Column]:
    shots, subset, measure = place
    heading = f"{shots_title(shots)}, {subset}, {frame.title(measure)}"
    key = re.sub(r"\W+", "_", f"{shots_title(shots)}_{subset}_{measure}")
    yield Column(f"{key}_published", "published", Kind.PUBLISHED, heading)
    better = frame.scale(measure).higher_is_better
    yield Column(f"{key}_ours", "ours", Kind.STATISTIC, heading, better)


@final
@dataclass(frozen=True)
class _Body:
    """What is published, what is ours, and what has to be said of ours."""

    entries: Sequence[Entry]
    ours: Ours
    changed: str

    def rows(self, places: Sequence[Place]) -> Iterator[Row]:
        """A row per published method and source, once per variant of ours of that name, then our others."""
        left = dict.fromkeys(variant for variant, _ in self.ours)
        for method, source in dict.fromkeys((one.key.method, said.paper) for _, one, said in self.entries):
            same = [v for v in dict.fromkeys(v for v, _ in self.ours) if plain(v) == plain(method)]
            for variant in same or [""]:
                yield self._row(method, source, variant, places)
                left.pop(variant, None)
        yield from (self._row("", "", variant, places) for variant in left)

    def _row(self, method: str, source: str, variant: str, places: Sequence[Place]) -> Row:
        found = {p: (o, s) for p, o, s in self.entries if (o.key.method, s.paper) == (method, source)}
        cells = [c for p in places for c in (_cell(found.get(p)), self._statistic(variant, p))]
        sources = {said.paper for _, one, said in self.entries if one.key.method == method}
        said = dict.fromkeys((method, source if len(sources) > 1 else "", variant))  # each name once
        return Row(" · ".join(filter(None, said)), tuple(cells))

    def _statistic(self, variant: str, place: Place) -> Cell:
        row = self.ours.get((variant, place))
        if row is None:
            return Cell()
        marks = (*row["marks"], *((self.changed,) if self.changed else ()))
        std = None if pd.isna(row["std"]) else row["std"]
        return statistic(row["mean"], std, row["n"], row["planned"], marks)


def plain(name: str) -> str:
    """A method's name without settings, case and signs: `subspace_ad[image_size=672]` is SubspaceAD."""
    return re.sub(r"[^a-z0-9+]", "", name.partition("[")[0].partition(" (")[0].lower())


def _cell(entry: tuple[Published, Origin] | None) -> Cell:
    if entry is None:
        return Cell()
    one, said = entry
    spread = "" if one.std is None else f"{one.std:.{one.decimals}f}"
    std = None if one.std is None else round(one.std / 100, 6)
    return Cell(one.text, round((one.value or 0.0) / 100, 6), spread, std, marks=said.marks)


def _sources(entries: Sequence[Entry]) -> Iterator[str]:
    for _, one, said in entries:
        source = f"{said.paper} ({said.version}, {said.venue} {said.year}), {one.key.table}"
        yield f"{source}: {said.seen}; {said.where}."
