"""What stands of a run: the three tables held against each other.

A row in trials/ with status ok promises rows in metrics/ and one score per test image. A trial whose promise
is not kept has lost its numbers: for everybody who asks, it is a trial that has not run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DamagedFile, outermost
from harness.results.journal import read_journals
from harness.results.tables import Tables, parts
from harness.trial import TrialResult

UNMEASURED = "metrics"  # what is lacking where the scores are there
NAMED = 5  # trials that a sentence names
COLUMNS: Mapping[str, Any] = {
    "trials": ("trial_id", "status", "n_test"),
    "metrics": ("trial_id",),
    "scores": ("trial_id",),
}


@final
@dataclass(frozen=True)
class Standing:
    """What has become of the trials of a run.

    Attributes:
        statuses: trial_id -> status of trials that have ended and whose numbers are there.
        lacking: trial_id -> what an ok trial lacks, in words ("metrics", "scores", "3 of 8 scores").
        damage: files and journal lines that cannot be read.
    """

    statuses: Mapping[str, str] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    damage: tuple[DamagedFile, ...] = ()


def standing(run: Path) -> Standing:
    """Read what stands of a run; of the tables only the columns that tell."""
    journal = read_journals(run)  # first: what it holds may move into a part meanwhile
    damage = list(journal.damage)
    statuses: dict[str, str] = {}
    lacks: dict[str, str] = {}
    for part in parts(run, damage.append):
        tables = part.read(damage.append, **COLUMNS)
        newer = dict(zip(*tables["trials"].select(["trial_id", "status"]).to_pydict().values(), strict=True))
        lacks = {i: what for i, what in lacks.items() if i not in newer} | lacking(tables)
        statuses |= newer
    for trial_id, result in journal.results.items():
        statuses[trial_id] = result.trial["status"]
        lacks.pop(trial_id, None)
        lacks |= lacking_result(result)
    whole = {i: status for i, status in statuses.items() if i not in lacks}
    return Standing(whole, lacks, outermost(damage))


def lacking(tables: Tables) -> dict[str, str]:
    """trial_id -> what ok trials lack of the rows that they promise, in words.

    Args:
        tables: with the columns of `COLUMNS` at least; rows of other trials do no harm.
    """
    trials = tables["trials"].filter(pc.field("status") == "ok")
    measured = set(tables["metrics"]["trial_id"].unique().to_pylist())
    scored = _counts(tables["scores"]["trial_id"])
    promised = zip(trials["trial_id"].to_pylist(), trials["n_test"].to_pylist(), strict=True)
    found = {i: _lacks(i in measured, scored.get(i, 0), images) for i, images in promised}
    return {i: what for i, what in found.items() if what}


def lacking_result(result: TrialResult) -> dict[str, str]:
    """The same of a result in a journal."""
    row = result.trial
    lacks = row["status"] == "ok" and _lacks(bool(result.metrics), len(result.scores), row.get("n_test"))
    return {row["trial_id"]: lacks} if lacks else {}


def _counts(ids: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(ids)  # pyright: ignore[reportAttributeAccessIssue]
    return {entry["values"]: entry["counts"] for entry in counted.to_pylist()}


def _lacks(measured: bool, scored: int, images: int | None) -> str:
    """What is not there; tables of other makers do not say how many images there were."""
    found = [] if measured else [UNMEASURED]
    if not scored or images not in (None, scored):
        found.append(f"scores ({scored} of {images} are there)" if scored else "scores")
    return " and ".join(found)


def lacking_notes(run: Path, lacking: Mapping[str, str]) -> list[str]:
    """A sentence on trials that have lost their numbers, for each kind of loss."""
    kinds: dict[str, list[str]] = {}
    for trial_id, what in lacking.items():
        kinds.setdefault(what, []).append(trial_id)
    return [f"{run}: {_of_trials(ids)} without {what}: counted as missing" for what, ids in kinds.items()]


def _of_trials(ids: Sequence[str]) -> str:
    named = ", ".join(ids[:NAMED]) + (", …" if len(ids) > NAMED else "")
    return f"{len(ids)} ok trial{'s' if len(ids) > 1 else ''} ({named})"
