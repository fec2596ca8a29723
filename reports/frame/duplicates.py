"""The same trial in several runs: one row is kept, and differing numbers are named."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.metrics.scale import PERCENT, Scale

TOLERANCE = 1e-9  # numbers that differ by more are not the same result
NAMED = 5
CONFLICT = "Conflict"  # begins the sentence on the same trial with differing numbers

_METRIC = ["trial_id", "subset", "metric", "fpr_limit", "metric_version", "map_rule"]


def unique_trials(
    trials: pd.DataFrame, metrics: pd.DataFrame, runs: Sequence[str], scales: Mapping[str, Scale]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """One row per trial id: an ok one before any other, the latest of those.

    Args:
        trials: planned trials of all runs, with `run`.
        metrics: metrics of all runs, with `run`.
        runs: what to call the runs.
        scales: metric -> how its values are printed.

    Returns:
        The trials in their order, the metrics of the kept rows, and sentences on what was found twice.
    """
    twice = trials["trial_id"].duplicated(keep=False)
    if not twice.any():
        return trials, metrics, []
    kept = trials.loc[_order(trials).drop_duplicates("trial_id").sort_index().index]
    notes = [_summary(trials[twice], runs), *_conflicts(trials[twice], metrics, scales)]
    kept_metrics = metrics.merge(kept[["trial_id", "run"]], on=["trial_id", "run"])
    return kept.reset_index(drop=True), kept_metrics, notes


def _order(trials: pd.DataFrame) -> pd.DataFrame:
    place = np.select([trials["status"] == "ok", trials["status"] == "missing"], [0, 2], 1)
    return trials.assign(_place=place).sort_values(["_place", "finished_at"], ascending=[True, False])


def _summary(doubled: pd.DataFrame, runs: Sequence[str]) -> str:
    count, where = doubled["trial_id"].nunique(), set(doubled["run"])
    names = [name for i, name in enumerate(runs) if i in where]
    named = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return f"{_trials(count)} planned in more than one of {named}: the ok row, or else the latest, counts."


def _conflicts(doubled: pd.DataFrame, metrics: pd.DataFrame, scales: Mapping[str, Scale]) -> list[str]:
    """Trials that are ok in several runs with different numbers."""
    both = doubled.loc[doubled["status"] == "ok", ["trial_id", "run"]].merge(metrics, on=["trial_id", "run"])
    values = both.groupby(_METRIC, dropna=False)["value"]
    spread = (values.max() - values.min()).reset_index(name="by")
    undefined = values.agg(lambda v: v.isna().any() and v.notna().any()).reset_index(drop=True)
    differing = spread[(spread["by"] > TOLERANCE) | undefined.astype(bool)]
    if differing.empty:
        return []
    factors = [scales[str(metric)].factor for metric in differing["metric"]]
    printed = differing.assign(by=differing["by"] * factors)
    worst = printed.sort_values("by", ascending=False, kind="stable").drop_duplicates("trial_id")
    shown = worst.head(NAMED)[["trial_id", "metric", "by"]].itertuples(index=False)
    named = ", ".join(_named(doubled, t, by, scales[str(m)].unit) for t, m, by in shown)
    more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
    return [f"{CONFLICT}: {_trials(len(worst))} with the same identity but different numbers: {named}{more}."]


def _named(doubled: pd.DataFrame, trial_id: object, by: float, unit: str) -> str:
    row = doubled[doubled["trial_id"] == trial_id].iloc[0]
    printed = f"{by:{'.2g' if by < 100 else '.0f'}} {'points' if unit == PERCENT else unit}".rstrip()
    return f"{row['method']} {row['category']} {trial_id} (by {printed})"


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
