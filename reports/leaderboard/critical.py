"""Whether mean ranks over units can separate methods at all, and if so by which difference.

Demsar, JMLR 7 (2006): Friedman's test in the form of Iman and Davenport; if it is significant, two methods
differ where their mean ranks are further apart than Nemenyi's critical difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from reports.leaderboard.ranks import unit_ranks
from reports.leaderboard.standing import Board

LEVEL = 0.05
LEAST = 10  # units; with fewer the difference that is needed is nearly all there can be


@final
@dataclass(frozen=True)
class Critical:
    """What mean ranks over some units say.

    Attributes:
        units, methods: how many of each.
        p: of "all methods are alike" (Iman-Davenport); None where it cannot be computed.
        difference: of mean ranks that is needed; None where no figure is drawn.
        ranks: method -> mean rank, best first.
        why: one sentence: why there is no figure, or what it shows.
    """

    units: int
    methods: int
    p: float | None
    difference: float | None
    ranks: dict[str, float]
    why: str


def critical(board: Board, others: Sequence[Board]) -> Critical:
    """Of the units of a board, and of the boards of other data sets that ask the same.

    Args:
        board: one.
        others: all boards of the frame.
    """
    alike = [
        b for b in others if (b.measure, b.subset, b.shots) == (board.measure, board.subset, board.shots)
    ]
    first = {b.dataset: b for b in reversed(alike) if b.higher_is_better is not None}
    joined = list(first.values())
    names = [s.variant for s in board.ranked if all(_ranked(b, s.variant) for b in joined)]
    if len(joined) < 2 or len(names) < 3:
        joined, names = [board], [s.variant for s in board.ranked]
    sign = -1 if board.higher_is_better is False else 1
    rows = [[sign * _units(b, v)[u] for v in names] for b in joined for u in b.units]
    return of_ranks(names, unit_ranks(np.array(rows)) if rows and names else np.zeros((0, 0)))


def _ranked(board: Board, variant: str) -> bool:
    return any(s.variant == variant for s in board.ranked)


def _units(board: Board, variant: str) -> dict[str, float]:
    return next(s.units for s in board.standings if s.variant == variant)


def of_ranks(names: Sequence[str], ranks: NDArray[np.float64]) -> Critical:
    """What ranks within units, (units, methods), say."""
    n, k = len(ranks), len(names)
    if k < 3 or n < 2:
        few = "fewer than three ranked methods" if k < 3 else "fewer than two units"
        return Critical(n, k, None, None, {}, f"No critical-difference figure: {few}.")
    means = dict(sorted(zip(names, ranks.mean(axis=0).tolist(), strict=True), key=lambda item: item[1]))
    p, needed = iman_davenport(ranks), nemenyi(k, n)
    said = f"{n} categories and {k} methods, Iman–Davenport p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}"
    apart = max(means.values()) - min(means.values())
    if n < LEAST:
        why = f"only {n} categories: mean ranks would have to differ by {needed:.1f} of at most {k - 1}"
    elif p >= LEVEL:
        why = "the test over all methods finds no difference"
    elif apart <= needed:
        why = f"no two mean ranks differ by the {needed:.1f} that is needed"
    else:
        found = f"Methods on one bar are not apart: mean ranks differ by less than {needed:.2f} (Nemenyi)."
        return Critical(n, k, p, needed, means, f"{said}. {found}")
    return Critical(n, k, p, None, means, f"No critical-difference figure: {why} ({said}).")


def iman_davenport(ranks: NDArray[np.float64]) -> float:
    """The p of "all methods are alike" from ranks within units, (units, methods), ties corrected for."""
    from scipy.special import fdtrc

    n, k = ranks.shape
    middle = (k + 1) / 2
    spread = float(((ranks - middle) ** 2).sum())
    if spread == 0:
        return 1.0
    chi2 = (k - 1) * n**2 * float(((ranks.mean(axis=0) - middle) ** 2).sum()) / spread
    left = n * (k - 1) - chi2
    return float(fdtrc(k - 1, (k - 1) * (n - 1), (n - 1) * chi2 / left)) if left > 1e-9 else 0.0


def nemenyi(methods: int, units: int) -> float:
    """The difference of mean ranks that is needed at 5 %."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - LEVEL, methods, 1e6)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * units))
