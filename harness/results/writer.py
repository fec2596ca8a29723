"""The one writer of a run directory.

A finished trial is a journal line first (durable when `finished` returns) and a row of the Parquet
tables soon after: at once if trials are slow, batched if they are fast. Tables grow by one open part
that is rewritten under the same name; a full one is sealed and never deleted, so a reader of the
folders always finds whole files, and 10,000 trials are 30 of them.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import final

from harness.errors import ResultsError
from harness.results.aside import keep_lines
from harness.results.journal import Journal, read_journals
from harness.results.kept import write_kept
from harness.results.parquet import NO_TABLE
from harness.results.tables import Part, Tables, concat, parts, rows_to_tables, without
from harness.trial import Status, TrialResult

SEAL_TRIALS = 1000
SEAL_SCORES = 400_000
QUIET = 20  # a flush may take one part in QUIET of the time
_PLAIN = ("trial_id", "sweep", "method", "params", "dataset", "category", "started_at", "finished_at")


@final
class RunWriter:
    """Takes results in; opening it folds in what an earlier driver left in its journal.

    Args:
        run: the run directory; whoever opens it for writing must hold its lock.

    Raises:
        ResultsError: the directory cannot be written. What was accepted before stays in the journal.
        DamagedFile: a part cannot be read (`harness.results.mend` makes room first).
    """

    def __init__(self, run: Path):
        self.run = run
        self._guard = threading.RLock()
        self._sealed = parts(run)
        self._where = {i: part for part in self._sealed for i in part.ids()}
        self._open = self._reopen()
        self._pending: list[Tables] = []
        self._flushed_at, self._flush_took = 0.0, 0.0
        self._timer: threading.Timer | None = None
        self._recover()
        self._journal = Journal(run)

    def started(self, trial_id: str) -> None:
        """A trial is about to run."""
        with self._guard:
            self._journal.started(trial_id)

    def finished(self, result: TrialResult) -> None:
        """A trial has ended; durable when this returns."""
        with self._guard:
            result, tables = _stored(_keep(self.run, result))
            self._journal.finished(result)
            self._pending.append(tables)
            self._flush_when_due()

    def adopt(self, tables: Tables) -> None:
        """Take in rows of another run; in the tables when this returns.

        Raises:
            ResultsError: the disk is full.
        """
        with self._guard:
            self._pending.append(tables)
            self.flush()

    def flush(self) -> None:
        """Bring the Parquet tables up to date.

        Raises:
            ResultsError: the disk is full; the results stay safe in the journal.
        """
        with self._guard:
            began = time.monotonic()
            self._timer = None
            if self._pending:
                self._write_open()
            self._flushed_at = time.monotonic()
            self._flush_took = self._flushed_at - began

    def forget(self, trial_ids: Iterable[str]) -> None:
        """Remove rows, because their trials are to run again.

        Raises:
            ResultsError: the tables cannot be written; some of the rows may be gone.
        """
        with self._guard:
            try:
                self._drop(set(trial_ids))
            except OSError as error:
                raise ResultsError(
                    f"{error.filename or self.run}: cannot be written ({error.strerror})"
                ) from error

    def close(self) -> None:
        """Flush, and remove the journal when everything is in the tables."""
        with self._guard:
            if self._timer:
                self._timer.cancel()
            self.flush()
            self._journal.close()
            self._journal.path.unlink(missing_ok=True)

    def _reopen(self) -> tuple[Part, Tables]:
        """The part to go on with: the last one if it has room, else a new one."""
        if self._sealed and not _full(last := self._sealed[-1].read()):
            part = self._sealed.pop()
            self._where = {i: p for i, p in self._where.items() if p is not part}
            return part, last
        number = self._sealed[-1].number + 1 if self._sealed else 0
        return Part(self.run, number), rows_to_tables([])

    def _recover(self) -> None:
        """Fold journals of earlier drivers into the tables, then remove them; bad lines are set aside."""
        known, found = dict(_finished_at(self._open[1])), read_journals(self.run)
        self._pending = [rows_to_tables([r]) for r in found.results.values() if not _older(r, known)]
        self.flush()
        try:
            if not (self.run / "trials").exists():
                self._write_open()
            keep_lines(self.run, found.lines)
            for path in (self.run / "journal").glob("*.jsonl"):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise ResultsError(
                f"{error.filename or self.run}: cannot be written ({error.strerror})"
            ) from error

    def _flush_when_due(self) -> None:
        wait = self._flushed_at + max(0.2, QUIET * self._flush_took) - time.monotonic()
        if wait <= 0:
            self._try_flush()
        elif self._timer is None:
            self._timer = threading.Timer(wait, self._try_flush)
            self._timer.daemon = True
            self._timer.start()

    def _try_flush(self) -> None:
        """Flush if the disk allows; if not, the journal keeps everything until it does."""
        try:
            self.flush()
        except ResultsError:
            self._flushed_at, self._flush_took = time.monotonic(), 1.0

    def _write_open(self) -> None:
        part, tables = self._open
        new = concat(self._pending)
        ids = _ids(new)
        merged = {n: t.combine_chunks() for n, t in concat([without(tables, ids), new]).items()}
        try:
            part.write(merged)
            self._drop(ids & self._where.keys())
        except OSError as error:
            raise ResultsError(
                f"{error.filename or self.run}: cannot be written ({error.strerror}); finished trials are "
                f"safe in {self.run / 'journal'}: free some space and run the same command again"
            ) from error
        self._open, self._pending = (part, merged), []
        if _full(merged):
            self._seal()

    def _seal(self) -> None:
        part, tables = self._open
        self._sealed.append(part)
        self._where |= dict.fromkeys(_ids(tables), part)
        self._open = Part(self.run, part.number + 1), rows_to_tables([])
        if hasattr(self, "_journal"):  # everything in it is in sealed parts now
            old, self._journal = self._journal, Journal(self.run)
            old.close()
            old.path.unlink(missing_ok=True)

    def _drop(self, ids: set[str]) -> None:
        for part in {self._where.pop(i) for i in ids & self._where.keys()}:
            part.shrink(without(part.read(), ids))
        open_part, tables = self._open
        if ids & _ids(tables):
            self._open = open_part, without(tables, ids)
            open_part.shrink(self._open[1])


def _keep(run: Path, result: TrialResult) -> TrialResult:
    """The result without its files, which are written, and with their digests in its row."""
    trial_id = result.trial["trial_id"]
    kept = [
        {"name": kind, "sha256": write_kept(run, kind, trial_id, packed)}
        for kind, packed in result.kept.items()
    ]
    return replace(result, trial={**result.trial, "kept": kept}, kept={})


def _stored(result: TrialResult) -> tuple[TrialResult, Tables]:
    """A result and its tables; one that cannot become rows is a failed trial, not the end of a sweep."""
    try:
        return result, rows_to_tables([result])
    except NO_TABLE as error:
        known = {k: v for k, v in result.trial.items() if k in _PLAIN}
        why = f"its rows cannot be stored ({' '.join(str(error).split())[:200]})"
        said = {"status": Status.FAILED, "error_type": type(error).__name__, "reason": why}
        failed = TrialResult(known | said)
        return failed, rows_to_tables([failed])


def _ids(tables: Tables) -> set[str]:
    return set(tables["trials"]["trial_id"].to_pylist())


def _full(tables: Tables) -> bool:
    return len(tables["trials"]) >= SEAL_TRIALS or len(tables["scores"]) >= SEAL_SCORES


def _finished_at(tables: Tables) -> Iterable[tuple[str, str]]:
    table = tables["trials"]
    times = table["finished_at"].to_pylist()
    return zip(table["trial_id"].to_pylist(), [t.isoformat() if t else "" for t in times], strict=True)


def _older(result: TrialResult, known: dict[str, str]) -> bool:
    return result.trial["finished_at"] <= known.get(result.trial["trial_id"], "")
