"""Numbers of ours for the cells of a paper's table: mean and standard deviation over seeds, never partial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from reports.frame.naming import ZERO, words
from reports.papers.places import Place, Places
from reports.papers.series import ORACLE, Series
from reports.papers.spec import PaperTable, Values
from reports.stats import spread

DEMO = "demo data"


@final
@dataclass(frozen=True)
class Ours:
    """A number of ours for one cell.

    Attributes:
        mean, std: fractions; None where there is none.
        n, planned: seeds in it, and seeds planned.
        why: what keeps it from being printed; "" if it is there.
        marks: what has to be said of it.
        scope: how it strays from the paper's categories or shots; "" if it does not.
    """

    mean: float | None
    std: float | None
    n: int
    planned: int
    why: str = ""
    marks: tuple[str, ...] = ()
    scope: str = ""


@final
@dataclass(frozen=True)
class _Scope:
    """What a number is averaged over, and how that strays from the paper."""

    categories: tuple[str, ...]
    shots: tuple[int, ...]
    words: str = ""

    @property
    def single(self) -> bool:
        return len(self.categories) * len(self.shots) == 1


@final
@dataclass(frozen=True)
class Numbers:
    """Everything that there is for a table, ready to be looked up."""

    spec: PaperTable
    places: Places

    def categories(self, series: Series) -> list[str]:
        """Categories with planned trials of a series, in the order of the plan."""
        return list(dict.fromkeys(category for category, _ in self._of(series)))

    def _of(self, series: Series) -> Mapping[tuple[str, int], Place]:
        return {where: p for s in series.settings for where, p in self.places.get(s, {}).items()}

    def number(
        self,
        series: Series,
        subset: str,
        category: str | None,
        shots: Sequence[int],
        where: Values | None = None,
    ) -> Ours | None:
        """The number of a cell; None where nothing of it is planned.

        Args:
            series: whose.
            subset: all, logical, structural or mean.
            category: one, or None for the average over those of the table.
            shots: numbers of shots to average over.
            where: parameters that the cell fixes.
        """
        scope = self._scope(series, category, tuple(shots))
        found = {
            (c, k): place
            for c in scope.categories
            for k in scope.shots
            if (place := self._place(series, c, k, where or {})) is not None
        }
        if not found:
            return None
        made = _summary(found, (series.protocol.measure, subset), scope, self.spec.ddof)
        return made if series.by_category is None else _as_oracle(made, series)

    def _place(self, series: Series, category: str, shots: int, where: Values) -> Place | None:
        setting = series.setting(category, where)
        there = self.places.get(setting, {}) if setting else {}
        return there.get((category, shots)) or there.get((category, ZERO))

    def _scope(self, series: Series, category: str | None, shots: tuple[int, ...]) -> _Scope:
        """The paper's categories and shots; on demo data, which no paper has, those that there are."""
        wanted = self.spec.categories if category is None else (category,)
        there = self._of(series)
        if not any(DEMO in place.marks for place in there.values()):
            return _Scope(wanted, shots)
        known = tuple(dict.fromkeys(c for c, _ in there))
        categories = wanted if category or set(wanted) <= set(known) else known
        found = tuple(k for k in shots if {k, ZERO} & {k for c, k in there if c in categories}) or shots
        strays = [f"average over {_count(known)}, not {len(wanted)}"] if categories != wanted else []
        strays += [f"over {'/'.join(map(str, found))} shots"] if found != shots else []
        return _Scope(categories, found, ", ".join(strays))


def _count(categories: Sequence[str]) -> str:
    return f"{len(categories)} categor{'y' if len(categories) == 1 else 'ies'}"


def _summary(
    found: Mapping[tuple[str, int], Place], wanted: tuple[str, str], scope: _Scope, ddof: int
) -> Ours:
    marks = tuple(sorted({mark for place in found.values() for mark in place.marks}))
    planned = max(len(place.seeds) for place in found.values())
    if why := _gaps(found, wanted, scope):
        return Ours(None, None, 0, planned, why, marks)
    values = [place.values[wanted] for place in found.values()]
    per_seed = [spread([of_place[seed] for of_place in values]).mean for seed in values[0]]
    over_seeds = spread(per_seed, ddof)
    return Ours(over_seeds.mean, over_seeds.std, over_seeds.n, planned, "", marks, scope.words)


def _gaps(found: Mapping[tuple[str, int], Place], wanted: tuple[str, str], scope: _Scope) -> str:
    """What is incomplete; nothing for a single cell of which some seeds have ended."""
    gaps: dict[str, dict[str, None]] = {}
    for category in scope.categories:
        for k in scope.shots:
            if gap := _gap(found.get((category, k)), wanted, scope.single):
                gaps.setdefault(gap, {})[words(category)] = None
    seeds = {frozenset(place.values.get(wanted, {})) for place in found.values()}
    if not gaps and len(seeds) > 1:
        return "other seeds in some categories"
    everywhere = len(scope.categories)
    return "; ".join(g if len(c) == everywhere else f"{g} in {', '.join(c)}" for g, c in gaps.items())


def _gap(place: Place | None, wanted: tuple[str, str], single: bool) -> str:
    if place is None:
        return "not planned"
    values = place.values.get(wanted, {})
    if None in values.values():
        return "undefined"
    if not values:
        return "/".join(sorted(place.statuses - {"ok"})) or "not measured"
    return "" if single or len(values) == len(place.seeds) else f"{len(values)}/{len(place.seeds)} seeds"


def _as_oracle(ours: Ours, series: Series) -> Ours:
    return replace(ours, marks=(*ours.marks, ORACLE.format(parameter=series.contestant.oracle)))
