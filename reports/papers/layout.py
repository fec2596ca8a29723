"""A table of a paper with numbers of ours beside the published ones, in the paper's layout."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import final

from reports.frame.load import Frame
from reports.frame.naming import words
from reports.papers.ledger import MEAN, Published, printed_tables
from reports.papers.ours import Numbers, Ours
from reports.papers.places import places
from reports.papers.series import Protocol, Series, all_series, labels, with_oracles
from reports.papers.spec import Line, PaperTable, name
from reports.papers.verdict import Verdict, verdict
from reports.tables.table import UNDEFINED, Cell, Column, Group, Kind, Row, Table, slug, statistic

_HOW = (
    "{page}Percent. Published numbers in italics, as printed; ours upright, mean ± standard "
    "deviation over seeds "
    "(ddof = {ddof}). Δ: ours minus published in points; within: not more than the larger standard "
    "deviation of "
    "the two, or equal as printed; off: more; n.c.: not comparable, for the reasons noted. "
    "Protocol: {protocol}"
)


@final
@dataclass(frozen=True)
class _Block:
    """Columns of ours beside a published one: those of one series, or of all methods with one protocol."""

    label: str
    protocol: Protocol
    series: Series | None


@final
@dataclass(frozen=True, eq=False)
class _Body:
    """A paper's table together with what a frame has for it."""

    frame: Frame
    spec: PaperTable

    @cached_property
    def numbers(self) -> Numbers:
        return Numbers(self.spec, places(self.frame, self.spec))

    @cached_property
    def series(self) -> list[Series]:
        """Series with something planned for the table."""
        every = all_series(self.frame, self.spec, self.numbers.places)
        found = [series for series in every if self._is_planned(series)]
        return with_oracles(found, self._score, self.spec.categories)

    def _is_planned(self, series: Series) -> bool:
        lines = ((row, column) for row in self.spec.rows for column in self.spec.columns)
        return any(self.ours(series, row, column) is not None for row, column in lines)

    def _score(self, series: Series, category: str) -> float | None:
        """By what an oracle chooses: the mean of logical and structural AUROC, or what the table measures."""
        shots = next(iter(self.spec.shots.values()))
        ours = self.numbers.number(series, MEAN, category, shots)
        return ours.mean if ours else None

    def ours(self, series: Series, row: Line, column: Line) -> Ours | None:
        place = self.spec.place(row, column)
        if place.get("method", series.contestant.published) != series.contestant.published:
            return None
        category = None if place["category"] == MEAN else place["category"]
        where = {**row.where, **column.where}
        shots = self.spec.shots[place["setting"]]
        return self.numbers.number(series, place["subset"], category, shots, where)

    def of(self, column: Line) -> list[Series]:
        """The series that may stand beside a published column."""
        method = column.at.get("method")
        return [s for s in self.series if method in (None, s.contestant.published)]


def paper_table(frame: Frame, spec: PaperTable) -> Table:
    """One table of a paper, with ours wherever the frame has a trial for it."""
    body = _Body(frame, spec)
    blocks = {name(column): _blocks(body, column) for column in spec.columns}
    columns = [c for column in spec.columns for c in _columns(column, blocks[name(column)])]
    groups = [
        Group(label, tuple(r for row in rows for r in _rows(body, row, blocks)))
        for label, rows in groupby(_with_extra_rows(body), key=lambda row: row.group)
    ]
    printed = printed_tables()[spec.source, spec.table]
    page = f"Page {printed.page} of the paper. " if printed.page else ""
    return Table(
        spec.key,
        spec.title,
        _HOW.format(page=page, ddof=spec.ddof, protocol=spec.protocol),
        spec.stub,
        tuple(columns),
        tuple(groups),
        (*spec.notes, *_absent(body)),
        "papers",
    )


def has_own(frame: Frame, spec: PaperTable) -> bool:
    """Whether trials of the paper's own method are planned for its table."""
    return any(s.contestant.published == spec.own for s in _Body(frame, spec).series)


def _blocks(body: _Body, column: Line) -> list[_Block]:
    series = body.of(column)
    if not body.spec.methods_are_rows:
        return [_Block(label, s.protocol, s) for label, s in zip(labels(series), series, strict=True)]
    first = {s.protocol: s for s in reversed(series)}
    protocols = [s.protocol for s in series if first[s.protocol] is s]
    bare = [replace(first[p], rest={}) for p in protocols]
    return [_Block(label, p, None) for label, p in zip(labels(bare), protocols, strict=True)]


