"""Series: the trials of ours that may stand in one column of a paper's table, and nothing else.

Whatever must not be mixed is part of a series: the data set, the rule by which supports were drawn, the
definition of the metric (version, limit, the size at which maps are scored), every parameter that is not an
axis of the table (so also the resolution), and the run where runs disagree. Two of them are two columns.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from harness.metrics.table import scale_of
from reports.frame.load import Frame
from reports.frame.naming import measure_title, metric_of
from reports.papers.places import Places, Setting, measures
from reports.papers.spec import Contestant, PaperTable, Values

ORACLE = "oracle: {parameter} chosen per category by AUROC on the test images"


@final
@dataclass(frozen=True)
class Protocol:
    """What all numbers of a column share besides the method.

    Attributes:
        dataset: the data set, as tables name it.
        support: the rule by which supports were drawn, as JSON.
        measure: metric, limit and definition, as one word; "" while no trial has ended.
    """

    dataset: str
    support: str
    measure: str


@final
@dataclass(frozen=True)
class Series:
    """Trials that differ in nothing but axes of the table, category, shots and seed.

    Attributes:
        contestant: the method of the paper that they stand for.
        protocol: what they share.
        rest: their other parameters, and the run where runs disagree.
        axes: the variants, with the values of the axes that each has.
        by_category: category -> variant, of an oracle; None of everything else.
    """

    contestant: Contestant
    protocol: Protocol
    rest: Mapping[str, Any]
    axes: tuple[tuple[Mapping[str, Any], str], ...]
    by_category: Mapping[str, str] | None = None

    def setting(self, category: str, where: Values) -> Setting | None:
        """What fills a cell; the preferred setting where several would do."""
        oracle = self.by_category
        variant = self._best(where) if oracle is None else oracle.get(category)
        return None if variant is None else self._setting(variant)

    def _best(self, where: Values) -> str | None:
        fitting = [(values, variant) for values, variant in self.axes if fits(values, where)]
        fitting.sort(key=lambda found: [wanted.index(found[0].get(n)) for n, wanted in where.items()])
        return fitting[0][1] if fitting else None

    def _setting(self, variant: str) -> Setting:
        return Setting(variant, self.protocol.dataset, self.protocol.support)

    @property
    def settings(self) -> list[Setting]:
        """All settings in it."""
        variants = (
            (variant for _, variant in self.axes) if self.by_category is None else self.by_category.values()
        )
        return [self._setting(variant) for variant in dict.fromkeys(variants)]


def all_series(frame: Frame, spec: PaperTable, places: Places) -> list[Series]:
    """The series of every contestant, in the order of the contestants."""
    known = frame.trials.drop_duplicates("variant").set_index("variant")[["method", "params"]]
    parsed = {variant: (method, json.loads(params or "{}")) for variant, method, params in known.itertuples()}
    found: dict[str, Series] = {}
    for contestant in spec.contestants:
        for setting, there in places.items():
            method, values = parsed[setting.variant]
            if method == contestant.ours and fits(values, contestant.settings, but=spec.axes):
                for measure in measures(there):
                    _add(found, _single(spec, contestant, setting, measure, values))
    return list(found.values())


def _add(found: dict[str, Series], one: Series) -> None:
    key = json.dumps([one.contestant.published, vars(one.protocol), one.rest], sort_keys=True, default=str)
    old = found.get(key)
    found[key] = replace(old, axes=(*old.axes, *one.axes)) if old else one


def _single(
    spec: PaperTable, contestant: Contestant, setting: Setting, measure: str, values: Mapping[str, Any]
) -> Series:
    axes = {name: value for name, value in values.items() if name in spec.axes}
    shared = (spec.axes - spec.also_apart) | spec.aside
    rest = {name: value for name, value in values.items() if name not in shared}
    _, apart, run = setting.variant.rpartition(" (")
    rest |= {"run": run[:-1]} if apart else {}
    protocol = Protocol(setting.dataset, setting.support, measure)
    return Series(contestant, protocol, rest, ((axes, setting.variant),))


def fits(values: Mapping[str, Any], wanted: Values, but: Iterable[str] = ()) -> bool:
    """Whether parameters have one of the values that are meant; some names may be left aside.

    None is also what a trial has that is older than the parameter.
    """
    return all(values.get(name) in wanted[name] for name in wanted.keys() - set(but))


def labels(series: Sequence[Series]) -> list[str]:
    """What tells series of one method apart, as short as possible; "" for a single one."""
    rests = [dict(one.rest) | _words(one.protocol) for one in series]
    names = dict.fromkeys(name for rest in rests for name in rest)
    differing = [n for n in names if len({json.dumps(r.get(n), default=str) for r in rests}) > 1]
    return [", ".join(_named(n, rest[n]) for n in differing if n in rest) for rest in rests]


def _words(protocol: Protocol) -> dict[str, str]:
    support = json.loads(protocol.support).get("rule", "")
    metric = measure_title(protocol.measure, scale_of(metric_of(protocol.measure), {}))
    return {"data": protocol.dataset, "support": support, "metric": metric}


def _named(name: str, value: Any) -> str:
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"


Score = Callable[[Series, str], float | None]


def with_oracles(series: Iterable[Series], score: Score, categories: Sequence[str]) -> list[Series]:
    """Series that differ only in what the paper chose per category, followed by that choice.

    Args:
        series: all of a table.
        score: (series, category) -> the number by which is chosen, or None.
        categories: for which to choose.
    """
    groups: dict[str, list[Series]] = {}
    for one in series:
        groups.setdefault(_without_oracle(one), []).append(one)
    return [one for group in groups.values() for one in (*group, *_oracle(group, score, categories))]


def _without_oracle(one: Series) -> str:
    rest = {n: v for n, v in one.rest.items() if n != one.contestant.oracle}
    return json.dumps([one.contestant.published, vars(one.protocol), rest], sort_keys=True, default=str)


def _oracle(group: Sequence[Series], score: Score, categories: Sequence[str]) -> list[Series]:
    parameter = group[0].contestant.oracle
    if not parameter or len(group) < 2:
        return []
    chosen = {}
    for category in categories:
        scores = [score(one, category) for one in group]
        known = [value for value in scores if value is not None]
        if len(known) == len(group):
            chosen[category] = group[scores.index(max(known))].axes[0][1]
    rest = {**group[0].rest, parameter: "oracle"}
    return [replace(group[0], rest=rest, axes=(), by_category=chosen)] if chosen else []
