"""Bootstrap intervals of a trial's metrics over its test images, for the subsets that tables show.

Image metrics by BCa, AU-PRO and AU-sPRO by percentiles, which is what covers best in simulations
(`harness.metrics.bootstrap.interval`). For the areas whole images are resampled, never pixels: each image
counts with its false positives and what is found of its regions at shared thresholds
(`harness.metrics.curves`). Pixel AUROC and AP have no interval, nor has what is scored by product: its views
are no independent images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from harness.data import GOOD, LOGICAL, STRUCTURAL, Split, image_size
from harness.data.masks import regions as read_regions
from harness.metrics import METRICS, Region, upsample
from harness.metrics.bootstrap import Bootstrap, Interval, interval, interval_of, strata, weighted_interval
from harness.metrics.curves import ImageCurves, areas_under, image_curves
from harness.metrics.regions import components, union
from harness.metrics.weighted import WEIGHTED, weighted

Floats = NDArray[np.float64]
Bounds = tuple[float | None, float | None]
Row = Mapping[str, Any]
Key = tuple[str, str, float | None]  # metric, subset, limit
Kind = TypeVar("Kind")

SUBSETS = ("all", LOGICAL, STRUCTURAL, "mean")
ROWS_AT_ONCE = 256  # resampled curves in memory


def with_intervals(
    rows: Sequence[Row], split: Split, image: Floats, maps: NDArray[Any] | None, bootstrap: Bootstrap
) -> list[Row]:
    """Rows of the metrics table with `ci_low` and `ci_high`; null where there is no interval.

    Args:
        rows: of `harness.rows.metric_rows`.
        split: the category.
        image: one score per test image, (n,).
        maps: their maps (n, h, w), or None.
        bootstrap: how to resample; its kind is that of image metrics.

    Raises:
        DataError: a mask is not what it should be; the file is named.
    """
    wanted = {(r["metric"], r["subset"], r["fpr_limit"]) for r in rows if r["subset"] in SUBSETS}
    labels = strata([sample.label for sample in split.test])
    weights = bootstrap.weights(labels)
    found = _image_bounds(wanted, image, labels, weights, bootstrap)
    # as with the metrics themselves: what has neither a label nor a mask is in no curve
    used = [i for i, s in enumerate(split.test) if s.label == GOOD or s.masks]
    if maps is not None and any(split.test[i].masks for i in used):
        for name in {metric for metric, _, _ in wanted} & CURVES.keys():
            curves = _curves(split, maps, CURVES[name], used)
            found |= _area_bounds(
                name, curves, wanted, weights[:, used], replace(bootstrap, kind="percentile")
            )
    return [dict(r) | _columns(found.get((r["metric"], r["subset"], r["fpr_limit"]))) for r in rows]


def _columns(bounds: Bounds | None) -> dict[str, float | None]:
    low, high = bounds or (None, None)
    return {"ci_low": low, "ci_high": high}


def _image_bounds(
    wanted: set[Key], scores: Floats, labels: Sequence[str], weights: Floats, bootstrap: Bootstrap
) -> dict[Key, Bounds]:
    found = {}
    for key in wanted:
        metric, subset, _ = key
        if METRICS.load(metric).kind == "image":
            one = _image_interval(metric, subset, scores, labels, weights, bootstrap)
            found[key] = one.low, one.high
    return found


def _image_interval(
    metric: str, subset: str, scores: Floats, labels: Sequence[str], weights: Floats, bootstrap: Bootstrap
) -> Interval:
    halves = [LOGICAL, STRUCTURAL] if subset == "mean" else [subset]
    used = [_used(labels, half) for half in halves]
    anomalous = np.array(labels) != GOOD
    if not all(anomalous[u].any() and not anomalous[u].all() for u in used):
        return Interval(None, None, None, None, bootstrap)
    if metric not in WEIGHTED:
        return interval(_slow(metric, used, scores, anomalous), labels, bootstrap)
    parts = [(u, weighted(metric, scores[u], anomalous[u])) for u in used]

    def statistic(rows: Floats) -> Floats:
        return np.mean([part(rows[:, u]) for u, part in parts], axis=0)

    return weighted_interval(statistic, labels, bootstrap, weights)


def _slow(
    metric: str, used: Sequence[NDArray[np.bool_]], scores: Floats, anomalous: NDArray[np.bool_]
) -> Callable[[NDArray[np.intp]], float | None]:
    """A metric that knows no weights, on images that are listed as often as they count."""
    function = METRICS.load(metric).function

    def statistic(indices: NDArray[np.intp]) -> float | None:
        halves = [indices[u[indices]] for u in used]
        values = [function(scores[i], anomalous[i]) for i in halves]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    return statistic


def _used(labels: Sequence[str], subset: str) -> NDArray[np.bool_]:
    return np.array([subset == "all" or label in (GOOD, subset) for label in labels])


def _as_they_are(found: Sequence[Region]) -> list[Region]:
    return list(found)


def _as_components(found: Sequence[Region]) -> list[Region]:
    """What AU-PRO looks for: all of each connected component."""
    if not found:
        return []
    inside = union(found)
    return [Region(_mask(place, inside.shape)) for place in components(inside)]


def _mask(pixels: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask.flat[pixels] = True
    return mask


# Metrics that have curves, and the regions whose mean they are.
CURVES: dict[str, Callable[[Sequence[Region]], list[Region]]] = {
    "auspro": _as_they_are,
    "aupro": _as_components,
}


@final
class _OnDemand(Sequence[Kind]):
    """As many things as there are images, each made when asked for and not kept."""

    def __init__(self, n: int, make: Callable[[int], Kind]):
        self._n, self._make = n, make

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < self._n:
            raise IndexError(i)
        return self._make(i)


Form = Callable[[Sequence[Region]], list[Region]]


def _curves(split: Split, maps: NDArray[Any], form: Form, used: Sequence[int]) -> ImageCurves:
    n, chosen = len(used), [split.test[i] for i in used]
    # Defects outside LOCO's division are all one kind, and only "all" is asked of them.
    labels = [s if s in (GOOD, STRUCTURAL) else LOGICAL for s in (sample.label for sample in chosen)]
    return image_curves(
        _OnDemand(n, lambda i: upsample(maps[used[i]], image_size(chosen[i].path))),
        _OnDemand(n, lambda i: form(read_regions(chosen[i], split))),
        labels,
    )


def _area_bounds(
    metric: str, curves: ImageCurves, wanted: set[Key], weights: Floats, bootstrap: Bootstrap
) -> dict[Key, Bounds]:
    limits = sorted({limit for name, _, limit in wanted if name == metric and limit is not None})
    subsets = {subset for name, subset, _ in wanted if name == metric}
    parts = (subsets - {"mean"}) | ({LOGICAL, STRUCTURAL} if "mean" in subsets else set())
    everyone = np.ones((1, weights.shape[1]))
    drawn = {s: resampled_areas(curves, np.vstack([everyone, weights]), limits, s) for s in parts}
    if "mean" in subsets:
        drawn["mean"] = (drawn[LOGICAL] + drawn[STRUCTURAL]) / 2
    found = {}
    for subset in subsets:
        for i, limit in enumerate(limits):
            value, *rest = drawn[subset][:, i]
            one = interval_of(float(value), np.array(rest), bootstrap, lambda: np.zeros(1))
            found[metric, subset, limit] = one.low, one.high
    return found


def resampled_areas(curves: ImageCurves, weights: Floats, limits: Sequence[float], subset: str) -> Floats:
    """`ImageCurves.area` of many resamples.

    Args:
        curves: of all images.
        weights: how often each resample holds each image, (b, n).
        limits: of the false-positive rate, (k,).
        subset: "all", "logical" or "structural".

    Returns:
        (b, k); NaN where not defined.
    """
    used = weights * _used(curves.labels, subset)
    blocks = [used[i : i + ROWS_AT_ONCE] for i in range(0, len(used), ROWS_AT_ONCE)]
    return np.concatenate([_areas(curves, block, limits) for block in blocks])


def _areas(curves: ImageCurves, weights: Floats, limits: Sequence[float]) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = weights @ curves.false_positives / (weights @ curves.normals)[:, None]
        spros = weights @ curves.found / (weights @ curves.regions)[:, None]
    rate, spro = (
        np.pad(one[:, ::-1], ((0, 0), (1, 1)), constant_values=(0.0, 1.0)) for one in (rates, spros)
    )
    undefined = np.isnan(rates).any(axis=1, keepdims=True) | np.isnan(spros).any(axis=1, keepdims=True)
    return np.where(undefined, np.nan, areas_under(rate, spro, limits))
