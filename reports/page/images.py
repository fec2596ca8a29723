"""How methods rank the test images of each category: what one finds and another misses.

Scores of two methods have nothing in common, so each image gets the share of good images that lie below it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.data.samples import GOOD
from reports.frame.load import Frame
from reports.frame.naming import shots_title
from reports.page.columns import thousandths, words
from reports.pictures.shown import above, most_shots
from reports.stats.evidence import scores_of

_PLACE = ["dataset", "category"]
METHODS = 8  # at most so many in a category: those with the highest AUROC


def images(frame: Frame) -> list[dict[str, Any]]:
    """By data set and category: the images, and the ranks that the shown trial of each method gives them."""
    ok = frame.trials[frame.trials["status"] == "ok"]
    chosen = most_shots(ok)
    shown = _best(frame, chosen)
    scores = _scores(frame, shown)
    found = []
    for dataset, category in chosen[_PLACE].drop_duplicates().itertuples(index=False, name=None):
        trials = shown[(shown["dataset"] == dataset) & (shown["category"] == category)]
        of_it = scores[scores["trial_id"].isin(trials["trial_id"])]
        if not of_it.empty:
            found.append({"dataset": dataset, "category": category, **_ranks(trials, of_it)})
    return found


def _best(frame: Frame, trials: pd.DataFrame) -> pd.DataFrame:
    """The methods of each category with the highest AUROC, best first."""
    metrics = frame.metrics
    pooled = metrics[(metrics["metric"] == "auroc") & (metrics["subset"] == "all")]
    values = trials["trial_id"].map(pooled.drop_duplicates("trial_id").set_index("trial_id")["value"])
    ordered = trials.assign(area=values).sort_values("area", ascending=False, kind="stable")
    return ordered.groupby(_PLACE, sort=False).head(METHODS)


def _scores(frame: Frame, trials: pd.DataFrame) -> pd.DataFrame:
    columns = ["trial_id", "image", "label", "score"]
    found = [
        scores_of(frame.sources[int(str(run))].path, some["trial_id"].tolist()).astype(
            dict.fromkeys(columns[:3], str)
        )
        for run, some in trials.groupby("run")
    ]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _ranks(trials: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Any]:
    table = scores.pivot_table("score", "image", "trial_id", observed=True)
    labels = scores.drop_duplicates("image").set_index("image")["label"].reindex(table.index)
    good = (labels == GOOD).to_numpy(bool)
    return {
        "names": table.index.tolist(),
        "labels": words(labels),
        "methods": list(_methods(trials, table, good)),
    }


def _methods(trials: pd.DataFrame, table: pd.DataFrame, good: NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    for row in trials.to_dict("records"):
        if row["trial_id"] in table:
            shares = above(table[row["trial_id"]].to_numpy(np.float64), good)
            yield {
                "name": row["variant"],
                "shots": shots_title(int(row["shots"])),
                "trial": row["trial_id"],
                "area": None if pd.isna(row["area"]) else round(row["area"], 4),
                "above": thousandths(shares, of=1),
            }