def _columns(column: Line, blocks: Sequence[_Block]) -> Iterator[Column]:
    key = slug(column.label) or "published"
    if not blocks:
        yield Column(f"{key}_published", column.label, Kind.PUBLISHED)
        return
    yield Column(f"{key}_published", "paper", Kind.PUBLISHED, column.label)
    for block in blocks:
        label = f"ours {block.label}".strip()
        ours = f"{key}_{slug(label)}"
        yield Column(ours, label, Kind.STATISTIC, column.label)
        yield Column(f"{ours}_difference", "Δ", Kind.VERDICT, column.label)


def _with_extra_rows(body: _Body) -> Iterator[Line]:
    """The paper's rows, and in each group those of our categories that it does not have."""
    for _, rows in groupby(body.spec.rows, key=lambda row: row.group):
        lines = list(rows)
        yield from lines
        named = [line for line in lines if "category" in line.at]
        if named:
            yield from (_extra(category, named[0]) for category in _extra_categories(body))


def _extra(category: str, like: Line) -> Line:
    label = f"{words(category).capitalize()} (not in the paper)"
    return replace(like, label=label, at={**like.at, "category": category})


def _extra_categories(body: _Body) -> list[str]:
    listed = {row.at.get("category") for row in body.spec.rows}
    found = [c for series in body.series for c in body.numbers.categories(series)]
    return [c for c in dict.fromkeys(found) if c not in listed]


def _rows(body: _Body, row: Line, blocks: Mapping[str, Sequence[_Block]]) -> Iterator[Row]:
    """One row; of a method in rows one per setting of ours."""
    if not body.spec.methods_are_rows:
        yield Row(row.label, tuple(_cells(body, row, blocks, None)))
        return
    series = [s for s in body.series if s.contestant.published == row.at["method"]]
    kinds: dict[str, list[Series]] = {}
    for one, label in zip(series, labels([_same_protocol(s, series) for s in series]), strict=True):
        kinds.setdefault(label, []).append(one)
    for label, some in kinds.items() or [("", [])]:
        yield Row(f"{row.label} [{label}]" if label else row.label, tuple(_cells(body, row, blocks, some)))


def _same_protocol(one: Series, series: Sequence[Series]) -> Series:
    """For names of rows: the protocol is already in the name of the column."""
    return replace(one, protocol=series[0].protocol)


def _cells(
    body: _Body, row: Line, blocks: Mapping[str, Sequence[_Block]], series: Sequence[Series] | None
) -> Iterator[Cell]:
    for column in body.spec.columns:
        published = body.spec.published.get((name(row), name(column)))
        yield _published(published)
        for block in blocks[name(column)]:
            one = block.series or next((s for s in series or () if s.protocol == block.protocol), None)
            ours = body.ours(one, row, column) if one else None
            yield _number(ours)
            yield _difference(verdict(published, ours, one) if published and ours and one else None)


def _published(one: Published | None) -> Cell:
    if one is None:
        return Cell()
    if one.value is None:
        _, _, candidates = one.key.param.partition("ocr_ambiguous:")
        unread = f"unreadable in the paper: one of {' and '.join(candidates.split('|'))}"
        return Cell(UNDEFINED, marks=(unread,) if candidates else ())
    spread = "" if one.std is None else f"{one.std:.1f}"
    std = None if one.std is None else round(one.std / 100, 6)
    return Cell(one.text, round(one.value / 100, 6), spread, std)


def _number(ours: Ours | None) -> Cell:
    if ours is None:
        return Cell()
    if ours.mean is None:
        return Cell(UNDEFINED, n=ours.n, planned=ours.n, marks=(f"no number: {ours.why}",))
    return statistic(ours.mean, ours.std, ours.n, ours.planned, ours.marks)


def _difference(found: Verdict | None) -> Cell:
    if found is None:
        return Cell()
    text = f"{round(found.difference, 1) + 0.0:+.1f} {found.word}".replace("-", "−", 1)
    return Cell(text, found.difference / 100, verdict=str(found.word), marks=found.reasons)


def _absent(body: _Body) -> Iterable[str]:
    """Which methods of the paper have no trial of ours here."""
    there = {s.contestant.published for s in body.series}
    absent = [c.published for c in body.spec.contestants if c.published not in there]
    if absent:
        yield f"Published numbers only (no trial of ours for this table): {', '.join(absent)}."
    if body.spec.own in absent:
        yield f"{body.spec.config} makes ours of {body.spec.own}."
