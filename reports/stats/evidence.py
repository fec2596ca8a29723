"""What trials said of every test image, by data set and category, with the images resampled once for all."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import final
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa

from harness.errors import DataError
from harness.results.score_table import read_score_columns
from reports.frame.load import Frame
from reports.frame.once import once
from reports.stats import Area, Bootstrap, ResampledImages, ScoreTable, score_table

BOOTSTRAP = Bootstrap(resamples=2000)


@final
@dataclass
class CategoryImages:
    """One category: its scores, its resampled images, and the areas that were computed on them."""

    table: ScoreTable
    bootstrap: Bootstrap
    known: dict[tuple[tuple[str, int], ...], Mapping[str, Area]] = field(default_factory=dict)

    @cached_property
    def resampled(self) -> ResampledImages:
        """Drawn when first needed."""
        return ResampledImages(self.table.labels, self.bootstrap)

    def areas(self, times: Mapping[str, int]) -> Mapping[str, Area]:
        """By subset, of trials that count so many times each."""
        key = tuple(times.items())
        if key not in self.known:
            self.known[key] = self.resampled.areas(self.table.of(list(times)), list(times.values()))
        return self.known[key]


@final
@dataclass(frozen=True)
class Evidence:
    """Of one data set.

    Attributes:
        images: category -> its images, for categories with normal and anomalous ones.
        refused: categories whose trials did not judge the same images.
    """

    images: Mapping[str, CategoryImages]
    refused: tuple[str, ...]


@once
def evidence(frame: Frame) -> Mapping[str, Evidence]:
    """By data set, from the scores of its ok trials.

    Raises:
        DataError: scores cannot be read.
    """
    ok = frame.trials[frame.trials["status"] == "ok"]
    if ok.empty or not frame.tested:
        return {}
    scores = _scores(frame, ok)
    return {
        str(dataset): _of_dataset(some, {c: s for (d, c), s in scores.items() if d == dataset})
        for dataset, some in ok.groupby("dataset", sort=False)
    }


def _scores(frame: Frame, trials: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """(data set, category) -> scores of its trials."""
    pairs = list(zip(trials["dataset"], trials["category"], strict=True))
    places = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
    names = list(places)
    number = {i: places[pair] for i, pair in zip(trials["trial_id"], pairs, strict=True)}
    found: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for run, some in trials.groupby("run"):
        scores = scores_of(frame.sources[int(str(run))].path, some["trial_id"].tolist())
        of_trial = np.array([number[i] for i in scores["trial_id"].cat.categories], np.intp)
        for k, rows in scores.groupby(of_trial[scores["trial_id"].cat.codes]):
            found.setdefault(names[int(str(k))], []).append(rows)
    return {place: some[0] if len(some) == 1 else pd.concat(some) for place, some in found.items()}


def scores_of(path: Path, trial_ids: list[str]) -> pd.DataFrame:
    """Columns `trial_id, image, label, score` of some trials of a run.

    Raises:
        DataError: they cannot be read.
    """
    try:
        return read_score_columns(path, trial_ids)
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{path}: scores cannot be read ({' '.join(str(error).split())})") from error


def _of_dataset(trials: pd.DataFrame, scores: Mapping[str, pd.DataFrame]) -> Evidence:
    found, refused = {}, []
    for category, some in trials.groupby("category", sort=False):
        rows = scores.get(str(category))
        if rows is None or rows["label"].nunique() < 2:
            continue
        there = set(rows["trial_id"].unique())
        try:
            table = score_table(rows, [i for i in some["trial_id"] if i in there])
        except DataError:
            refused.append(str(category))
            continue
        # Categories are independent of each other, so they must not share their draws.
        options = replace(BOOTSTRAP, seed=crc32(str(category).encode()))
        found[str(category)] = CategoryImages(table, options)
    return Evidence(found, tuple(refused))
