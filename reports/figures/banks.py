"""Histograms of the scores of every memory bank, before and after scaling, and of the sum (PSAD, Fig. 5)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.results.reader import read_scores
from reports.figures.data import Data, shots_words
from reports.figures.figure import Figure, Histogram, Panel, mark_notes
from reports.frame.naming import words
from reports.pictures.shown import most_shots

SCALED = "_scaled"  # a part of this ending is the part of the name before it, scaled
BINS = 24
_LOOKED_AT = 3  # settings of a method, of which the one with most banks is shown
_HOW = (
    "Share of the test images of each kind. First row of a category: as the banks give them; second: scaled."
)
_KINDS = {"good": "normal", "logical": "logical anomalies", "structural": "structural anomalies"}


def bank_histograms(data: Data) -> list[Figure]:
    """One figure per method and data set whose scores have several scaled parts."""
    trials = data.frame.trials[data.frame.trials["status"] == "ok"]
    chosen = most_shots(trials)
    return [
        figure
        for (dataset, method), some in chosen.groupby(["dataset", "method"], sort=False)
        for figure in _of(data, str(dataset), str(method), some)
    ]


def _of(data: Data, dataset: str, method: str, trials: pd.DataFrame) -> Iterator[Figure]:
    variants = list(trials["variant"].unique())[:_LOOKED_AT]
    first = {v: _scores(data, trials[trials["variant"] == v].iloc[0]) for v in variants}
    banks = {v: _banks(scores) for v, scores in first.items()}
    variant = max(variants, key=lambda v: len(banks[v]))
    if len(banks[variant]) > 1:
        some = trials[trials["variant"] == variant]
        panels = [p for _, row in some.iterrows() for p in _panels(row, _scores(data, row), banks[variant])]
        shots = ", ".join(dict.fromkeys(shots_words(k) for k in some["shots"]))
        yield Figure(
            f"banks-{dataset}-{method}",
            f"{variant}: scores of the banks ({dataset}, {shots}, first seed)",
            "",
            "share of images",
            tuple(panels),
            len(banks[variant]) + 1,
            (_HOW, *mark_notes((variant, marks) for marks in some["marks"])),
        )


def _scores(data: Data, row: pd.Series) -> pd.DataFrame:
    """label, score and one column per part of the test images of a trial."""
    scores = read_scores(data.frame.sources[row["run"]].path, row["trial_id"]).dropna(subset="score")
    parts = pd.DataFrame([dict(p) if p is not None else {} for p in scores["parts"]], index=scores.index)
    return pd.concat([scores[["label", "score"]], parts], axis=1)


def _banks(scores: pd.DataFrame) -> list[str]:
    """Parts that are there before and after scaling."""
    return [c for c in scores.columns if f"{c}{SCALED}" in scores.columns]


def _panels(row: pd.Series, scores: pd.DataFrame, banks: list[str]) -> Iterator[Panel]:
    """Two rows: every bank and their plain sum, every bank scaled and the score."""
    category = words(row["category"])
    sums = scores[[b for b in banks if b in scores.columns]].sum(axis=1)
    for name in banks:
        yield _panel(f"{category}: {name}", scores, scores.get(name, sums))
    yield _panel(f"{category}: plain sum", scores, sums)
    for name in banks:
        yield _panel(f"{name}, scaled", scores, scores.get(f"{name}{SCALED}", sums))
    yield _panel("score", scores, scores["score"])


def _panel(title: str, scores: pd.DataFrame, values: pd.Series) -> Panel:
    edges = np.histogram_bin_edges(values.to_numpy(np.float64), BINS)
    kinds = [k for k in _KINDS if (scores["label"] == k).any()]
    return Panel(title, tuple(_histogram(k, values[scores["label"] == k].to_numpy(), edges) for k in kinds))


def _histogram(kind: str, values: NDArray[np.float64], edges: NDArray[np.float64]) -> Histogram:
    counts, _ = np.histogram(values, edges)
    return Histogram(_KINDS[kind], tuple(edges.tolist()), tuple((counts / len(values)).tolist()))
