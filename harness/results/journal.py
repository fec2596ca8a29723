"""The journal of a driver: one line per event, durable before anybody is told.

A result is first of all a line here, on disk before the backend learns that the trial has ended. The
Parquet tables are made from it; a later driver folds in what an earlier one could not. A line ends in a
checksum of itself; one that is damaged is named and set aside, the others hold.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, final
from uuid import uuid4

from harness.errors import DamagedFile, ResultsError
from harness.results.parquet import NO_TABLE, absent
from harness.results.tables import listed, rows_to_tables
from harness.trial import TrialResult

FOLDER = "journal"
_CHECKED = re.compile(rb"(.*) #([0-9a-f]{16})\n", re.DOTALL)


@final
class Journal:
    """Appends events to a file of its own in `<run>/journal/`.

    Raises:
        ResultsError: the disk is full, the folder cannot be written, or the file was removed meanwhile;
            nothing is left half written.
    """

    def __init__(self, run: Path):
        folder = run / FOLDER
        self.path = folder / f"{uuid4().hex[:12]}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - lives as long as its owner
        except OSError as error:
            raise ResultsError(f"{self.path}: cannot be written ({error.strerror})") from error

    def started(self, trial_id: str) -> None:
        """A trial is about to run; tells readers what is under way."""
        self._append({"event": "started", "trial_id": trial_id}, durable=False)

    def finished(self, result: TrialResult) -> None:
        """A trial has ended; on disk when this returns."""
        event = {"event": "finished", "trial": dict(result.trial)}
        event |= {"metrics": list(result.metrics), "scores": list(result.scores)}
        self._append(event, durable=True)

    def _append(self, event: Mapping[str, Any], durable: bool) -> None:
        text = json.dumps(event, separators=(",", ":")).encode()
        line = text + b" #" + _checksum(text) + b"\n"
        before = self._file.tell()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(28, os.strerror(28))
            if durable:
                os.fsync(self._file.fileno())
            # what was removed takes every line, and nobody finds one
            if not os.fstat(self._file.fileno()).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "somebody has removed it while the sweep ran")
        except OSError as error:
            with suppress(OSError):  # a stale handle of NFS refuses this too
                os.ftruncate(self._file.fileno(), before)
            raise ResultsError(f"{self.path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        self._file.close()


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()


@final
@dataclass
class Journalled:
    """What the journals of a run hold.

    Attributes:
        results: of trials that have ended, the last one of each, by id.
        under_way: trials that were started and have not ended, in order of their start.
        damage: lines and files that cannot be read.
        lines: those lines.
    """

    results: dict[str, TrialResult] = field(default_factory=dict)
    under_way: dict[str, None] = field(default_factory=dict)
    damage: list[DamagedFile] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)

    def take(self, line: bytes) -> None:
        """Note what a line tells.

        Raises:
            ValueError: that cannot be read.
        """
        event, known = _event(line)
        if event["event"] == "started":
            self.under_way[_text(event, "trial_id")] = None
            return
        result = _result(event, known)
        trial_id = result.trial["trial_id"]
        self.under_way.pop(trial_id, None)
        self.results[trial_id] = result


def read_journals(run: Path) -> Journalled:
    """Everything in the journals of a run, in the order in which they were written last.

    A torn last line is what a killed writer leaves, and no event; neither is a file that its driver has
    removed meanwhile: everything in it is in the tables by then.
    """
    found = Journalled()
    for path in sorted(_files(run, found), key=_age):
        for number, line in enumerate(_lines(path, found), 1):
            try:
                found.take(line)
            except (*NO_TABLE, RecursionError) as error:
                why = f"line {number} cannot be read ({_short(error)})"
                found.damage.append(DamagedFile(path, why, lost=True))
                found.lines.append(line)
    return found


def _files(run: Path, found: Journalled) -> list[Path]:
    try:
        return [run / FOLDER / name for name in listed(run / FOLDER) if name.endswith(".jsonl")]
    except DamagedFile as error:
        found.damage.append(error)
        return []


def _lines(path: Path, found: Journalled) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except OSError as error:
        try:
            absent(path, error)
        except DamagedFile as damage:
            found.damage.append(damage)


def _event(line: bytes) -> tuple[dict[str, Any], bool]:
    """The event of a line, and whether a checksum vouches for it; older lines have none."""
    checked = _CHECKED.fullmatch(line)
    if checked and _checksum(checked[1]) != checked[2]:
        raise ValueError("its checksum differs")
    event = json.loads(checked[1] if checked else line)
    if not isinstance(event, dict) or event.get("event") not in ("started", "finished"):
        raise ValueError("it is no event")
    return event, checked is not None


def _result(event: Mapping[str, Any], known: bool) -> TrialResult:
    trial, metrics, scores = event["trial"], event["metrics"], event["scores"]
    listed = (*metrics, *scores)
    if not isinstance(trial, dict) or not all(isinstance(row, dict) for row in listed):
        raise ValueError("it has no rows")
    _text(trial, "status")
    datetime.fromisoformat(_text(trial, "finished_at"))
    result = TrialResult(trial | {"trial_id": _text(trial, "trial_id")}, tuple(metrics), tuple(scores))
    if not known:
        rows_to_tables([result])  # raises if it would not become rows
    return result


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is no text")
    return value


def _short(error: BaseException) -> str:
    words = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    return words[:120] or type(error).__name__


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def leftovers(run: Path) -> list[TrialResult]:
    """Results in the journals of a run, the last one of each trial."""
    return list(read_journals(run).results.values())


def started_without_end(run: Path) -> list[str]:
    """Ids of trials that run now, if their driver lives, or ran when it died; in order of their start.

    Starts before the last time a journal was sealed are forgotten, so a few may be missing.
    """
    return list(read_journals(run).under_way)
