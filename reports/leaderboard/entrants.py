"""Who is on a board, and what the trials of each cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import pandas as pd

from reports.frame.cards import MethodCard
from reports.frame.load import MISSING, Frame
from reports.frame.naming import ZERO
from reports.papers.named import selection


@final
@dataclass(frozen=True)
class Entrant:
    """A method with one number of shots on one data set; fields as in `Standing`."""

    method: str
    seconds_per_image: float | None
    gpu_hours: float | None
    cpu_hours: float | None
    ok: int
    planned: int
    marks: tuple[str, ...]
    badges: tuple[str, ...]


@final
@dataclass(frozen=True)
class Field:
    """All that take part with one number of shots on one data set.

    Attributes:
        trials: theirs.
        entrants: by the name of tables.
    """

    trials: pd.DataFrame
    entrants: Mapping[str, Entrant]


def field_of(frame: Frame, dataset: str, shots: int) -> Field:
    """Those of a data set with so many shots, and those that take none."""
    t = frame.trials
    trials = t[(t["dataset"] == dataset) & t["shots"].isin([shots, ZERO])]
    entrants = {str(v): _entrant(frame, some) for v, some in trials.groupby("variant", sort=False)}
    return Field(trials, entrants)


def _entrant(frame: Frame, trials: pd.DataFrame) -> Entrant:
    ended, ok = trials[trials["status"] != MISSING], trials[trials["status"] == "ok"]
    method, each = str(trials["method"].iloc[0]), ok["ms_per_image"].median()
    marks = tuple(sorted({mark for marks in trials["marks"] for mark in marks}))
    seconds = None if pd.isna(each) else float(each) / 1000
    card = frame.cards.get(method, MethodCard(method, method))
    badges = tuple(filter(None, (*card.badges, selection(method, card.title))))
    return Entrant(method, seconds, *hours(ended), len(ok), len(trials), marks, badges)


def hours(ended: pd.DataFrame) -> tuple[float | None, float | None]:
    """GPU hours and CPU hours, a shared card by its share; None where no trial ran on that."""
    seconds = ended["total_seconds"].fillna(0.0)
    on_gpu = ended["device"].fillna("").str.startswith("cuda")
    share = ended["gpu_share"].fillna(0.0).where(ended["gpu_share"] > 0, 1.0)
    gpu = float((seconds * share)[on_gpu].sum()) / 3600 if on_gpu.any() else None
    on_cpu = ended["device"].notna() & ~on_gpu
    return gpu, float(seconds[on_cpu].sum()) / 3600 if on_cpu.any() else None
