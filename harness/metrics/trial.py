"""Every metric of one trial, on every subset of its test images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.metrics.evidence import PixelCounts, two_passes
from harness.metrics.image import checked_scores
from harness.metrics.inputs import check_size, checked_map, mean
from harness.metrics.products import GOOD, ScoredSample, products
from harness.metrics.record import Metric
from harness.metrics.regions import Region
from harness.metrics.segmentation import tallies
from harness.metrics.table import METRICS
from harness.metrics.threshold import Moments
from harness.metrics.upsample import upsample

LOGICAL, STRUCTURAL = "logical", "structural"
UNLABELLED = "unlabelled"  # whoever has such images asks for no metric of them
CONDITION = "condition:"  # begins the name of a subset of test images that were taken under one condition
Maps = Callable[[int], NDArray[Any]]
Regions = Callable[[int], Sequence[Region]]
Load = Callable[[int], tuple[NDArray[Any], Sequence[Region]]]


@final
@dataclass(frozen=True)
class MetricValue:
    """One row of the metrics table, but for the trial's id.

    Attributes:
        subset: "all", "logical", "structural", "mean", a defect type, or a condition ("condition:dark").
        metric: its name in the table of metrics.
        fpr_limit: limit of the false-positive rate, for metrics that have one.
        value: finite, in the metric's unit (mostly a fraction in [0, 1]); None where not defined.
        n_normal, n_anomalous: images of either kind in the subset.
        metric_version: of the metric's definition.
        threshold: above which a pixel was flagged, of metrics that fix one.
    """

    subset: str
    metric: str
    fpr_limit: float | None
    value: float | None
    n_normal: int
    n_anomalous: int
    metric_version: int
    threshold: float | None = None


def trial_metrics(
    names: Sequence[str],
    samples: Sequence[ScoredSample],
    maps: Maps | None = None,
    regions: Regions | None = None,
    native: Sequence[tuple[int, int]] | None = None,
    threads: int = 1,
    limits: Mapping[str, tuple[float, ...]] | None = None,
    validation: Moments | None = None,
) -> list[MetricValue]:
    """Every asked metric on every subset: all, logical, structural, their mean, and each defect type.

    Logical, structural and mean appear where the data set knows one of the two labels. Pixel metrics are
    left out where maps or regions are missing. Maps and regions are asked for twice per image at most
    and not kept: the memory needed is that of the scores inside anomalous regions, some tables of fixed
    size, and an image or two per thread.

    Args:
        names: metrics, of the table.
        samples: the test images.
        maps: index -> map (h, w) at any resolution; resized by the declared rule (`upsample.UPSAMPLING`).
        regions: index -> regions at native size; none for good images.
        native: (h, w) per image; maps must have the masks' size where it is not given.
        threads: that ask for maps and regions, and look at pixels; how many does not show in the values.
        limits: of the false-positive rate by metric, where they are not the metric's own.
        validation: of maps of validation images; without, metrics that fix a threshold on them are null.

    Raises:
        ConfigError: unknown metric.
        DataError: a score or map that is not finite, a map or mask of a wrong size, an anomalous image
            without region or a good one with regions; the image is named. A metric that gives no number.
    """
    chosen = {name: _limited(METRICS.load(name), (limits or {}).get(name)) for name in names}
    judged = {"image": samples, "sample": products(samples), "pixel": samples}
    judge = _score_values(chosen, judged, subsets(samples))
    if maps is not None and regions is not None:
        load, groups = _loader(samples, maps, regions, native), [s.groups for s in samples]
        if kinds := {e.targets for e in chosen.values() if e.kind == "pixel" and not e.cut}:
            judge |= _pixel_values(chosen, samples, two_passes(load, groups, kinds, threads))
        cuts = {name: e.cut.of(validation) if validation else None for name, e in chosen.items() if e.cut}
        judge |= _cut_values(chosen, samples, cuts, load, threads)
    else:
        cuts = {}
    return [
        row
        for name, entry in chosen.items()
        for row in _rows(name, entry, subsets(samples), judged[entry.kind], judge, cuts.get(name))
    ]


def _limited(entry: Metric, limits: tuple[float, ...] | None) -> Metric:
    return replace(entry, limits=limits) if limits and entry.limits else entry


# (metric, subset, limit) -> value, for every subset but the mean.
Values = dict[tuple[str, str, float | None], float | None]


def subsets(samples: Sequence[ScoredSample]) -> list[str]:
    """The subsets that these images are judged in, without the mean: "all" first, defect types sorted."""
    groups = set(chain.from_iterable(sample.groups or () for sample in samples))
    divided = [LOGICAL, STRUCTURAL] if groups & {LOGICAL, STRUCTURAL} else []
    return ["all", *divided, *sorted(groups - {"all", LOGICAL, STRUCTURAL})]


def _score_values(
    chosen: dict[str, Metric], judged: Mapping[str, Sequence[ScoredSample]], places: Sequence[str]
) -> Values:
    """Metrics of one score per image ("image") and per product ("sample")."""
    values: Values = {}
    for kind in ("image", "sample"):
        items, entries = judged[kind], {name: e for name, e in chosen.items() if e.kind == kind}
        scores, truth = _checked(items)
        for subset in places:
            used = np.array([s.groups is None or subset in s.groups for s in items], bool)
            for name, entry in entries.items():
                found = entry.function(scores[used], truth[used]) if used.any() else None
                values[name, subset, None] = _number(name, found)
    return values


def _cut_values(
    chosen: dict[str, Metric],
    samples: Sequence[ScoredSample],
    cuts: Mapping[str, float | None],
    load: Load,
    threads: int,
) -> Values:
    """Metrics at a threshold; null where there is none."""
    values: Values = {(name, subset, None): None for name in cuts for subset in subsets(samples)}
    known = {name: threshold for name, threshold in cuts.items() if threshold is not None}
    if not known:
        return values
    found = tallies(load, [s.groups for s in samples], list(known.values()), threads)
    for subset in subsets(samples):
        for name, tally in zip(known, found[subset], strict=True):
            values[name, subset, None] = _number(name, chosen[name].function(tally))
    return values


def _pixel_values(chosen: dict[str, Metric], samples: Sequence[ScoredSample], counts: PixelCounts) -> Values:
    values: Values = {}
    # One subset after the other: its evidence is large and let go of before the next.
    for subset in subsets(samples):
        evidence = counts.evidence(subset)
        for name, entry in chosen.items():
            if entry.kind == "pixel" and not entry.cut:
                for limit in entry.limits or (None,):
                    values[name, subset, limit] = _number(name, entry.function(evidence, limit))
    return values


def _number(name: str, value: Any) -> float | None:
    """What a metric gives, as the results keep it: there NaN would read as "not defined", which is a lie."""
    if value is None:
        return None
    if not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise DataError(f"metric {name!r} gives {value}; allowed: a finite number, or None where undefined")
    return float(value)


def _rows(
    name: str,
    entry: Metric,
    places: Sequence[str],
    judged: Sequence[ScoredSample],
    values: Values,
    threshold: float | None,
) -> list[MetricValue]:
    rows = []
    for limit in entry.limits or (None,):
        if (name, "all", limit) not in values:
            continue
        of_limit = {subset: values[name, subset, limit] for subset in places}
        if LOGICAL in of_limit:
            of_limit["mean"] = mean(of_limit[LOGICAL], of_limit[STRUCTURAL])
        for subset, value in of_limit.items():
            normal, anomalous = _numbers(judged, subset)
            rows.append(MetricValue(subset, name, limit, value, normal, anomalous, entry.version, threshold))
    return rows


def _numbers(samples: Sequence[ScoredSample], subset: str) -> tuple[int, int]:
    wanted = {LOGICAL, STRUCTURAL} if subset == "mean" else {subset}
    anomalous = sum(bool(wanted & set(sample.groups or ())) for sample in samples)
    return sum(sample.label == GOOD for sample in samples), anomalous


def _checked(samples: Sequence[ScoredSample]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    names = [_name(samples, i) for i in range(len(samples))]
    truth = np.array([sample.label != GOOD for sample in samples], bool)
    return checked_scores([sample.score for sample in samples], truth, names)


def _loader(
    samples: Sequence[ScoredSample],
    maps: Maps,
    regions: Regions,
    native: Sequence[tuple[int, int]] | None,
) -> Load:
    def load(i: int) -> tuple[NDArray[Any], Sequence[Region]]:
        name, found = _name(samples, i), regions(i)
        if (samples[i].label == GOOD) == bool(found):
            raise DataError(f"{name}: labelled {samples[i].label!r} but has {len(found)} anomalous regions")
        anomaly_map = checked_map(maps(i), name)
        if native is not None:
            anomaly_map = upsample(anomaly_map, native[i])
        check_size(anomaly_map.shape, found, name)
        return anomaly_map, found

    return load


def _name(samples: Sequence[ScoredSample], i: int) -> str:
    return samples[i].name or f"image {i}"
