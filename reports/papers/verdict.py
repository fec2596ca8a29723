"""What a number of ours says about a published one."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, final

from reports.papers.ledger import Published
from reports.papers.ours import DEMO, Ours
from reports.papers.series import Series
from reports.papers.spec import Contestant

DATASET = "mvtec_loco"  # of all three papers


class Word(StrEnum):
    """A verdict."""

    WITHIN = "within"  # the larger standard deviation of both, or equal as printed
    OFF = "off"
    NOT_COMPARABLE = "n.c."


@final
@dataclass(frozen=True)
class Verdict:
    """A difference and what it is worth.

    Attributes:
        difference: ours minus published, in points.
        word: the verdict.
        reasons: why they cannot be compared; empty unless the verdict is that.
    """

    difference: float
    word: Word
    reasons: tuple[str, ...] = ()


def verdict(published: Published, ours: Ours, series: Series) -> Verdict | None:
    """Compare two numbers; None where either is missing."""
    if published.value is None or ours.mean is None:
        return None
    difference = 100 * ours.mean - published.value
    reasons = tuple(_reasons(ours, series))
    if reasons:
        return Verdict(difference, Word.NOT_COMPARABLE, reasons)
    return Verdict(difference, Word.WITHIN if _within(difference, published, ours) else Word.OFF)


def _within(difference: float, published: Published, ours: Ours) -> bool:
    spread = max(published.std or 0.0, 100 * (ours.std or 0.0))
    decimals = len(published.text.partition(".")[2])
    return abs(difference) <= max(spread, 0.5 * 10**-decimals + 1e-9)


def _reasons(ours: Ours, series: Series) -> Iterable[str]:
    """Why a number of ours is of something else than the published one."""
    yield from ours.marks
    dataset = series.protocol.dataset.partition(" ")[0]
    if dataset != DATASET and DEMO not in ours.marks:
        yield f"data set {dataset}"
    yield from _strays(series.contestant, series.rest)
    if ours.scope:
        yield ours.scope
    if ours.n < ours.planned:
        yield "seeds are missing"


def _strays(contestant: Contestant, rest: Any) -> Iterable[str]:
    """Parameters that are not as the paper states them."""
    for name, value in contestant.paper.items():
        if name in rest and rest[name] != value and not _is_tagged(rest[name], value):
            yield f"{name} {rest[name]}, in the paper {value}"


def _is_tagged(ours: Any, architecture: Any) -> bool:
    """Weights of an architecture that a paper names without saying which: `wide_resnet50_2.tv_in1k`."""
    return isinstance(ours, str) and ours.partition(".")[0] == architecture
