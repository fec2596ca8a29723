"""Comparisons over categories, and families of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import DataError

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Wilcoxon:
    """Two methods compared over categories.

    Attributes:
        p: exact, two-sided; None where all differences are 0.
        smallest_p: the smallest p that this number of differences can reach, 2 / 2**n.
        n: differences that are not 0.
        mean_difference: over all categories, the effect that should stand beside p.
        wins, ties, losses: of the first method.
        warning: said where `smallest_p` is above 5 %.
    """

    p: float | None
    smallest_p: float
    n: int
    mean_difference: float
    wins: int
    ties: int
    losses: int
    warning: str | None


def wilcoxon(differences: ArrayLike) -> Wilcoxon:
    """Wilcoxon's signed-rank test, exact also with ties, zeros dropped.

    Wilcoxon, Biometrics Bulletin 1 (1945); as the test between two methods over data sets: Demsar, JMLR 7
    (2006). With five categories no p below 0.0625 is possible.

    Args:
        differences: first - second, one per category; they count as equal up to 1e-12.

    Raises:
        DataError: no differences, or one that is not finite.
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise DataError(f"wilcoxon needs finite differences, got {differences}")
    rounded = np.round(values, 12)
    used = rounded[rounded != 0]
    n, smallest = used.size, min(1.0, 2.0 ** (1 - used.size))
    warning = None
    if smallest > 0.05:
        warning = f"{n} differences: no p below {smallest:.4g} is possible, so none below 0.05"
    wins, losses = int(np.sum(used > 0)), int(np.sum(used < 0))
    return Wilcoxon(
        _signed_rank_p(used) if n else None, smallest, n, float(values.mean()),
        wins, values.size - n, losses, warning,
    )  # fmt: skip


def _signed_rank_p(differences: Floats) -> float:
    """Share of all 2**n sign patterns whose rank sum is at least as far from the middle."""
    size = np.sort(np.abs(differences))
    # Twice the midranks are integers: left + right + 1.
    ranks = [
        int(size.searchsorted(abs(d), "left") + size.searchsorted(abs(d), "right") + 1) for d in differences
    ]
    patterns = [1] + [0] * sum(ranks)
    for rank in ranks:
        patterns = [
            count + (patterns[total - rank] if total >= rank else 0) for total, count in enumerate(patterns)
        ]
    positive = sum(rank for rank, d in zip(ranks, differences, strict=True) if d > 0)
    tail = min(positive, sum(ranks) - positive)
    return min(1.0, 2 * sum(patterns[: tail + 1]) / 2 ** len(ranks))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values of a family of tests, in the given order; None stays None and does not count.

    Holm, Scandinavian Journal of Statistics 6 (1979).

    Raises:
        DataError: a p-value outside [0, 1].
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    if any(not 0 <= p <= 1 for p, _ in known):
        raise DataError(f"p-values must be in [0, 1], got {list(p_values)}")
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for place, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - place) * p))
        adjusted[i] = highest
    return adjusted
