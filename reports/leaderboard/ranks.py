"""Ranks: groups of methods that cannot be told apart, mean ranks over units, and what is left to gain."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reports.stats import holm

Floats = NDArray[np.float64]
LEVEL = 0.05


def groups(
    names: Sequence[str], p_value: Callable[[str, str], float | None], level: float = LEVEL
) -> list[list[str]]:
    """Methods in groups, best first: the best of those left, and all that are not shown to be worse than it.

    "Cannot be told apart" is not transitive: A may be like B and B like C while A is better than C. So a
    group is told by its best method alone, and two others of a group, or neighbours in two groups, may well
    differ or not. p-values of a group are adjusted by Holm over the methods that its best is compared with.

    Args:
        names: best first.
        p_value: of the difference of two; None where it has no variance, which tells nobody apart.
        level: of the tests.
    """
    left, found = list(names), []
    while left:
        best, *others = left
        adjusted = holm([p_value(best, other) for other in others])
        alike = [o for o, p in zip(others, adjusted, strict=True) if p is None or p >= level]
        found.append([best, *alike])
        left = [o for o in others if o not in alike]
    return found


def places(found: Sequence[Sequence[str]]) -> dict[str, int]:
    """Rank of each method of some groups: 1 + the number of methods in better ones."""
    ranks, before = {}, 0
    for group in found:
        ranks |= dict.fromkeys(group, before + 1)
        before += len(group)
    return ranks


def by_number(printed: Mapping[str, str]) -> list[list[str]]:
    """Groups where nothing is tested: equal printed numbers share a rank.

    Args:
        printed: name -> number as printed, best first.
    """
    found: list[list[str]] = []
    for name, text in printed.items():
        if found and printed[found[-1][0]] == text:
            found[-1].append(name)
        else:
            found.append([name])
    return found


def unit_ranks(values: Floats) -> Floats:
    """Ranks within each unit, 1 for the best, ties sharing the mean of their places.

    Args:
        values: (units, methods), higher is better.
    """
    above = (values[:, None, :] > values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    return above + (equal + 1) / 2


def improvability(errors: Floats) -> Floats:
    """Share of a method's error that the best method of each unit does not make, averaged over units.

    (e - e_best) / e per unit, 0 where e is 0: between 0 (the best everywhere) and 1. The definition is that
    of TabArena (Erickson et al., arXiv:2506.16791).

    Args:
        errors: (units, methods), 0 is perfect.
    """
    best = errors.min(axis=1, keepdims=True)
    gains = np.divide(errors - best, errors, out=np.zeros_like(errors), where=errors > 0)
    return gains.mean(axis=0)
