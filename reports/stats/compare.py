"""Pairs of methods on common images: which are compared, and what their differences are worth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import final

import numpy as np
import pandas as pd

from harness.metrics.image import auroc
from reports.frame.load import Frame
from reports.frame.naming import ZERO
from reports.stats import Area, Difference, ScoreTable, difference, mean_area, paired_seeds
from reports.stats.evidence import BOOTSTRAP, CategoryImages, evidence

ALL_PAIRS = 4  # so many methods are all compared with each other; of more, the best with the others
OTHERS = 10  # at most so many others

Pair = tuple[str, str]
Differences = Mapping[str, Difference]  # by subset


@final
@dataclass(frozen=True)
class Comparison:
    """Two methods with one number of shots.

    Attributes:
        first, second: the methods.
        categories: category -> subset -> difference, for categories with common images.
        overall: subset -> difference of the means over the categories that have the subset.
        seeds: pairs of seeds in a category; (least, most).
    """

    first: str
    second: str
    categories: Mapping[str, Differences]
    overall: Differences
    seeds: tuple[int, int]

    def values(self, subset: str) -> list[float]:
        """The differences by category."""
        return [d[subset].value for d in self.categories.values() if subset in d]


@final
@dataclass(frozen=True)
class Comparisons:
    """All of one data set and one number of shots.

    Attributes:
        dataset, shots: which.
        found: the pairs, those of the best method first.
        best: the method with which the others are compared; "" if all pairs are.
        others: methods that it could have been compared with.
        refused: categories whose trials did not judge the same images.
    """

    dataset: str
    shots: int
    found: tuple[Comparison, ...]
    best: str
    others: int
    refused: tuple[str, ...]


def comparisons(frame: Frame) -> list[Comparisons]:
    """What can be compared: methods with common images, by data set and number of shots."""
    ok = frame.trials[frame.trials["status"] == "ok"]
    wanted = [some for _, some in ok.groupby("dataset", sort=False) if some["variant"].nunique() > 1]
    return [c for some in wanted for c in _of_dataset(frame, some)]


def _of_dataset(frame: Frame, trials: pd.DataFrame) -> Iterator[Comparisons]:
    dataset = str(trials["dataset"].iloc[0])
    several = trials.groupby("category")["variant"].nunique() > 1
    shared = set(several.index[several])
    found = evidence(frame)[dataset]
    images = {c: some for c, some in found.images.items() if c in shared}
    refused = tuple(c for c in found.refused if c in shared)
    if not images:
        return
    planned = frame.trials[frame.trials["dataset"] == dataset]
    for shots in sorted(set(trials["shots"]) - {ZERO}) or [ZERO]:
        of_plan, ended = (some[some["shots"].isin([shots, ZERO])] for some in (planned, trials))
        compared = _of_shots(of_plan, ended, images)
        if compared is not None:
            yield replace(compared, dataset=dataset, shots=int(shots), refused=refused)


def _of_shots(
    planned: pd.DataFrame, trials: pd.DataFrame, images: Mapping[str, CategoryImages]
) -> Comparisons | None:
    standing = _standing(planned, trials, images)
    pairs, best = _pairs(standing)
    found = [c for pair in pairs if (c := _compared(pair, trials, images)) is not None]
    return Comparisons("", 0, tuple(found), best, len(standing) - 1, ()) if found else None


def _standing(
    planned: pd.DataFrame, trials: pd.DataFrame, images: Mapping[str, CategoryImages]
) -> list[tuple[bool, bool, float, str]]:
    """Methods: incomplete, marked, minus their AUROC averaged over categories, and the name."""
    categories = planned["category"].nunique()
    found = []
    for variant, some in trials.groupby("variant", sort=False):
        of_it = planned[planned["variant"] == variant]
        complete = bool((of_it["status"] == "ok").all()) and of_it["category"].nunique() == categories
        values = [fmean(v) for c, ids in some.groupby("category") if (v := _aurocs(images.get(str(c)), ids))]
        if values:
            found.append((not complete, any(some["marks"]), -fmean(values), str(variant)))
    return found


def _aurocs(images: CategoryImages | None, trials: pd.DataFrame) -> list[float]:
    if images is None:
        return []
    anomalous = np.array(images.table.labels) != "good"
    rows = images.table.of([i for i in trials["trial_id"] if i in images.table.rows])
    return [value for row in rows if (value := auroc(row, anomalous)) is not None]


def _pairs(standing: Sequence[tuple[bool, bool, float, str]]) -> tuple[list[Pair], str]:
    """All pairs of few methods, the best complete one against the next best of many; and which it is."""
    names = [name for *_, name in sorted(standing, key=lambda method: method[2:])]
    if len(names) <= ALL_PAIRS:
        return list(combinations(names, 2)), ""
    # A number that carries a mark does not compete with those that do not.
    incomplete, _, _, best = min(standing)
    if incomplete:
        return [], ""
    names.remove(best)
    return [(best, other) for other in names[:OTHERS]], best


def _compared(pair: Pair, trials: pd.DataFrame, images: Mapping[str, CategoryImages]) -> Comparison | None:
    areas: dict[str, tuple[Mapping[str, Area], Mapping[str, Area]]] = {}
    seeds = []
    for category, found in images.items():
        first, second = (_runs(trials, category, variant, found.table) for variant in pair)
        both = paired_seeds(list(first.values()), list(second.values()))
        if both:
            areas[category] = found.areas(_times(first, both, 0)), found.areas(_times(second, both, 1))
            seeds.append(len(both))
    by_category = {c: _differences(a, b) for c, (a, b) in areas.items()}
    by_category = {c: d for c, d in by_category.items() if d}
    if not by_category:
        return None
    return Comparison(*pair, by_category, _overall(list(areas.values())), (min(seeds), max(seeds)))


def _runs(
    trials: pd.DataFrame, category: str, variant: str, table: ScoreTable
) -> dict[str, tuple[int | None, int | None]]:
    """Trial id -> its seeds."""
    some = trials[(trials["category"] == category) & (trials["variant"] == variant)]
    pairs = zip(some["trial_id"], some["seed"], strict=True)
    return {i: _seeds(seed) for i, seed in pairs if i in table.rows}


def _seeds(words: str) -> tuple[int | None, int | None]:
    split, run = (None if word == "-" else int(word) for word in words.split("/"))
    return split, run


def _times(runs: Mapping[str, object], pairs: Sequence[tuple[int, int]], side: int) -> dict[str, int]:
    """How often each trial is in a pair."""
    ids = list(runs)
    counts = np.bincount([pair[side] for pair in pairs], minlength=len(ids))
    return {i: int(n) for i, n in zip(ids, counts, strict=True) if n}


def _differences(first: Mapping[str, Area], second: Mapping[str, Area]) -> dict[str, Difference]:
    return {s: difference(first[s], second[s], BOOTSTRAP) for s in first}


def _overall(areas: Sequence[tuple[Mapping[str, Area], Mapping[str, Area]]]) -> Differences:
    subsets = dict.fromkeys(s for first, _ in areas for s in first)
    both = {s: [(a[s], b[s]) for a, b in areas if s in a] for s in subsets}
    return {
        s: difference(mean_area([a for a, _ in some]), mean_area([b for _, b in some]), BOOTSTRAP)
        for s, some in both.items()
    }
