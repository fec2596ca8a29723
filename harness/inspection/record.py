"""One trial as a run knows it, whether it has run or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pandas as pd

from harness.data import GOOD, UNLABELLED
from harness.errors import DataError, nearest
from harness.inspection.state import MISSING
from harness.metrics.scale import Scale
from harness.metrics.table import scale_of
from harness.results import Run, read_run, read_scores
from harness.results.plain import plain

SHOWN = 5  # images of each kind, candidates of an ambiguous id


@final
@dataclass(frozen=True)
class Record:
    """One trial.

    Attributes:
        trial: its row of `trials/`; of a trial that has not run, its row of the plan and status "missing".
        metrics: its rows of `metrics/`, without the id.
        scales: metric -> how its values are printed.
        images: its rows of `scores/`, without the id, the highest score first.
        notes: what is wrong with the files of its run.
    """

    trial: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    images: Sequence[Mapping[str, Any]]
    scales: Mapping[str, Scale]
    notes: Sequence[str] = ()

    @property
    def alarming(self) -> list[Mapping[str, Any]]:
        """Good images with the highest scores."""
        return [row for row in self.images if row["label"] == GOOD][:SHOWN]

    @property
    def overlooked(self) -> list[Mapping[str, Any]]:
        """Anomalous images with the lowest scores."""
        return [row for row in reversed(self.images) if row["label"] not in (GOOD, UNLABELLED)][:SHOWN]

    @property
    def striking(self) -> list[Mapping[str, Any]]:
        """Images without labels with the highest scores."""
        return [row for row in self.images if row["label"] == UNLABELLED][:SHOWN]


def record_of(run: Path, trial: str) -> Record:
    """Look a trial up.

    Raises:
        DataError: no such run, no such trial, or several that begin like that.
    """
    found = read_run(run, scores=False)
    trial_id = _full_id(found, trial)
    rows = found.trials[found.trials["trial_id"] == trial_id]
    if rows.empty:
        return _missing(found, trial_id)
    images = [_with_parts(row) for row in _rows(read_scores(run, trial_id), trial_id)]
    images.sort(key=_from_above)
    metrics = _rows(found.metrics, trial_id)
    scales = {row["metric"]: scale_of(row["metric"], found.scales) for row in metrics}
    return Record(plain(dict(rows.iloc[0])), metrics, images, scales, found.notes)


def _missing(run: Run, trial_id: str) -> Record:
    lost = f"it ended ok and has lost its {run.lacking[trial_id]}" if trial_id in run.lacking else None
    planned = run.plan[run.plan["trial_id"] == trial_id]
    if planned.empty:
        raise DataError(f"{run.path}: trial {trial_id}: {lost}")
    return Record(plain(dict(planned.iloc[0])) | {"status": MISSING, "reason": lost}, (), (), {}, run.notes)


def _rows(frame: pd.DataFrame, trial_id: str) -> list[dict[str, Any]]:
    rows = (row for row in frame.to_dict("records") if row.pop("trial_id") == trial_id)
    return [plain(row) for row in rows]


def _with_parts(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"parts": dict(row["parts"] or [])}


def _from_above(row: Mapping[str, Any]) -> tuple[float, str]:
    return -row["score"], row["image"]


def _full_id(run: Run, given: str) -> str:
    known = list(dict.fromkeys([*run.trials["trial_id"], *run.plan["trial_id"], *run.lacking]))
    found = [i for i in known if i.startswith(given)] if given else known
    if given in known:
        return given
    if not found:
        told = [f"no trial {given!r}{nearest(given, known)}; there are {len(known)}", *map(str, run.damage)]
        raise DataError(f"{run.path}: {'; '.join(told)}")
    if len(found) > 1:
        listed = ", ".join(found[:SHOWN]) + (", …" if len(found) > SHOWN else "")
        raise DataError(f"{run.path}: {len(found)} trials begin with {given!r}: {listed}")
    return found[0]
