"""What the differences between methods are worth: intervals, p-values, and how far those can go at all."""

from collections.abc import Iterable, Mapping

import pandas as pd

from harness.metrics.scale import Scale
from reports.frame.cells import SUBSETS
from reports.frame.load import Frame
from reports.frame.naming import ZERO, shots_title, words
from reports.stats import Difference, Wilcoxon, family, holm, wilcoxon
from reports.stats.compare import ALL_PAIRS, Comparison, Comparisons, comparisons
from reports.stats.evidence import BOOTSTRAP
from reports.tables.table import Cell, Column, Group, Row, Table, number, slug, statistic, text

_LEVEL = f"{100 * BOOTSTRAP.level:g} %"
_KIND = {"bca": "BCa", "percentile": "percentile"}[BOOTSTRAP.kind]
_SHORT = {"logical": "Logical", "structural": "Structural", "mean": "Mean of both", "all": "Pooled"}

_INTERVAL = (
    f"{_LEVEL} intervals: {_KIND} bootstrap, {BOOTSTRAP.resamples} resamples of the test "
    "images within good, logical and structural ones, the same for all methods and seeds, seeds averaged "
    "inside each."
)
_P = (
    "p: DeLong's test with the placements of images averaged over seeds, adjusted by Holm over the {n} "
    "comparisons of a subset in this table."
)
_GIVEN = (
    "Seeds are nested in images and count as no further samples: intervals and p are about other images of "
    "the same kind, with the seeds that were run."
)
_CATEGORIES = (
    "Intervals: images resampled within each category, the categories as given. p: exact Wilcoxon "
    "signed-rank test over the differences of categories, and adjusted by Holm over the pairs of a subset."
)
_SUBTYPES = (
    "Sub-types of one object are not independent of each other, which the test over categories assumes."
)


def significance(frame: Frame) -> list[Table]:
    """By data set and number of shots: pairs of methods over categories, and by category."""
    every = comparisons(frame)
    return [t for some in every for t in (*_over_categories(frame, some), _by_category(frame, some))]


def _by_category(frame: Frame, some: Comparisons) -> Table:
    """Groups of rows are pairs, rows are categories, columns are subsets with difference, ends and p."""
    subsets = _subsets(some, ("logical", "structural", "all"))
    adjusted = {s: family(_tests(some, s)) for s in subsets}
    groups = [
        Group(_name(pair), tuple(_category_row(frame, some, pair, c, adjusted) for c in pair.categories))
        for pair in some.found
    ]
    n = max(map(len, adjusted.values()))
    return Table(
        slug("differences", some.dataset, shots_title(some.shots)),
        f"AUROC differences by category, {shots_title(some.shots)} · {some.dataset}",
        f"Points of AUROC, first minus second method. {_INTERVAL} {_P.format(n=n)}",
        "Category",
        tuple(c for s in subsets for c in _columns(s, len(subsets) > 1)),
        tuple(groups),
        (*_notes(some), _GIVEN),
        "differences",
    )


Key = tuple[str, str, str]  # both methods, category


def _tests(some: Comparisons, subset: str) -> dict[Key, Difference]:
    return {
        (pair.first, pair.second, category): found[subset]
        for pair in some.found
        for category, found in pair.categories.items()
        if subset in found
    }


def _name(pair: Comparison) -> str:
    return f"{pair.first} minus {pair.second}"


def _columns(subset: str, several: bool) -> Iterable[Column]:
    group = _SHORT[subset] if several else ""
    names = {"difference": "Difference", "low": "from", "high": "to", "p": "p"}
    return [Column(f"{subset}_{key}", label, group=group) for key, label in names.items()]


def _category_row(
    frame: Frame,
    some: Comparisons,
    pair: Comparison,
    category: str,
    adjusted: Mapping[str, Mapping[Key, float | None]],
) -> Row:
    cells = []
    for subset, p_values in adjusted.items():
        if found := pair.categories[category].get(subset):
            cells += _difference(found, _marks(frame, some, pair))
            cells += [_p(p_values[pair.first, pair.second, category])]
        else:
            cells += [text(None)] * 4
    return Row(words(category), tuple(cells))


def _over_categories(frame: Frame, some: Comparisons) -> list[Table]:
    """Groups of rows are subsets, rows are pairs; nothing for a data set of one category."""
    if max(len(pair.categories) for pair in some.found) < 2:
        return []
    subsets = _subsets(some, SUBSETS)
    tests = {s: [wilcoxon(v) if (v := pair.values(s)) else None for pair in some.found] for s in subsets}
    groups = [Group(SUBSETS[s], tuple(_pair_rows(frame, some, s, tests[s]))) for s in subsets]
    table = Table(
        slug("differences_over_categories", some.dataset, shots_title(some.shots)),
        f"AUROC differences over categories, {shots_title(some.shots)} · {some.dataset}",
        f"Mean difference over categories, in points of AUROC, first minus second method. {_CATEGORIES}",
        "First minus second",
        _OVER,
        tuple(groups),
        (*_limits(w for found in tests.values() for w in found if w), *_notes(some), *_subtypes(some)),
        "differences",
    )
    return [table]


_OVER = (
    Column("categories", "Categories"),
    Column("difference", "Difference"),
    Column("low", "from"),
    Column("high", "to"),
    Column("wins", "Wins"),
    Column("ties", "Ties"),
    Column("losses", "Losses"),
    Column("n", "n"),
    Column("p", "p"),
    Column("p_holm", "p, Holm"),
    Column("smallest_p", "Smallest p"),
)


