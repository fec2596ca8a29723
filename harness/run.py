"""One single trial: from a trial to its rows. The one place where any exception becomes a row."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, final

from harness import gpu, provenance
from harness.data import FitData, ImageSet, Split
from harness.data.digest import expect
from harness.errors import DataError, NotAsPlanned
from harness.failures import status_of
from harness.method import Context, Method, Scores
from harness.metrics import METRICS, Moments
from harness.notes import note, noted
from harness.results import maps, views
from harness.rows import Job, base_row, metric_rows, score_rows
from harness.scoring import map_moments, score_chunks
from harness.seeding import seeded
from harness.trial import Status, Trial, TrialResult

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


@final
@dataclass(frozen=True)
class Scored:
    """A trial that has fitted and scored and not been measured yet; plain data, fit to be sent elsewhere.

    Attributes:
        row: its row so far; where its status is not ok, this is all there is.
        scores: of the test images; None where the status is not ok.
        kept: files that only the method itself could make.
    """

    row: Mapping[str, Any]
    scores: Scores | None = None
    kept: Mapping[str, bytes] = field(default_factory=dict)


def scored(
    trial: Trial,
    build: Callable[[Context], Method],
    split: Callable[[], Split],
    context: Context,
    job: Job,
    on_failure: Callable[[Exception], None] | None = None,
) -> Scored:
    """The part of a trial that needs its device; whatever happens, the answer has a row.

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
    scores, kept = None, dict[str, bytes]()
    with noted() as notes:
        try:
            # before anything is built: weights are drawn in constructors
            with seeded(context.run_seed):
                counts, scores, kept = _scored(trial, build, _planned(split, trial), context, job, clock)
            outcome = {"status": Status.OK, **counts}
        except Exception as error:  # noqa: BLE001 - the trial boundary: any failure is a row
            outcome = _failure(error)
            if on_failure:
                on_failure(error)
    row = base_row(trial, job) | {"notes": notes} | outcome | _cost(clock, outcome, context, before)
    # last, so that it contains everything
    row |= {"total_seconds": time.perf_counter() - began, "started_at": started, "finished_at": _now()}
    return Scored(row, scores, kept)


def measured(
    done: Scored,
    split: Callable[[], Split],
    job: Job,
    on_failure: Callable[[Exception], None] | None = None,
) -> TrialResult:
    """The metrics of a trial; needs no device, and may be asked of another process than `scored`.

    Args:
        done: what `scored` has answered.
        split: the trial's category.
        job: metrics to compute.
        on_failure: as in `scored`.
    """
    if done.scores is None:
        return TrialResult(done.row)
    began, clock, found = time.perf_counter(), _Clock(), TrialResult({})
    # not begun anew: where this is the process that scored, the peak is that of both
    with noted() as notes:
        try:
            outcome, found = {}, _measured(done, done.scores, split(), job, clock)
        except Exception as error:  # noqa: BLE001 - as above
            outcome = _failure(error)
            if on_failure:
                on_failure(error)
    row = {**done.row, **outcome, "notes": [*done.row["notes"], *notes], **_peaks(done.row)}
    row |= {"metric_seconds": clock.seconds.get("metric"), "finished_at": _now()}
    row["total_seconds"] += time.perf_counter() - began
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


def _scored(
    trial: Trial, build: Callable[[Context], Method], split: Split, context: Context, job: Job, clock: _Clock
) -> tuple[dict[str, Any], Scores, dict[str, bytes]]:
    data = fit_data(trial.support, split, trial.validation)
    method = build(context)
    with clock.phase("fit"):
        method.fit(data)
    with clock.phase("score"):
        # scoring alone: a method is not slow because many metrics were asked for
        scores = score_chunks(method, ImageSet.of_samples(split.test))
    found = _validation(method, split, job, clock)
    counts = {
        **found,
        "n_train": len(data.train),
        "n_validation": len(data.validation),
        "n_test": len(split.test),
        "precision_used": getattr(method, "precision_used", None),
    }
    return counts, scores, _views(method, split) if job.keep_maps else {}


def _validation(method: Method, split: Split, job: Job, clock: _Clock) -> dict[str, Any]:
    """The pixels of the maps of validation images, where a metric fixes its threshold on them."""
    cuts = [name for name in job.metrics if METRICS.load(name).cut]
    if not cuts:
        return {}
    if not split.validation:
        note(f"{', '.join(cuts)}: no validation image to fix a threshold on, hence no value")
        return {}
    with clock.phase("validation"):
        found = map_moments(method, split.validation)
    return {"validation_maps": asdict(found)} if found else {}


def _measured(done: Scored, scores: Scores, split: Split, job: Job, clock: _Clock) -> TrialResult:
    with clock.phase("metric"):
        cores = provenance.thread_count(job.cpus or 1)
        validation = Moments.recorded(done.row)
        metrics = metric_rows(
            job.metrics, split, scores.image, scores.maps, threads=cores, validation=validation
        )
    kept = done.kept
    if job.keep_maps and scores.maps is not None:
        kept = {maps.KIND: maps.pack([sample.id for sample in split.test], scores.maps), **kept}
    return TrialResult({}, tuple(metrics), tuple(score_rows(split.test, scores)), kept)


def _views(method: Method, split: Split) -> dict[str, bytes]:
    """The pictures of a trial that are kept beside its rows."""
    explain = getattr(method, "explain", None)
    if explain is None:
        return {}
    ids = [sample.id for sample in split.test]
    return {views.KIND: views.pack(ids, explain(ImageSet.of_samples(split.test)))}


def fit_data(names: Sequence[str], split: Split, validation: bool = True) -> FitData:
    """What a method may see of a category: its support set, part masks, and mostly the validation images."""
    # in the order in which they were drawn: k shots are the first k of k + 1
    by_id = {sample.id: sample for sample in split.train}
    support = [by_id[name] for name in names]
    masks = {i: split.part_masks[s.id] for i, s in enumerate(support) if s.id in split.part_masks}
    for i, path in masks.items():
        # images and defect masks are held against what was planned with when they are read
        expect(path, support[i].planned(path))
    return FitData(
        train=ImageSet.of_samples(support),
        validation=ImageSet.of_samples(split.validation if validation else ()),
        category=split.category,
        part_masks=masks,
        part_classes=split.part_classes,
    )


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
    clock: _Clock, outcome: Mapping[str, Any], context: Context, before: Mapping[str, int]
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


def _peaks(row: Mapping[str, Any]) -> dict[str, float | None]:
    """The greater of what a row says and what this process has needed since it was asked last."""
    known = {
        name: [p for p in (row.get(name), now) if p is not None] for name, now in provenance.peaks().items()
    }
    return {name: max(found, default=None) for name, found in known.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat()
