"""Rows of the three tables, from what a trial produced."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness import provenance
from harness.data import GOOD, UNLABELLED, Sample, Split, image_size
from harness.data.masks import regions as read_regions
from harness.method import Scores
from harness.metrics import (
    CONDITION,
    METRICS,
    UPSAMPLING,
    Metric,
    MetricValue,
    Moments,
    ScoredSample,
    trial_metrics,
)
from harness.trial import Trial


@final
@dataclass(frozen=True)
class Job:
    """What a trial is run with, besides what identifies it.

    Attributes:
        sweep: name of the sweep.
        metrics: names of the metrics to compute.
        attempt: 1 for the first.
        unit: work unit that it belongs to.
        gpu_share, cpus: GPUs and cores given to it.
        keep_maps: hand back the anomaly maps to be kept.
    """

    sweep: str = ""
    metrics: Sequence[str] = ("auroc",)
    attempt: int = 1
    unit: str | None = None
    gpu_share: float = 0.0
    cpus: float | None = None
    keep_maps: bool = False


def metric_rows(
    names: Sequence[str],
    split: Split,
    image: NDArray[np.float64],
    maps: NDArray[Any] | None,
    kept: str = "",
    threads: int = 1,
    validation: Moments | None = None,
) -> list[Mapping[str, Any]]:
    """Rows of the metrics table; pixel metrics only where there are maps and masks.

    Images without labels are in none; where no image has any, every value is null.

    Args:
        names: metrics to compute.
        split: the category; its test images in order.
        image: one score per test image, (n,).
        maps: their maps (n, h, w), or None.
        kept: what happened to the maps since the method made them; recorded with pixel metrics.
        threads: for pixel metrics.
        validation: of the method's maps of validation images, for metrics that fix a threshold on them.

    Raises:
        DataError: a map or mask is not what it should be; the file is named.
    """
    known = [i for i, s in enumerate(split.test) if s.label != UNLABELLED]
    values = _values(names, split, image, maps, known, threads, validation)
    for condition, members in _conditions(split, known).items():
        apart = _values(names, split, image, maps, members, threads, validation)
        values += [replace(v, subset=CONDITION + condition) for v in apart if v.subset == "all"]
    values.sort(key=lambda value: names.index(value.metric))
    return [asdict(v) | {"map_rule": _rule(METRICS.load(v.metric), kept)} for v in values]


def _rule(metric: Metric, kept: str) -> str | None:
    """How maps became a value of a metric."""
    cut = f"threshold: {metric.cut.words}" if metric.cut else ""
    return "; ".join(filter(None, (UPSAMPLING, kept, cut))) if metric.kind == "pixel" else None


def _conditions(split: Split, known: Sequence[int]) -> dict[str, list[int]]:
    """Condition -> test images that were taken under it; none where all are alike."""
    found: dict[str, list[int]] = {}
    for i in known:
        if (condition := split.test[i].condition) is not None:
            found.setdefault(condition, []).append(i)
    return dict(sorted(found.items())) if len(found) > 1 else {}


def _values(
    names: Sequence[str],
    split: Split,
    image: NDArray[np.float64],
    maps: NDArray[Any] | None,
    chosen: Sequence[int],
    threads: int,
    validation: Moments | None,
) -> list[MetricValue]:
    """Metrics of the test images at these places, whose labels are known."""
    plain = [name for name in names if METRICS.load(name).kind != "pixel"]
    values = trial_metrics(plain, [_sample(split.test[i], image[i]) for i in chosen])
    # an anomalous image without a mask would count as all good: pixel metrics are of the others
    used = [i for i in chosen if split.test[i].label == GOOD or split.test[i].masks]
    if maps is not None and (not chosen or any(split.test[i].masks for i in used)):
        pixel = [name for name in names if name not in plain]
        values += _pixel_values(pixel, split, image, maps, used, threads, validation)
    return values


def _sample(sample: Sample, score: float) -> ScoredSample:
    return ScoredSample(float(score), sample.label, sample.defects, sample.id, sample.view_of)


def _pixel_values(
    names: Sequence[str],
    split: Split,
    image: NDArray[np.float64],
    maps: NDArray[Any],
    used: Sequence[int],
    threads: int,
    validation: Moments | None,
) -> list[MetricValue]:
    """Metrics of pixels over the test images at these places, whose masks are known."""
    chosen = [split.test[i] for i in used]
    # of the files: maps are compared with masks at the images' own size
    sizes = [image_size(sample.path) for sample in chosen]
    return trial_metrics(
        names,
        [_sample(split.test[i], image[i]) for i in used],
        lambda i: maps[used[i]],
        lambda i: read_regions(chosen[i], split),
        sizes,
        threads,
        split.limits,
        validation,
    )


def score_rows(samples: Sequence[Sample], scores: Scores) -> list[Mapping[str, Any]]:
    """Rows of the scores table."""
    return [
        {
            "image": sample.id,
            "label": sample.label,
            # an image may show several
            "defect": "+".join(sample.defects) or None,
            "subtype": sample.subtype,
            "condition": sample.condition,
            "score": float(scores.image[i]),
            "parts": {name: float(values[i]) for name, values in scores.parts.items()},
        }
        for i, sample in enumerate(samples)
    ]


def base_row(trial: Trial, job: Job) -> dict[str, Any]:
    """The columns that are known before a trial runs."""
    return {
        "trial_id": trial.id,
        "sweep": job.sweep,
        "method": trial.method,
        "method_version": trial.method_version,
        # JSON, complete: tables of methods with different parameters still have one schema
        "params": json.dumps(trial.params, sort_keys=True),
        "dataset": trial.dataset,
        "category": trial.category,
        "fingerprint": trial.fingerprint,
        "shots": trial.shots,
        "split_seed": trial.split_seed,
        "run_seed": trial.run_seed,
        "support": list(trial.support),
        "attempt": job.attempt,
        "unit": job.unit,
        "gpu_share": job.gpu_share,
        "cpus": job.cpus,
        "weights": [{"name": a.name, "sha256": a.sha256} for a in trial.assets],
        "marks": list(trial.marks),
        "protocols": list(trial.protocols),
        **provenance.software(),
    }
