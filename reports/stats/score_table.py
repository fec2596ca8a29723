"""The score table as paired arrays: the same images in the same order, for any number of trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import DataError

Seeds = tuple[int | None, int | None]


@final
@dataclass(frozen=True)
class ScoreTable:
    """Scores of trials that judged the same images.

    Attributes:
        trial_ids: the trials, (t,).
        images: ids of the images, sorted, (n,).
        labels: label of each image, (n,).
        scores: finite, (t, n).
    """

    trial_ids: tuple[str, ...]
    images: tuple[str, ...]
    labels: tuple[str, ...]
    scores: NDArray[np.float64]

    def of(self, trial_ids: Sequence[str]) -> NDArray[np.float64]:
        """Scores of some of the trials, in that order, (len(trial_ids), n)."""
        return self.scores[[self.rows[trial_id] for trial_id in trial_ids]]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each trial."""
        return {trial_id: i for i, trial_id in enumerate(self.trial_ids)}


def score_table(scores: pd.DataFrame, trial_ids: Sequence[str]) -> ScoreTable:
    """Scores of some trials as arrays that may be compared image by image.

    Args:
        scores: the score table, or the columns `trial_id, image, label, score` of it.
        trial_ids: trials of one category, different ones.

    Raises:
        DataError: a trial has no scores, other images or labels than the first, an image twice, or a
            score that is not finite; the trial is named.
    """
    rows = scores[scores["trial_id"].isin(list(trial_ids))]
    trial = pd.Index(list(trial_ids)).get_indexer(pd.Index(rows["trial_id"].astype("str")))
    image, names = pd.factorize(rows["image"].astype("str"), sort=True)
    images = tuple(map(str, names))
    label, labels = pd.factorize(rows["label"].astype("str"))
    _check_images(trial, image, trial_ids, images)
    values = np.empty((len(trial_ids), len(images)))
    kinds = np.zeros(values.shape, np.int64)
    values[trial, image] = rows["score"].to_numpy(np.float64)
    kinds[trial, image] = label
    _check(np.isfinite(values), "has no finite score for", trial_ids, images)
    _check(kinds == kinds[:1], "has another label for", trial_ids, images)
    of_images = tuple(str(labels[k]) for k in kinds[0]) if len(kinds) else ()
    return ScoreTable(tuple(trial_ids), images, of_images, values)


def _check_images(trial: NDArray, image: NDArray, trial_ids: Sequence[str], images: Sequence[str]) -> None:
    times = np.bincount(trial * len(images) + image, minlength=len(trial_ids) * len(images))
    for i, count in enumerate(times.reshape(len(trial_ids), len(images))):
        if not count.any():
            raise DataError(f"trial {trial_ids[i]} has no scores")
        if (count > 1).any():
            raise DataError(f"trial {trial_ids[i]} has {images[int(count.argmax())]} more than once")
        if (count == 0).any():
            lacking = images[int(count.argmin())]
            raise DataError(f"trial {trial_ids[i]} lacks {lacking}: not the same test images")


def _check(good: NDArray[np.bool_], what: str, trial_ids: Sequence[str], images: Sequence[str]) -> None:
    for i, j in np.argwhere(~good)[:1].tolist():
        raise DataError(f"trial {trial_ids[i]} {what} {images[j]}")


def paired_seeds(first: Sequence[Seeds], second: Sequence[Seeds]) -> list[tuple[int, int]]:
    """Which trials of two methods belong together: those of the same split seed and run seed.

    A seed of None cannot change the numbers of its method, so it goes with every seed of the other.

    Args:
        first: (split seed, run seed) of each trial of one method.
        second: of the other, in the same category with the same number of shots.

    Returns:
        Pairs of positions; the difference of the methods is its mean over these pairs.
    """
    return [(i, j) for i, a in enumerate(first) for j, b in enumerate(second) if _fits(a, b)]


def _fits(a: Seeds, b: Seeds) -> bool:
    return all(x == y or x is None or y is None for x, y in zip(a, b, strict=True))
