"""Which trials and which test images the pictures of a report show."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.data import Sample, Split
from harness.data.samples import GOOD, UNLABELLED
from harness.errors import DataError
from harness.metrics.image import auroc
from harness.results.maps import KeptMaps, maps_path, read_maps
from harness.results.reader import read_scores
from harness.source import recorded_split
from reports.frame.load import Frame, LoadedRun

# Kinds of images, in order of importance.
ROWS = ("highest anomalous", "lowest anomalous", "highest good", "highest anomalous", "lowest anomalous")
DISAGREE = 0.2  # of the good images: ranks that differ by less are no disagreement
ORDER = ("highest anomalous", "lowest anomalous", "highest good")
UNKNOWN = (f"highest {UNLABELLED}", f"lowest {UNLABELLED}")  # of test sets without labels there are no others


@final
@dataclass(frozen=True, eq=False)
class Shown:
    """A trial whose maps are shown.

    Attributes:
        run: folder of its run.
        row: its row of the frame.
        scores: `label` and `score` of its test images, by image.
        auroc: of its category; None where it is undefined.
    """

    run: Path
    row: pd.Series
    scores: pd.DataFrame
    auroc: float | None


def trials_with_maps(frame: Frame) -> pd.DataFrame:
    """Of each method and category the ok trial of most shots, then lowest seed, whose maps were kept."""
    ok = frame.trials[frame.trials["status"] == "ok"]
    paths = zip(ok["run"], ok["trial_id"], strict=True)
    kept = [maps_path(frame.sources[run].path, trial).exists() for run, trial in paths]
    return most_shots(ok[np.array(kept, bool)])


def most_shots(trials: pd.DataFrame) -> pd.DataFrame:
    """Of each method and category the trial of most shots, then lowest seed."""
    keys, ascending = ["shots", "split_seed", "run_seed"], [False, True, True]
    order = trials.sort_values(keys, ascending=ascending, na_position="first", kind="stable")
    return order.drop_duplicates(["dataset", "category", "variant"]).sort_index()


def shown_trial(frame: Frame, row: pd.Series) -> Shown:
    """A trial with its scores."""
    run = frame.sources[row["run"]].path
    scores = read_scores(run, row["trial_id"]).dropna(subset="score").set_index("image")
    values, anomalous = scores["score"].to_numpy(np.float64), (scores["label"] != GOOD).to_numpy(bool)
    return Shown(run, row, scores, auroc(values, anomalous))


def choose(scores: pd.DataFrame, kinds: Sequence[str] = ROWS) -> list[tuple[str, str]]:
    """Which images to show, as (kind, image): those found first, then those missed, then false alarms.

    Args:
        scores: `label` and `score` of each test image, by image.
        kinds: how many of which, beside those without labels; no image is shown twice.
    """
    names = scores.sort_index().sort_values("score", kind="stable").index
    pools: dict[str, list[str]] = {"anomalous": [], GOOD: [], UNLABELLED: []}
    for name in names:
        label = str(scores.at[name, "label"])
        pools[label if label in pools else "anomalous"].append(name)
    chosen: list[tuple[str, str]] = []
    for kind in (*kinds, *UNKNOWN):
        end, _, of = kind.partition(" ")
        if pool := pools[of]:
            chosen.append((kind, pool.pop(0 if end == "lowest" else -1)))
    return sorted(chosen, key=lambda c: (*ORDER, *UNKNOWN).index(c[0]))


def above(scores: NDArray[np.float64], good: NDArray[np.bool_]) -> list[float | None]:
    """The share of good images with a lower score, itself left out; None without another good image.

    Args:
        scores: float (n,), NaN where an image has none.
        good: bool (n,).
    """
    known = np.sort(scores[good & np.isfinite(scores)])
    others = known.size - (good & np.isfinite(scores))
    below = np.searchsorted(known, scores, "left")
    return [
        float(b / n) if n > 0 and np.isfinite(s) else None
        for b, n, s in zip(below, others, scores, strict=True)
    ]


def disagreements(first: Shown, second: Shown | None = None) -> list[tuple[str, str]]:
    """The anomalous images about which two methods differ most, as (kind, image): one for either method."""
    if second is None:
        return []
    names = [n for n in first.scores.index if n in second.scores.index]
    tables = [shown.scores.loc[names] for shown in (first, second)]
    good = (tables[0]["label"] == GOOD).to_numpy(bool)
    ranks = [np.array(above(t["score"].to_numpy(np.float64), good), np.float64) for t in tables]
    gain = np.nan_to_num(np.where(good, 0.0, ranks[0] - ranks[1]))
    found = []
    for sign, finds, misses in ((1, first, second), (-1, second, first)):
        if gain.size and np.max(sign * gain) >= DISAGREE:
            kind = f"found by {finds.row['variant']}, missed by {misses.row['variant']}"
            found.append((kind, names[int(np.argmax(sign * gain))]))
    return found


def read_split(source: LoadedRun, category: str, fingerprint: str) -> Split:
    """The category that a run has seen.

    Raises:
        DataError: the data set is not where the run found it, or its images are others.
    """
    return recorded_split(source.config, category, fingerprint)


def maps_of(trial: Shown, samples: Sequence[Sample]) -> NDArray[np.float32]:
    """The kept maps (n, h, w) of some images.

    Raises:
        DataError: the file is damaged, or has no map of one of them.
    """
    identity = trial.row["trial_id"]
    kept = read_maps(trial.run, identity) or KeptMaps((), np.zeros((0, 1, 1), np.float32))
    position = {name: k for k, name in enumerate(kept.ids)}
    missing = [s.id for s in samples if s.id not in position]
    if missing:
        raise DataError(f"{maps_path(trial.run, identity)}: no map of {missing[0]}")
    return kept.maps[[position[s.id] for s in samples]]
