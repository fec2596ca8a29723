"""Which test images a method finds and misses, from their scores alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd

from harness.data.samples import GOOD
from reports.frame.load import Frame
from reports.frame.naming import shots_title
from reports.frame.once import once
from reports.pictures.shown import above, most_shots
from reports.stats.evidence import evidence

FOUND = 0.95  # of the good images lie below it


@final
@dataclass(frozen=True)
class Seen:
    """How one trial ranks the test images of its category.

    Attributes:
        variant, method, dataset, category: whose.
        shots: as printed.
        images: (image, label, share of the other good images below it), lowest share first.
    """

    variant: str
    method: str
    dataset: str
    category: str
    shots: str
    images: tuple[tuple[str, str, float], ...]

    @property
    def missed(self) -> list[str]:
        """Anomalous images, the one that fewest good ones lie below first."""
        return [name for name, label, _ in self.images if label != GOOD]

    @property
    def alarms(self) -> list[str]:
        """Good images, the one that looks most anomalous first."""
        return [name for name, label, _ in reversed(self.images) if label == GOOD]


@once
def seen(frame: Frame) -> list[Seen]:
    """Of every method and category the trial of most shots, then lowest seed."""
    return list(_each(frame, most_shots(frame.trials[frame.trials["status"] == "ok"])))


def _each(frame: Frame, trials: pd.DataFrame) -> Iterator[Seen]:
    every = evidence(frame)
    columns = ["trial_id", "variant", "method", "dataset", "category", "shots"]
    for trial, variant, method, dataset, category, shots in trials[columns].itertuples(
        index=False, name=None
    ):
        found = every[dataset].images.get(category) if dataset in every else None
        if found is None or trial not in found.table.rows:
            continue
        table = found.table
        shares = above(table.of([trial])[0], np.array([label == GOOD for label in table.labels]))
        rows = [
            (n, k, s) for n, k, s in zip(table.images, table.labels, shares, strict=True) if s is not None
        ]
        rows.sort(key=lambda row: row[2])
        yield Seen(variant, method, dataset, category, shots_title(int(shots)), tuple(rows))
