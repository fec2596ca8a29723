"""The journal of a driver: one line per event, durable before anybody is told.

A result is first of all a line here, on disk before the backend learns that the trial has ended. The
Parquet tables are made from it; a later driver folds in what an earlier one could not.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final
from uuid import uuid4

from harness.errors import ResultsError
from harness.trial import TrialResult


@final
class Journal:
    """Appends events to a file of its own in `<run>/journal/`.

    Raises:
        ResultsError: the disk is full or the folder cannot be written; nothing is left half written.
    """

    def __init__(self, run: Path):
        folder = run / "journal"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{uuid4().hex[:12]}.jsonl"
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - lives as long as its owner

    def started(self, trial_id: str) -> None:
        """A trial is about to run; tells readers what is under way."""
        self._append({"event": "started", "trial_id": trial_id}, durable=False)

    def finished(self, result: TrialResult) -> None:
        """A trial has ended; on disk when this returns."""
        event = {"event": "finished", "trial": dict(result.trial)}
        event |= {"metrics": list(result.metrics), "scores": list(result.scores)}
        self._append(event, durable=True)

    def _append(self, event: Mapping[str, Any], durable: bool) -> None:
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        before = self._file.tell()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(28, os.strerror(28))
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            os.ftruncate(self._file.fileno(), before)
            raise ResultsError(f"{self.path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        self._file.close()


def events(path: Path) -> Iterator[dict[str, Any]]:
    """Complete events of one journal file; a torn last line is what a killed writer leaves, and no event.

    A file that its driver has removed meanwhile has none: everything in it is in the tables by then.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def leftovers(run: Path) -> list[TrialResult]:
    """Results in the journals of a run, the last one of each trial."""
    found = {e["trial"]["trial_id"]: e for e in _all_events(run) if e["event"] == "finished"}
    return [TrialResult(e["trial"], tuple(e["metrics"]), tuple(e["scores"])) for e in found.values()]


def started_without_end(run: Path) -> list[str]:
    """Ids of trials that run now, if their driver lives, or ran when it died; in order of their start.

    Starts before the last time a journal was sealed are forgotten, so a few may be missing.
    """
    under_way: dict[str, None] = {}
    for event in _all_events(run):
        if event["event"] == "started":
            under_way[event["trial_id"]] = None
        else:
            under_way.pop(event["trial"]["trial_id"], None)
    return list(under_way)


def _all_events(run: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((run / "journal").glob("*.jsonl"), key=_age):
        yield from events(path)
