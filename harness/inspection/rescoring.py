"""Metrics anew from what a run has kept."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.data import Split
from harness.errors import ConfigError, DamagedFile, DataError
from harness.inspection.intervals import with_intervals
from harness.metrics import METRICS, Moments
from harness.metrics.bootstrap import Bootstrap
from harness.results import RunWriter, locked, read_run, write_scales
from harness.results.maps import KEPT, read_maps
from harness.results.reader import PLAN_FILE, Run
from harness.results.rescored import replace_metrics
from harness.rows import metric_rows
from harness.source import Splits, recorded_source


def rescore(path: Path, names: Sequence[str] = (), resamples: int = 0) -> str:
    """Compute metrics of every finished trial anew and put them in place of the old ones.

    Args:
        path: a run directory, on which no sweep is working.
        names: metrics; by default those of the sweep.
        resamples: of the bootstrap behind intervals; 0 for none.

    Returns:
        A sentence saying what was done.

    Raises:
        ConfigError: unknown or unusable metric, or a negative number of resamples.
        DataError: not a run, a damaged one, or its data set is not there or has changed.
        RunLocked: a sweep is working on it.
    """
    bootstrap = Bootstrap(resamples) if resamples else None
    _whole(read_run(path, scores=False))  # before anything is written: is it a run at all?
    with locked(path):
        RunWriter(path).close()
        run = read_run(path, unmeasured=True)
        chosen = _chosen(run, names)
        scales = {name: METRICS.load(name).scale.record() for name in chosen}
        rows = dict(_rescored(run, chosen, bootstrap))
        write_scales(path, scales)  # first: values that nobody can read are worse than a word too many
        replace_metrics(path, {i: found for i, found in rows.items() if found})
    left = sum(i in run.lacking and not found for i, found in rows.items())
    return f"{path}: {_told(chosen, list(rows.values()), resamples, left)}"


def _told(
    names: Sequence[str], rows: Sequence[Sequence[Mapping[str, Any]]], resamples: int, left: int
) -> str:
    pixels = sum(any(METRICS.load(r["metric"]).kind == "pixel" for r in found) for found in rows)
    with_interval = sum(r.get("ci_low") is not None for found in rows for r in found)
    done = [name for name in names if any(row["metric"] == name for found in rows for row in found)]
    told = f"{', '.join(done) or 'nothing'} of {sum(map(bool, rows))} trials"
    told += f", pixel metrics of {pixels} with kept maps"
    told += f", {with_interval} intervals" if resamples else ""
    for name in (name for name in names if METRICS.load(name).cut):
        if lacking := sum(all(row["metric"] != name for row in found) for found in rows):
            told += (
                f"; {name} of {lacking} is left as it was: maps or the threshold fixed on validation images "
                "were not kept; a sweep with it among its metrics, and `--retry ok`, fixes one"
            )
    return told + (f"; {left} without metrics and maps are left to the sweep" if left else "")


def _whole(run: Run) -> None:
    for error in run.damage:
        if error.path.name != PLAN_FILE:
            raise DamagedFile(error.path, f"{error.why}; nothing was computed", error.lost)


def _chosen(run: Run, names: Sequence[str]) -> list[str]:
    chosen = list(names) or list(run.config.get("metrics") or ())
    if not chosen:
        raise ConfigError(f"{run.path}: the run does not say which metrics it wants: --metrics NAME,…")
    return chosen


def _rescored(
    run: Run, names: Sequence[str], bootstrap: Bootstrap | None
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The new rows of each trial; none for one that has lost its metrics and cannot have all of them back."""
    splits = Splits(recorded_source(run.config))
    scores = dict(iter(run.scores.groupby("trial_id")))
    finished = run.trials[run.trials["status"] == "ok"]
    for row in finished.to_dict("records"):
        trial = {str(name): value for name, value in row.items()}
        trial_id, category, fingerprint = (str(trial[k]) for k in ("trial_id", "category", "fingerprint"))
        split = splits.get(category)
        if split.fingerprint != fingerprint:
            raise DataError(f"{category}: the images are not those that trial {trial_id} saw")
        every = list(dict.fromkeys([*(run.config.get("metrics") or ()), *names]))
        wanted = every if trial_id in run.lacking else names
        validation = Moments.recorded(trial)
        possible = [name for name in wanted if not _unfixed(name, split, validation)]
        rows = _rows(run.path, trial_id, split, scores, possible, bootstrap, validation)
        found = {row["metric"] for row in rows}
        yield trial_id, rows if trial_id not in run.lacking or found >= set(wanted) else []


def _unfixed(name: str, split: Split, validation: Moments | None) -> bool:
    """Whether a metric wants a threshold that this trial has not fixed, although it could have."""
    return bool(METRICS.load(name).cut and split.validation and validation is None)


def _rows(
    path: Path,
    trial_id: str,
    split: Split,
    scores: Mapping[Any, pd.DataFrame],
    names: Sequence[str],
    bootstrap: Bootstrap | None,
    validation: Moments | None,
) -> list[Mapping[str, Any]]:
    ids = [sample.id for sample in split.test]
    image = scores[trial_id].set_index("image")["score"].reindex(ids).to_numpy(np.float64)
    if not np.isfinite(image).all():
        raise DataError(f"{path}: the scores of {trial_id} are not of the test images of {split.category}")
    kept = read_maps(path, trial_id)
    if kept is not None and list(kept.ids) != ids:
        raise DataError(f"{path}: the kept maps of {trial_id} are not of the test images of {split.category}")
    maps = kept.maps if kept else None
    rows = metric_rows(names, split, image, maps, KEPT, os.cpu_count() or 1, validation)
    return rows if bootstrap is None else with_intervals(rows, split, image, maps, bootstrap)
