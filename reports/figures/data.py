"""What figures are made from: a frame with its cells and averages, each made once."""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import pandas as pd

from harness.metrics.scale import Scale
from reports.frame.cells import averages, cells
from reports.frame.load import AUROC, Frame
from reports.frame.naming import FULL, metric_of, shots_title

LOCO = "mvtec_loco"  # the data set of all published numbers
LINES = 8  # in a figure: more cannot be told apart
MOST = 24  # methods and settings of a data set that are drawn, the first of the plan


@final
@dataclass(frozen=True, eq=False)
class Data:
    """A frame and what tables are made from it."""

    frame: Frame

    @cached_property
    def cells(self) -> pd.DataFrame:
        """See `reports.frame.cells.cells`."""
        return cells(self.frame)

    @cached_property
    def averages(self) -> pd.DataFrame:
        """See `reports.frame.cells.averages`."""
        return averages(self.frame, self.cells)

    @cached_property
    def scale(self) -> Scale:
        """How values of the main metric are printed."""
        return self.frame.scale(self.frame.main)

    @property
    def is_auroc(self) -> bool:
        """The main metric is that of all published numbers."""
        return self.frame.main == AUROC

    def main(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of the main metric, by whichever definition comes first."""
        measures = [m for m in rows["measure"].unique() if metric_of(m) == self.frame.main]
        return rows[rows["measure"] == measures[0]] if measures else rows.iloc[:0]

    def printed(self, value: float) -> float:
        """A value of the main metric as figures show it."""
        return self.scale.factor * float(value)


def percent(value: float) -> float:
    """A fraction as figures show it."""
    return 100 * float(value)


def shots_words(shots: int) -> str:
    """A number of shots in a title."""
    return "all training images" if shots == FULL else shots_title(shots)


def shots_key(shots: int) -> str:
    """A number of shots in a file name."""
    return "full" if shots == FULL else str(shots)


def parts(rows: pd.DataFrame) -> tuple[list[tuple[str, pd.DataFrame]], tuple[str, ...]]:
    """Rows of eight variants for every figure, with what to add to its key, and a note on those left."""
    variants = list(rows["variant"].unique())
    drawn = [variants[i : i + LINES] for i in range(0, len(variants[:MOST]), LINES)]
    names = [""] if len(drawn) == 1 else [f"-{i + 1}" for i in range(len(drawn))]
    more = len(variants) - MOST
    note = (f"{more} further settings are not drawn.",) if more > 0 else ()
    some = [rows[rows["variant"].isin(few)] for few in drawn]
    return list(zip(names, some, strict=True)), note


def left_out(incomplete: list[str]) -> tuple[str, ...]:
    """What to say of averages that are not shown because trials are missing."""
    some = list(dict.fromkeys(incomplete))
    more = f" and {len(some) - 3} more" if len(some) > 3 else ""
    return (f"Not complete, not shown: {', '.join(some[:3])}{more}.",) if some else ()
