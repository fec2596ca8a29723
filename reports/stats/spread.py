"""Mean and standard deviation over runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np


@final
@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over runs.

    Attributes:
        mean: None without values.
        std: with the stated `ddof`; None where not defined (a deterministic method has one run).
        n: number of values.
        ddof: the divisor of the variance is n - ddof.
    """

    mean: float | None
    std: float | None
    n: int
    ddof: int


def spread(values: Sequence[float | None], ddof: int = 1) -> Spread:
    """Mean and standard deviation over seeds; one undefined value makes both undefined."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return Spread(None, None, len(known), ddof)
    std = float(np.std(known, ddof=ddof)) if len(known) > ddof else None
    return Spread(math.fsum(known) / len(known), std, len(known), ddof)


def t_interval(values: Sequence[float | None], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval for the mean over seeds; None with fewer than three."""
    from scipy.special import stdtrit

    found = spread(values)
    if found.n < 3 or found.mean is None or found.std is None:
        return None
    half = float(stdtrit(found.n - 1, (1 + level) / 2)) * found.std / math.sqrt(found.n)
    return found.mean - half, found.mean + half
