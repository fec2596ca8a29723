"""One single trial: from a trial to its rows. The one place where any exception becomes a row."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from harness import gpu, provenance
from harness.data import FitData, ImageSet, Split
from harness.data.digest import expect
from harness.errors import DataError, NotAsPlanned
from harness.failures import status_of
from harness.method import Context, Method, Scores
from harness.notes import noted
from harness.results import maps, views
from harness.rows import Job, base_row, metric_rows, score_rows
from harness.seeding import seeded
from harness.trial import Status, Trial, TrialResult

CHUNK = 32  # test images scored at a time: memory stays flat in their number
TRACEBACK_CHARACTERS = 8000  # its end: torch writes long ones, and the cause stands last


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
            gpu.note()


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
    # counters belong to the process, which has run other trials
    before = dict(context.artifacts.counters)
    provenance.reset_peaks()
    found, outcome = TrialResult({}), dict[str, Any]()
    with noted() as notes:
        try:
            # before anything is built: weights are drawn in constructors
            with seeded(context.run_seed):
                counts, found = _run(trial, build, _planned(split, trial), context, job, clock)
            outcome = {"status": Status.OK, **counts}
        except Exception as error:  # noqa: BLE001 - the trial boundary: any failure is a row
            outcome = _failure(error)
            if on_failure:
                on_failure(error)
    row = base_row(trial, job) | {"notes": notes} | outcome | _cost(clock, outcome, context, before, job)
    # last, so that it contains everything
    row |= {"total_seconds": time.perf_counter() - began, "started_at": started, "finished_at": _now()}
    return replace(found, trial=row)


def _planned(split: Callable[[], Split], trial: Trial) -> Split:
    """The category of a trial, which may run on a node whose copy of the data is another one."""
    try:
        found = split()
    except DataError as error:  # it could be read where the trial was planned
        raise NotAsPlanned(str(error), error.problems) from error
    if found.fingerprint != trial.fingerprint:
        raise NotAsPlanned(f"{trial.category}: the images here are not the ones that were planned with")
    return found


def _run(
    trial: Trial, build: Callable[[Context], Method], split: Split, context: Context, job: Job, clock: _Clock
) -> tuple[dict[str, Any], TrialResult]:
    data = fit_data(trial.support, split)
    method = build(context)
    with clock.phase("fit"):
        method.fit(data)
    with clock.phase("score"):
        # scoring alone: a method is not slow because many metrics were asked for
        scores = score_chunks(method, ImageSet.of_samples(split.test))
    with clock.phase("metric"):
        metrics = metric_rows(job.metrics, split, scores.image, scores.maps)
    counts = {
        "n_train": len(data.train),
        "n_validation": len(data.validation),
        "n_test": len(split.test),
        "precision_used": getattr(method, "precision_used", None),
    }
    kept = _kept(method, split, scores) if job.keep_maps else {}
    return counts, TrialResult({}, tuple(metrics), tuple(score_rows(split.test, scores)), kept)


def _kept(method: Method, split: Split, scores: Scores) -> dict[str, bytes]:
    """The files of a trial that are kept beside its rows."""
    ids = [sample.id for sample in split.test]
    kept = {} if scores.maps is None else {maps.KIND: maps.pack(ids, scores.maps)}
    explain = getattr(method, "explain", None)
    if explain is not None:
        kept[views.KIND] = views.pack(ids, explain(ImageSet.of_samples(split.test)))
    return kept


def fit_data(names: Sequence[str], split: Split) -> FitData:
    """What a method may see of a category: its support set, the validation images, part masks."""
    # in the order in which they were drawn: k shots are the first k of k + 1
    by_id = {sample.id: sample for sample in split.train}
    support = [by_id[name] for name in names]
    masks = {i: split.part_masks[s.id] for i, s in enumerate(support) if s.id in split.part_masks}
    for i, path in masks.items():
        # images and defect masks are held against what was planned with when they are read
        expect(path, support[i].planned(path))
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
        # named here: one NaN among thousands of scores would make every metric undefined without a word
        if not np.isfinite(values).all():
            raise DataError(
                f"score {name!r} of {images.ids[int(np.argmin(np.isfinite(values)))]} is not finite"
            )
    return scores


def ended(trial: Trial, job: Job, status: Status, reason: str) -> TrialResult:
    """The row of a trial that did not get to speak for itself."""
    row = base_row(trial, job) | {"status": status, "reason": reason, "finished_at": _now()}
    return TrialResult(row)


def _failure(error: Exception) -> dict[str, Any]:
    kind = type(error).__name__
    # an assertion may say nothing
    lines = str(error).strip() or kind
    return {
        "status": status_of(error),
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
