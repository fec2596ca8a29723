"""One single trial: from a trial to its rows. The one place where any exception becomes a row."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, final

import numpy as np

from harness import provenance
from harness.data import GOOD, FitData, ImageSet, Sample, Split, image_size
from harness.data.masks import regions as read_regions
from harness.errors import DataError
from harness.method import Context, Method, Scores
from harness.metrics import METRICS, UPSAMPLING, ScoredSample, trial_metrics
from harness.seeding import seeded
from harness.trial import Status, Trial, TrialResult

CHUNK = 32  # test images scored at a time: memory stays flat in their number
TRACEBACK_CHARACTERS = 8000


@final
@dataclass(frozen=True)
class Job:
    """What a trial is run with, besides what identifies it.

    Attributes:
        sweep: name of the sweep.
        metrics: names of the metrics to compute.
        attempt: 1 for the first.
        unit: work unit that it belongs to.
        gpu_share: GPUs given to it.
    """

    sweep: str = ""
    metrics: Sequence[str] = ("auroc",)
    attempt: int = 1
    unit: str | None = None
    gpu_share: float = 0.0


@dataclass
class _Clock:
    """Seconds per phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - began


def run_trial(
    trial: Trial,
    build: Callable[[Context], Method],
    split: Callable[[], Split],
    context: Context,
    job: Job,
    on_failure: Callable[[Exception], None] | None = None,
) -> TrialResult:
    """Run a trial; whatever happens, the answer is a row.

    Args:
        trial: what to run.
        build: context -> the method with the trial's hyper-parameters.
        split: the trial's category; called inside, so that a broken data set is a failed row too.
        context: device, store, seed.
        job: metrics and provenance.
        on_failure: sees the exception of a failed trial while its frames are alive (a debugger).
    """
    started, began, clock = _now(), time.perf_counter(), _Clock()
    before = dict(context.artifacts.counters)
    provenance.reset_peaks()
    rows: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]] = ((), ())
    outcome: dict[str, Any]
    try:
        with seeded(context.run_seed):
            counts, *rows = _run(trial, build, split(), context, job, clock)
        outcome = {"status": Status.OK, **counts}
    except Exception as error:  # noqa: BLE001 - the trial boundary: any failure is a row
        outcome = _failure(error)
        if on_failure:
            on_failure(error)
    row = base_row(trial, job) | outcome | _cost(clock, outcome, context, before, job)
    row |= {"total_seconds": time.perf_counter() - began, "started_at": started, "finished_at": _now()}
    return TrialResult(row, tuple(rows[0]), tuple(rows[1]))


