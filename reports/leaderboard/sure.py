"""How sure the AUROCs of a board are: intervals and p-values over the test images, seeds averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, final

import pandas as pd

from harness.metrics.bootstrap import interval_of
from reports.stats import Area, difference, mean_area
from reports.stats.evidence import BOOTSTRAP, CategoryImages, Evidence


@final
@dataclass(frozen=True)
class Sure:
    """The AUROC of every method on the same resampled images, averaged over the units of a board.

    Attributes:
        areas: by method.
    """

    areas: Mapping[str, Area]

    @classmethod
    def over(
        cls, found: Evidence | None, subset: str, units: Sequence[str], trials: pd.DataFrame
    ) -> Self | None:
        """None where the images of some unit cannot be compared, or have no scores."""
        if found is None or any(unit not in found.images for unit in units):
            return None
        ok = trials[(trials["status"] == "ok") & trials["category"].isin(units)]
        by_method: dict[str, dict[str, Area]] = {}
        for (variant, category), some in ok.groupby(["variant", "category"], sort=False):
            if (area := _area(found.images[str(category)], some["trial_id"].tolist(), subset)) is not None:
                by_method.setdefault(str(variant), {})[str(category)] = area
        # in one order, for two methods are compared image by image
        whole = {v: mean_area([a[u] for u in units]) for v, a in by_method.items() if len(a) == len(units)}
        return cls(whole) if whole else None

    def p(self, first: str, second: str) -> float | None:
        """DeLong's p-value of a difference of 0; None where it cannot be had."""
        if first not in self.areas or second not in self.areas:
            return None
        return difference(self.areas[first], self.areas[second], BOOTSTRAP).p

    def interval(self, method: str) -> tuple[float, float] | None:
        """Of its AUROC: images resampled within each category, the categories and seeds as given."""
        if method not in self.areas:
            return None
        area = self.areas[method]
        found = interval_of(area.value, area.drawn, BOOTSTRAP, lambda: area.influence)
        return None if found.low is None or found.high is None else (found.low, found.high)


def _area(images: CategoryImages, trial_ids: Sequence[str], subset: str) -> Area | None:
    there = {i: 1 for i in trial_ids if i in images.table.rows}
    return images.areas(there).get(subset) if there else None
