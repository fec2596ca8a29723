"""How often each method beats each other one, over every (category, shots, seed) that both have.

An interval says what other images of the same kinds would change: images are resampled once per category for
all methods, shots and seeds, and the share of wins is counted in each resample. Units of one category are
not independent of each other, which resampling images by category leaves as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.frame.load import AUROC, Frame
from reports.frame.naming import ZERO
from reports.leaderboard.board import order
from reports.leaderboard.protocols import under_each
from reports.stats.drawn import DrawnAreas
from reports.stats.evidence import CategoryImages, evidence

Floats = NDArray[np.floating[Any]]
RESAMPLES = 500  # shares of wins are coarse: more digits than this gives are never printed
LEVEL = 0.95


@final
@dataclass(frozen=True, eq=False)
class WinRates:
    """Of one data set, protocol and subset.

    Attributes:
        dataset, protocol, subset: which.
        variants: the methods, best first.
        units: (category, shots, seed) that two methods have in common, (methods, methods).
        rate: share of them that the row wins against the column, a tie being half; NaN without any.
        low, high: ends of the interval.
    """

    dataset: str
    protocol: str
    subset: str
    variants: tuple[str, ...]
    units: NDArray[np.int64]
    rate: Floats
    low: Floats
    high: Floats


def win_rates(frame: Frame) -> list[WinRates]:
    """Of every data set, protocol and subset with AUROCs of two methods on common images."""
    if AUROC not in set(frame.metrics["metric"]):
        return []
    return [found for name, some in under_each(frame) for found in _of_protocol(order(frame), some, name)]


def _of_protocol(best_first: Sequence[str], frame: Frame, protocol: str) -> Iterator[WinRates]:
    place = {variant: i for i, variant in enumerate(best_first)}
    ok = frame.trials[frame.trials["status"] == "ok"]
    for dataset, trials in ok.groupby("dataset", sort=False):
        found = evidence(frame).get(str(dataset))
        variants = sorted(trials["variant"].unique(), key=lambda v: place[v])
        if found is None or len(variants) < 2:
            continue
        tallies: dict[str, _Tally] = {}
        for category, some in trials.groupby("category", sort=False):
            if str(category) in found.images:
                _add(tallies, some, variants, found.images[str(category)])
        for subset, tally in tallies.items():
            yield _rates(str(dataset), protocol, subset, variants, tally)


@final
@dataclass
class _Tally:
    """Wins of rows against columns: in each resample, on the images themselves, and of how many units."""

    drawn: Floats
    value: Floats
    units: NDArray[np.int64]


def _add(
    tallies: dict[str, _Tally], trials: pd.DataFrame, variants: Sequence[str], images: CategoryImages
) -> None:
    """The units of one category."""
    drawn, value = _areas(trials, images)
    n = len(variants)
    for at in _units(trials, variants):
        mine = np.array([number is not None for number in at])
        rows = [number or 0 for number in at]
        for subset in drawn:
            known = mine & np.isfinite(value[subset][rows])
            both = np.logical_and.outer(known, known)
            if subset not in tallies:
                tallies[subset] = _Tally(
                    np.zeros((n, n, RESAMPLES), np.float32), np.zeros((n, n)), np.zeros((n, n), np.int64)
                )
            tally = tallies[subset]
            tally.drawn += np.where(both[:, :, None], _beats(drawn[subset][rows]), np.float32(0))
            tally.value += np.where(both, _beats(value[subset][rows][:, None])[:, :, 0], 0)
            tally.units += both


def _beats(values: Floats) -> Floats:
    """1 where a row is above a column, one half where they are equal, (methods, methods, resamples)."""
    a, b = values[:, None, :], values[None, :, :]
    return ((a > b).astype(np.float32) + (a >= b)) / 2


def _areas(trials: pd.DataFrame, images: CategoryImages) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """By subset the AUROC of every trial, on each resample and on the images themselves; NaN where none."""
    resampled = DrawnAreas(images.table.labels, replace(images.bootstrap, resamples=RESAMPLES))
    drawn: dict[str, Floats] = {}
    value: dict[str, Floats] = {}
    for number, trial in enumerate(trials["trial_id"]):
        if trial in images.table.rows:
            for subset, (area, on_draws) in resampled.areas(images.table.of([trial])[0]).items():
                if subset not in drawn:
                    drawn[subset] = np.full((len(trials), RESAMPLES), np.nan, np.float32)
                    value[subset] = np.full(len(trials), np.nan)
                # rounded alike, so that equal rankings tie whatever order their sums were taken in
                drawn[subset][number] = np.round(on_draws, 6)
                value[subset][number] = round(area, 9)
    return drawn, value


def _units(trials: pd.DataFrame, variants: Sequence[str]) -> Iterator[list[int | None]]:
    """For every number of shots and seed, the place of each method's trial; None where it has none.

    A method that takes no shots, or no seed, is in the unit of every one.
    """
    known: dict[str, dict[tuple[int, str], int]] = {v: {} for v in variants}
    for number, (variant, shots, seed) in enumerate(
        zip(trials["variant"], trials["shots"], trials["seed"], strict=True)
    ):
        known[variant][int(shots), seed] = number
    every = list(dict.fromkeys(key for found in known.values() for key in found))
    for shots, seed in every:
        if not any(_within((shots, seed), other) for other in every):
            yield [_fitting(found, shots, seed) for found in known.values()]


def _within(key: tuple[int, str], other: tuple[int, str]) -> bool:
    """Whether another unit says more, so that whoever is in this one is in that one too."""
    shots, seed = key
    pairs = zip(seed.split("/"), other[1].split("/"), strict=True)
    return key != other and shots in (ZERO, other[0]) and all(a in ("-", b) for a, b in pairs)


def _fitting(found: Mapping[tuple[int, str], int], shots: int, seed: str) -> int | None:
    split, _, run = seed.partition("/")
    for k in (shots, ZERO):
        for s in (seed, f"{split}/-", f"-/{run}", "-/-"):
            if (k, s) in found:
                return found[k, s]
    return None


def _rates(dataset: str, protocol: str, subset: str, variants: Sequence[str], tally: _Tally) -> WinRates:
    with np.errstate(invalid="ignore"):
        rate = tally.value / tally.units
        shares = tally.drawn / tally.units[:, :, None]
    # Resampling adds its own noise to every duel and so pulls shares towards one half: what is taken from it
    # is how far they spread, around the share on the images themselves.
    low, middle, high = np.quantile(shares, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], axis=2)
    low, high = (np.clip(rate + end - middle, 0, 1) for end in (low, high))
    return WinRates(dataset, protocol, subset, tuple(variants), tally.units, rate, low, high)
