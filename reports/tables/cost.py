"""What trials cost, and what the artifact store saved."""

import pandas as pd

from reports.frame.load import MISSING, Frame
from reports.leaderboard.entrants import hours
from reports.tables.coverage import by_variant
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, number, text

CAPTION = (
    "Median over ok trials for seconds and milliseconds, maximum over trials for peak memory. Hours are "
    "those of all trials that ended, ok or not, by the wall clock: on a GPU times the share of it that the "
    "trial had. Work saved: the part of shared arrays that the artifact store already had."
)
COLUMNS = (
    Column("trials", "Trials"),
    Column("fit_seconds", "Fit, s"),
    Column("score_seconds", "Score, s"),
    Column("ms_per_image", "ms / image"),
    Column("peak_rss_mib", "RSS, MiB"),
    Column("peak_gpu_mib", "GPU, MiB"),
    Column("gpu_hours", "GPU hours"),
    Column("cpu_hours", "CPU hours"),
    Column("artifact_hits", "Found"),
    Column("artifact_computes", "Computed"),
    Column("saved", "Work saved"),
    Column("device", "On", Kind.TEXT),
)


def cost(frame: Frame) -> list[Table]:
    """Seconds, memory, hours and shared work, by method and number of shots."""
    ended = frame.trials[frame.trials["status"] != MISSING]
    if ended.empty:
        return []
    rows = [Row(label, costs_of(some)) for label, some in by_variant(frame, ended)]
    sections = (Group("", tuple(rows)), Group("", (Row("all methods", costs_of(ended)),)))
    return [Table("cost", "Cost", CAPTION, "Method", COLUMNS, sections, (), "cost")]


def costs_of(ended: pd.DataFrame) -> tuple[Cell, ...]:
    """A row of `COLUMNS` of trials that have ended."""
    ok = ended[ended["status"] == "ok"]
    medians = [number(ok[c].median()) for c in ("fit_seconds", "score_seconds", "ms_per_image")]
    peaks = [number(_whole(ok[c].max())) for c in ("peak_rss_mib", "peak_gpu_mib")]
    hits, computes = (int(ended[c].fillna(0).sum()) for c in ("artifact_hits", "artifact_computes"))
    spent = [number(h, digits=2) for h in hours(ended)]
    return (
        number(len(ended)),
        *medians,
        *peaks,
        *spent,
        number(hits),
        number(computes),
        _share(hits, hits + computes),
        text(_devices(ended)),
    )


def _share(part: int, whole: int) -> Cell:
    return Cell(f"{part / whole:.0%}", part / whole) if whole else text(None)


def _whole(value: float) -> int | None:
    return None if pd.isna(value) else round(value)


def _devices(ended: pd.DataFrame) -> str:
    named = ended["gpu_name"].where(ended["gpu_name"].notna(), ended["device"]).dropna()
    return ", ".join(dict.fromkeys(named))
