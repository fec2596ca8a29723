"""AUROCs of single trials on resampled images: what `ResampledImages` gives, ten times as fast and less.

There are neither influences nor placements, and no averaging over seeds: enough to count who is above whom.
A resample weighs images; with cumulated weights of the sorted normal ones, an anomalous image is above so
many of them in all resamples at once.
"""

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from harness.metrics.bootstrap import GOOD, LOGICAL, STRUCTURAL, Bootstrap, strata

Floats = NDArray[np.float64]


@final
class DrawnAreas:
    """The images of one category, drawn once for all trials.

    Args:
        labels: per image "good", "logical", "structural" or anything else that is anomalous.
        bootstrap: how to resample; strata are those of `ResampledImages`, and so are the draws.
    """

    def __init__(self, labels: Sequence[str], bootstrap: Bootstrap):
        found = np.array(strata(labels), object)
        self._members = {s: np.flatnonzero(found == s) for s in dict.fromkeys(found)}
        # whole numbers: float32 is exact as long as no product of two numbers of images reaches 2^24
        small = 2 * found.size**2 < 1 << 24
        weights = bootstrap.weights(list(found)).T.astype(np.float32 if small else np.float64)
        self._weights = {s: np.ascontiguousarray(weights[at]) for s, at in self._members.items()}

    def areas(self, scores: Floats) -> Mapping[str, tuple[float, Floats]]:
        """By subset the AUROC on the images themselves and on each resample, (resamples,).

        Args:
            scores: finite, (n,).
        """
        kinds = [s for s in self._members if s != GOOD]
        if GOOD not in self._members or not kinds:
            return {}
        normal = scores[self._members[GOOD]]
        order = np.argsort(normal)
        below = np.zeros((normal.size + 1, self._weights[GOOD].shape[1]), self._weights[GOOD].dtype)
        np.cumsum(self._weights[GOOD][order], axis=0, out=below[1:])
        parts = {s: self._part(scores[self._members[s]], normal[order], below, s) for s in kinds}
        sizes = {s: self._members[s].size for s in kinds}
        found = {s: parts[s] for s in (LOGICAL, STRUCTURAL) if s in parts}
        if len(found) == 2:
            found["mean"] = _mixed(found, dict.fromkeys(found, 1))
        return {**found, "all": _mixed(parts, sizes)}

    def _part(self, anomalous: Floats, normal: Floats, below: NDArray, stratum: str) -> tuple[float, Floats]:
        """Of one stratum of anomalous images; ties are halves."""
        left, right = (normal.searchsorted(anomalous, side) for side in ("left", "right"))
        pairs = 2.0 * anomalous.size * normal.size
        twice = np.einsum("ab,ab->b", self._weights[stratum], below[left] + below[right])
        return float((left + right).sum() / pairs), twice.astype(np.float64) / pairs


def _mixed(parts: Mapping[str, tuple[float, Floats]], shares: Mapping[str, int]) -> tuple[float, Floats]:
    """The mean of strata, in these shares."""
    total = sum(shares.values())
    value = sum(parts[s][0] * shares[s] / total for s in shares)
    return value, np.sum([parts[s][1] * (shares[s] / total) for s in shares], axis=0)
