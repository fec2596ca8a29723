"""Rows of other runs taken into a run: what shards of a sweep have finished."""

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from harness.errors import DataError, ResultsError
from harness.results import maps, views
from harness.results.journal import leftovers
from harness.results.kept import kept_path
from harness.results.reader import SWEEP_FILE, read_run
from harness.results.tables import Report, Tables, parts, rows_to_tables, without
from harness.results.writer import RunWriter
from harness.trial import Status
from harness.whole import whole

KINDS = (maps.KIND, views.KIND)
End = tuple[str, Any]  # status, and when the trial ended


@final
@dataclass(frozen=True)
class Gathered:
    """What a run and others beside it know of some trials.

    Attributes:
        statuses: trial_id -> the status that counts: of an ok row before any other, of the latest of those.
        elsewhere: run -> the trials whose row that counts is there and not in the run itself.
        notes: what is wrong with the other runs, one sentence each.
    """

    statuses: Mapping[str, str]
    elsewhere: Mapping[Path, frozenset[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def gather(run: Path, others: Iterable[Path], trial_ids: Collection[str]) -> Gathered:
    """Look where the rows of trials are; nothing is written.

    Args:
        run: may not be there yet.
        others: run directories, also such as are being written.
        trial_ids: the trials that are asked for.
    """
    wanted, notes = set(trial_ids), list[str]()
    best = {i: (end, run) for i, end in _ends(run, []).items() if i in wanted}
    for other in others:
        for trial_id, end in _ends(other, notes).items():
            if trial_id in wanted and (trial_id not in best or _counts(end) > _counts(best[trial_id][0])):
                best[trial_id] = end, other
    elsewhere: dict[Path, set[str]] = {}
    for trial_id, (_, where) in best.items():
        if where != run:
            elsewhere.setdefault(where, set()).add(trial_id)
    statuses = {trial_id: end[0] for trial_id, (end, _) in best.items()}
    return Gathered(statuses, {path: frozenset(ids) for path, ids in elsewhere.items()}, tuple(notes))


def _ends(run: Path, notes: list[str]) -> dict[str, End]:
    """trial_id -> end of the trials of a run whose numbers are there."""
    if not (run / SWEEP_FILE).exists():
        return {}  # planned, perhaps, and killed before its first row
    try:
        found = read_run(run, scores=False)
    except DataError as error:
        notes.append(f"{error}: what is there counts as missing")
        return {}
    notes += found.notes
    rows = found.trials[["trial_id", "status", "finished_at"]].itertuples(index=False)
    return {trial_id: (status, finished) for trial_id, status, finished in rows}


def _counts(end: End) -> tuple[bool, Any]:
    return end[0] == Status.OK, end[1]


def adopt(run: Path, gathered: Gathered) -> None:
    """Take the rows that are elsewhere into a run, with the maps and views that were kept of them.

    Args:
        run: its lock is held, and its files are mended.
        gathered: of this run.

    Raises:
        ResultsError: they cannot be written.
    """
    if not gathered.elsewhere:
        return
    writer = RunWriter(run)
    try:
        for other, ids in gathered.elsewhere.items():
            copy_kept(other, ids, run)  # first: a row promises its files
            for tables in pieces(other, ids, lambda error: None):  # `gather` has told
                writer.adopt(tables)
    except OSError as error:
        where = error.filename or run
        raise ResultsError(f"{where}: cannot be written ({error.strerror})") from error
    finally:
        writer.close()


def pieces(run: Path, trial_ids: Collection[str], report: Report | None = None) -> Iterator[Tables]:
    """The rows of some trials of a run, each as it was written last.

    Args:
        run: the run directory.
        trial_ids: which of its trials.
        report: told of what cannot be read and is left out; without, that is raised.

    Raises:
        DamagedFile: see `report`.
    """
    left = set(trial_ids)
    for tables in _newest_first(run, report):
        there = set(tables["trials"]["trial_id"].to_pylist())
        if mine := there & left:
            yield without(tables, there - mine)
        left -= there


def _newest_first(run: Path, report: Report | None) -> Iterator[Tables]:
    yield rows_to_tables(leftovers(run))
    for part in reversed(parts(run, report)):
        yield part.read(report)


def copy_kept(run: Path, trial_ids: Iterable[str], out: Path, kinds: Sequence[str] = KINDS) -> None:
    """Maps and views of some trials, into another run.

    Raises:
        OSError: they cannot be read or written.
    """
    for trial_id in trial_ids:
        for kind in kinds:
            if (kept := kept_path(run, kind, trial_id)).exists():
                with whole(kept_path(out, kind, trial_id)) as hidden:
                    _same(kept, hidden)


def _same(old: Path, new: Path) -> None:
    with suppress(OSError):  # another file system, or one without links
        os.link(old, new)  # maps are large, and files of a run are replaced and never changed
        return
    shutil.copy2(old, new)