def _pair_rows(frame: Frame, some: Comparisons, subset: str, tests: list[Wilcoxon | None]) -> Iterable[Row]:
    adjusted = holm([None if w is None else w.p for w in tests])
    for pair, found, p in zip(some.found, tests, adjusted, strict=True):
        if found is None:
            yield Row(_name(pair), (number(0), *[text(None)] * (len(_OVER) - 1)))
            continue
        counts = (number(k) for k in (found.wins, found.ties, found.losses, found.n))
        difference = _difference(pair.overall[subset], _marks(frame, some, pair))
        tails = (_p(found.p), _p(p), _p(found.smallest_p))
        yield Row(_name(pair), (number(len(pair.values(subset))), *difference, *counts, *tails))


def _limits(tests: Iterable[Wilcoxon]) -> list[str]:
    """What so few categories can never show."""
    found = list(tests)
    best = max(found, key=lambda w: w.n)
    if best.smallest_p <= 0.05:
        return []
    which = "1 category that differs" if best.n == 1 else f"{best.n} categories that differ"
    return [
        f"With {which}, Wilcoxon's test gives no p below {best.smallest_p:.4g}: no difference over "
        "categories can be significant at 5 %."
    ]


def _subtypes(some: Comparisons) -> list[str]:
    return [_SUBTYPES] if any("/" in c for pair in some.found for c in pair.categories) else []


def _notes(some: Comparisons) -> list[str]:
    """Which pairs are missing, and why."""
    found = []
    if some.best:
        left = some.others - len(some.found)
        whom = f"the {len(some.found)} next best of the {some.others} others" if left else "each other one"
        found.append(f"More than {ALL_PAIRS} methods: the best complete one, {some.best}, with {whom}.")
    if some.refused:
        found.append(f"Not compared, other test images: {', '.join(map(words, some.refused))}.")
    return found


def _difference(found: Difference, marks: tuple[str, ...]) -> tuple[Cell, Cell, Cell]:
    value, low, high = (Cell(f"{100 * v + 0.0:+.1f}", v) for v in (found.value, found.low, found.high))
    return Cell(value.text, found.value, marks=marks), low, high


def _p(value: float | None) -> Cell:
    if value is None:
        return text(None)
    return Cell("<0.001" if value < 0.001 else f"{value:.3g}", value)


def _marks(frame: Frame, some: Comparisons, pair: Comparison) -> tuple[str, ...]:
    """What has to be said of either method."""
    trials = frame.trials
    of_them = (trials["dataset"] == some.dataset) & trials["variant"].isin([pair.first, pair.second])
    shown = trials.loc[of_them & trials["shots"].isin([some.shots, ZERO]), "marks"]
    return tuple(sorted({mark for marks in shown for mark in marks}))


def _subsets(some: Comparisons, order: Iterable[str]) -> list[str]:
    present = {s for pair in some.found for d in pair.categories.values() for s in d}
    return [s for s in order if s in present]


def intervals(frame: Frame) -> list[Table]:
    """Intervals of cells that are one trial, where `harness.rescore --intervals` has put them."""
    metrics = frame.metrics
    if "ci_low" not in metrics or metrics["ci_low"].isna().all():
        return []
    place = ["dataset", "shots", "variant", "category"]
    single = metrics.groupby(place)["trial_id"].transform("nunique") == 1
    shown = metrics[single & metrics["subset"].isin(list(SUBSETS))]
    kinds = shown.groupby(["dataset", "measure", "shots"], sort=False)
    return [_intervals(frame, some) for _, some in kinds if some["ci_low"].notna().any()]


def _intervals(frame: Frame, some: pd.DataFrame) -> Table:
    """Groups of rows are methods, rows are categories, columns are subsets with value and ends."""
    first = some.iloc[0]
    measure, dataset, shots = str(first["measure"]), str(first["dataset"]), int(first["shots"])
    subsets = [s for s in SUBSETS if s in set(some["subset"])]
    columns = [
        Column(f"{s}_{key}", label, group=_SHORT[s] if len(subsets) > 1 else "")
        for s in subsets
        for key, label in (("value", "Value"), ("low", "from"), ("high", "to"))
    ]
    methods, scale = some.groupby("variant", sort=False), frame.scale(measure)
    groups = [Group(str(name), tuple(_interval_rows(rows, subsets, scale))) for name, rows in methods]
    how = "95 % intervals: bootstrap over test images, never over pixels; the seed as it was run."
    return Table(
        slug("intervals", measure, dataset, shots_title(shots)),
        f"{frame.title(measure)} of single trials with intervals, {shots_title(shots)} · {dataset}",
        " ".join(filter(None, (f"{scale.words}.", how, scale.direction))),
        "Category",
        tuple(columns),
        tuple(groups),
        section="differences",
    )


def _interval_rows(some: pd.DataFrame, subsets: list[str], scale: Scale) -> Iterable[Row]:
    for category, rows in some.groupby("category", sort=False):
        found = rows.set_index("subset")[["value", "ci_low", "ci_high"]].to_dict("index")
        values = [found.get(s, {}).get(key) for s in subsets for key in ("value", "ci_low", "ci_high")]
        yield Row(words(str(category)), tuple(_printed(v, scale) for v in values))


def _printed(value: float | None, scale: Scale) -> Cell:
    if value is None or pd.isna(value):
        return text(None)
    return statistic(float(value), None, 1, 1, scale=scale)