def _run(
    trial: Trial, build: Callable[[Context], Method], split: Split, context: Context, job: Job, clock: _Clock
) -> tuple[dict[str, Any], list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    if split.fingerprint != trial.fingerprint:
        raise DataError(f"{trial.category}: the images here are not the ones that were planned with")
    data = fit_data(trial, split)
    method = build(context)
    with clock.phase("fit"):
        method.fit(data)
    with clock.phase("score"):
        scores = score_chunks(method, ImageSet.of_samples(split.test))
    with clock.phase("metric"):
        metrics = metric_rows(job.metrics, split, scores)
    counts = {"n_train": len(data.train), "n_validation": len(data.validation), "n_test": len(split.test)}
    return counts, metrics, score_rows(split.test, scores)


def fit_data(trial: Trial, split: Split) -> FitData:
    """What the method of a trial may see: its support set, the validation images, part masks."""
    by_id = {sample.id: sample for sample in split.train}
    support = [by_id[name] for name in trial.support]
    masks = {i: split.part_masks[s.id] for i, s in enumerate(support) if s.id in split.part_masks}
    return FitData(
        train=ImageSet.of_samples(support),
        validation=ImageSet.of_samples(split.validation),
        category=split.category,
        part_masks=masks,
        part_classes=split.part_classes,
    )


def score_chunks(method: Method, images: ImageSet, size: int = CHUNK) -> Scores:
    """Scores of all images, a chunk at a time; each image is scored on its own anyway.

    Raises:
        DataError: the method returned scores of a wrong shape, or not finite.
    """
    chunks = []
    for start in range(0, len(images), size):
        part = images.subset(range(start, min(start + size, len(images))))
        chunks.append(_checked(method.score(part), part))
    return Scores(
        image=np.concatenate([c.image for c in chunks]),
        parts={k: np.concatenate([c.parts[k] for c in chunks]) for k in chunks[0].parts},
        maps=None if chunks[0].maps is None else np.concatenate([c.maps for c in chunks]),
    )


def _checked(scores: Scores, images: ImageSet) -> Scores:
    for name, values in {"image": scores.image, **scores.parts}.items():
        if np.shape(values) != (len(images),):
            raise DataError(f"score {name!r} has shape {np.shape(values)} for {len(images)} images")
        if not np.isfinite(values).all():
            raise DataError(f"score {name!r} of {images.ids[int(np.argmin(np.isfinite(values)))]} is not finite")
    return scores


def metric_rows(names: Sequence[str], split: Split, scores: Scores) -> list[Mapping[str, Any]]:
    """Rows of the metrics table; pixel metrics only where there are maps and masks."""
    samples = [
        ScoredSample(float(scores.image[i]), s.label, s.defects, s.id) for i, s in enumerate(split.test)
    ]
    maps = scores.maps
    pixels = maps is not None and all(s.masks for s in split.test if s.label != GOOD)
    values = trial_metrics(
        names,
        samples,
        (lambda i: maps[i]) if pixels else None,
        (lambda i: read_regions(split.test[i], split)) if pixels else None,
        [image_size(s.path) for s in split.test] if pixels else None,
    )
    return [asdict(v) | {"map_rule": UPSAMPLING if METRICS[v.metric].kind == "pixel" else None} for v in values]


def score_rows(samples: Sequence[Sample], scores: Scores) -> list[Mapping[str, Any]]:
    """Rows of the scores table."""
    return [
        {
            "image": sample.id,
            "label": sample.label,
            "defect": "+".join(sample.defects) or None,
            "subtype": sample.subtype,
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
        "weights": [{"name": a.name, "sha256": a.sha256} for a in trial.assets],
        "marks": list(trial.marks),
        **provenance.software(),
    }


def ended(trial: Trial, job: Job, status: Status, reason: str) -> TrialResult:
    """The row of a trial that did not get to speak for itself."""
    row = base_row(trial, job) | {"status": status, "reason": reason, "finished_at": _now()}
    return TrialResult(row)


def _failure(error: Exception) -> dict[str, Any]:
    kind = type(error).__name__
    memory = kind in ("OutOfMemoryError", "MemoryError") or "out of memory" in str(error).lower()
    lines = str(error).strip() or kind
    return {
        "status": Status.OOM if memory else Status.FAILED,
        "error_type": kind,
        "reason": lines[:2000],
        "traceback": traceback.format_exc()[-TRACEBACK_CHARACTERS:],
    }


def _cost(
    clock: _Clock, outcome: Mapping[str, Any], context: Context, before: Mapping[str, int], job: Job
) -> dict[str, Any]:
    counters = context.artifacts.counters
    changed = {k: n - before.get(k, 0) for k, n in counters.items() if n != before.get(k, 0)}
    images, seconds = outcome.get("n_test"), clock.seconds.get("score")
    return {
        **{f"{phase}_seconds": s for phase, s in clock.seconds.items()},
        **provenance.peaks(),
        "ms_per_image": 1000 * seconds / images if images and seconds else None,
        "device": context.device,
        "gpu_name": provenance.gpu_name(),
        "artifact_hits": sum(n for k, n in changed.items() if k.endswith(".hits")),
        "artifact_computes": sum(n for k, n in changed.items() if k.endswith(".computes")),
        "artifacts": json.dumps(changed),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat()
