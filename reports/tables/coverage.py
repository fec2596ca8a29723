"""What became of every planned trial, and what went wrong in those that are not ok."""

import re
from collections.abc import Iterator

import pandas as pd

from reports.frame.load import MISSING, Frame
from reports.frame.naming import shots_title
from reports.leaderboard import order
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, number, text

STATUSES = ("ok", "failed", "skipped", "timeout", "oom", "crashed", "lost", MISSING)
MESSAGE_CHARACTERS = 300

_CAPTION = (
    "Trials by what became of them. Missing: planned, without a result yet. Only ok trials enter a mean; "
    "the others are in no number of this report."
)


def coverage(frame: Frame) -> list[Table]:
    """Planned, ok, failed, … missing by method and number of shots."""
    if frame.trials.empty:
        return []
    columns = [Column(s, s) for s in ("planned", *STATUSES)]
    rows = [Row(label, _counts(some["status"])) for label, some in by_variant(frame, frame.trials)]
    total = Row("all methods", _counts(frame.trials["status"]))
    groups = (Group("", tuple(rows)), Group("", (total,)))
    return [Table("coverage", "Coverage", _CAPTION, "Method", tuple(columns), groups, (), "coverage")]


def by_variant(frame: Frame, trials: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Some trials by method and number of shots, with the name of the row; best of the first board first."""
    for variant in order(frame):
        of_it = trials[trials["variant"] == variant]
        for shots in sorted(set(of_it["shots"])):
            yield f"{variant}, {shots_title(shots)}", of_it[of_it["shots"] == shots]


def _counts(statuses: pd.Series) -> tuple[Cell, ...]:
    found = statuses.value_counts()
    return (number(len(statuses)), *(number(int(found.get(s, 0))) for s in STATUSES))


def failures(frame: Frame) -> list[Table]:
    """Trials that are not ok, grouped by method, status, error and message."""
    bad = frame.trials[~frame.trials["status"].isin(["ok", MISSING])]
    if bad.empty:
        return []
    kind = bad["error_type"].fillna("")
    alike = bad.assign(kind=kind, like=[_shape(r) for r in bad["reason"]])
    groups = alike.groupby(["variant", "status", "kind", "like"], sort=False)
    rows = sorted((_failure(some) for _, some in groups), key=lambda r: -int(r.cells[2].value))
    columns = (
        Column("status", "Status", Kind.TEXT),
        Column("error_type", "Error", Kind.TEXT),
        Column("trials", "Trials"),
        Column("message", "Message", Kind.TEXT),
        Column("example", "One of them", Kind.TEXT),
    )
    caption = "Trials that are not ok, by method and message (numbers in messages apart)."
    note = "All of a trial: python -m harness.show RUN TRIAL."
    return [
        Table(
            "failures", "Failures", caption, "Method", columns, (Group("", tuple(rows)),), (note,), "coverage"
        )
    ]


def _plain(told: object) -> str:
    """Text without the colours of a terminal; nothing for null."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", told) if isinstance(told, str) else ""


def _shape(reason: object) -> str:
    """A message without its numbers, addresses and trial ids: what equal failures have in common."""
    return re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{12,}\b|\d+(\.\d+)?", "#", _plain(reason))


def _failure(some: pd.DataFrame) -> Row:
    one = some.iloc[0]
    message = " ".join(_plain(one["reason"]).split())
    cut = message if len(message) <= MESSAGE_CHARACTERS else message[:MESSAGE_CHARACTERS].rstrip() + " …"
    example = f"{one['trial_id']} ({one['category']}, {shots_title(one['shots'])}, seeds {one['seed']})"
    cells = (
        text(str(one["status"])),
        text(str(one["kind"])),
        number(len(some)),
        Cell(cut, message),
        Cell(example, str(one["trial_id"])),
    )
    return Row(str(one["variant"]), cells, _plain(one["traceback"]).strip())
