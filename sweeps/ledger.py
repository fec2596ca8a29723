"""What has happened so far in this run of a sweep: results go in, news comes out."""

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from harness.errors import ResultsError
from harness.results import RunWriter
from harness.trial import TrialResult

NEWS_COLUMNS = (
    "trial_id",
    "method",
    "category",
    "shots",
    "status",
    "reason",
    "error_type",
    "total_seconds",
    "host",
)
ON_CPU = "a CPU for a GPU"  # the mark of numbers that were to come from a GPU
COUNTED = ("artifact_hits", "artifact_computes", "artifacts", "together_error", "notes")


@final
@dataclass(frozen=True)
class News:
    """What happened since one last asked.

    Attributes:
        ended: short rows of trials that have ended.
        running: ids of trials that were started and have not ended.
        said: lines for people, all of them: who asks knows which are new.
    """

    ended: Sequence[dict[str, Any]]
    running: Sequence[str]
    said: Sequence[str] = ()


@final
class Ledger:
    """Keeps the run's writer; the only object that trials report to, from any thread.

    Args:
        run: its directory.
        wanting: ids of trials that are to have a GPU; rows of those that had none are marked, on any backend.

    Attributes:
        ended_ids: trials that have ended.
        fatal: why nothing can be written any more, or None.
    """

    def __init__(self, run: Path, wanting: Collection[str] = ()):
        self._writer, self._wanting = RunWriter(run), wanting
        # Tune calls from its thread while the main thread looks
        self._guard = threading.Lock()
        # a set that keeps its order
        self._running: dict[str, None] = {}
        # only ever grows: `news` counts on it
        self._ended: list[dict[str, Any]] = []
        self._said: list[str] = []
        self.ended_ids: set[str] = set()
        self.fatal: str | None = None

    def started(self, trial_id: str) -> None:
        """A trial is about to run.

        Raises:
            ResultsError: that cannot be written; nor could what comes of it.
        """
        with self._guard:
            self._running[trial_id] = None
        with self._fatal():
            self._writer.started(trial_id)

    def finished(self, result: TrialResult) -> None:
        """A trial has ended; durable when this returns.

        Raises:
            ResultsError: it cannot be written; every later call will fail too.
        """
        result = self._marked(result)
        with self._fatal():
            self._writer.finished(result)
        with self._guard:
            self._running.pop(result.trial["trial_id"], None)
            # after the writer: news are of what is durable; and short, for there may be 20,000
            self._ended.append({k: result.trial.get(k) for k in NEWS_COLUMNS + COUNTED})
            self.ended_ids.add(result.trial["trial_id"])

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        try:
            yield
        except ResultsError as error:
            # Tune swallows what a callback raises; the main thread asks here
            self.fatal = str(error)
            raise

    def _marked(self, result: TrialResult) -> TrialResult:
        row = result.trial
        if row["trial_id"] not in self._wanting or row.get("device") != "cpu":
            return result
        return replace(result, trial={**row, "marks": [*(row.get("marks") or ()), ON_CPU]})

    def interrupted(self, trial_ids: Iterable[str]) -> None:
        """These trials are not under way any more, and have not ended either."""
        with self._guard:
            for trial_id in trial_ids:
                self._running.pop(trial_id, None)

    def say(self, line: str) -> None:
        """A line for people, from any thread."""
        with self._guard:
            self._said.append(line)

    def forget(self, trial_ids: Sequence[str]) -> None:
        """Remove rows of trials that are to run again."""
        self._writer.forget(trial_ids)

    def news(self, since: int) -> News:
        """What happened after the first `since` trials had ended."""
        with self._guard:
            return News(self._ended[since:], list(self._running), tuple(self._said))

    def close(self) -> None:
        """Bring the tables up to date and let go of the run.

        Raises:
            ResultsError: the tables cannot be written; results are safe in the journal.
        """
        self._writer.close()
