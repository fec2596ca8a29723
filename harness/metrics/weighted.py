"""Image metrics of many resamples at once: `harness.metrics.image` with a weight on every image.

An image drawn three times is three images of the same score, that is a tie, so counting it three times
gives what the metric itself gives on the repeated images.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
Counts = tuple[Floats, Floats]

# The image metrics that can be computed so; each takes the counts of `_counts`.
WEIGHTED: dict[str, Callable[[Floats, Floats], Floats]] = {}


def weighted(metric: str, scores: Floats, anomalous: Labels) -> Callable[[Floats], Floats]:
    """A metric as a function of how often each image counts.

    Args:
        metric: a key of `WEIGHTED`.
        scores: finite, (n,).
        anomalous: bool (n,).

    Returns:
        Function of weights (b, n) -> values (b,); NaN for rows without a normal or an anomalous image.
    """

    def function(weights: Floats) -> Floats:
        found, flagged = _counts(scores, anomalous, weights)
        undefined = (found[:, -1] == 0) | (found[:, -1] == flagged[:, -1])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(undefined, np.nan, WEIGHTED[metric](found, flagged))

    return function


def _counts(scores: Floats, anomalous: Labels, weights: Floats) -> Counts:
    """Anomalous images, and all, with a score of at least t, for every distinct t from high to low."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    sorted_weights = weights[:, order]
    found = np.cumsum(sorted_weights * anomalous[order], axis=1)[:, last_of_tie]
    return found, np.cumsum(sorted_weights, axis=1)[:, last_of_tie]


def _auroc(found: Floats, flagged: Floats) -> Floats:
    false = flagged - found
    steps = np.diff(found, prepend=0, axis=1)
    ties = np.diff(false, prepend=0, axis=1)
    twice_u = np.sum(steps * (2 * (false[:, -1:] - false) + ties), axis=1)
    return twice_u / (2 * found[:, -1] * false[:, -1])


def _ap(found: Floats, flagged: Floats) -> Floats:
    steps = np.diff(found, prepend=0, axis=1)
    # Thresholds above every image drawn flag none of them; no step happens there.
    return np.sum(steps * (found / np.maximum(flagged, 1)), axis=1) / found[:, -1]


def _f1max(found: Floats, flagged: Floats) -> Floats:
    return np.max(2 * found / (flagged + found[:, -1:]), axis=1)


WEIGHTED |= {"auroc": _auroc, "ap": _ap, "f1max": _f1max}
