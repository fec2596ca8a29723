"""A leaderboard as it is printed: numbers as words, and what it says in four sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from harness.metrics.scale import Scale
from reports.frame.naming import shots_title, words
from reports.leaderboard.standing import Board, Standing
from reports.tables.table import significant

NAMED = 3  # methods in a sentence
UNKNOWN = "Not known yet."
SUBSET = {
    "all": "pooled",
    "mean": "mean of logical and structural",
    "logical": "logical",
    "structural": "structural",
}


@final
@dataclass(frozen=True)
class Line:
    """One method; numbers as printed, "" where there is none.

    Attributes:
        share: left end and width of the interval in percent of the widest range of the board; None without.
        why: what keeps it from being ranked.
        short: fewer trials are ok than are planned.
    """

    variant: str
    method: str
    rank: str
    value: str
    std: str
    low: str
    high: str
    mean_rank: str
    improvability: str
    seconds: str
    hours: str
    trials: str
    short: bool
    marks: tuple[str, ...]
    badges: tuple[str, ...]
    why: str
    share: tuple[float, float] | None


@final
@dataclass(frozen=True)
class Printed:
    """One board.

    Attributes:
        name: what it is of.
        told: heading -> sentence: who wins, how sure, at what cost, what is missing.
        unit: of the hours, "GPU-hours" or "CPU-hours".
        lines: in order.
        notes: what has to be said of it.
    """

    name: str
    told: Mapping[str, str]
    unit: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def printed(board: Board, scale: Scale) -> Printed:
    """A board in words.

    Args:
        board: any.
        scale: of its metric.
    """
    unit = "GPU-hours" if any(s.gpu_hours is not None for s in board.standings) else "CPU-hours"
    ends = [e for s in board.ranked for e in (s.low, s.high) if e is not None]
    reach = (min(ends), max(ends)) if ends and max(ends) > min(ends) else None
    told = {
        "Who wins": _wins(board, scale),
        "How sure": _sure(board, scale),
        "At what cost": _cost(board, unit),
        "What is missing": _missing(board),
    }
    lines = tuple(_line(s, scale, reach) for s in board.standings)
    return Printed(_name(board), told, unit, lines, tuple(_notes(board)))


def _name(board: Board) -> str:
    return f"{board.title}, {SUBSET[board.subset]}, {shots_title(board.shots)} · {board.dataset}"


def _wins(board: Board, scale: Scale) -> str:
    if not board.ranked:
        return "Nobody yet." if board.higher_is_better is not None else "Not known: is higher better?"
    best, *alike = board.leaders
    number = f"{scale.text(best.value or 0.0)}{scale.unit and f' {scale.unit}'}"
    if len(board.ranked) == 1:
        return f"{best.variant}, {number}, has nobody beside it."
    if not alike:
        return f"{best.variant}, {number}."
    same = "has the same number" if len(alike) == 1 else "have the same number"
    how = "cannot be told from it" if board.tested else same
    return f"Nobody alone: {best.variant}, {number}, is in front; {_few([s.variant for s in alike])} {how}."


def _sure(board: Board, scale: Scale) -> str:
    if not board.ranked:
        return UNKNOWN
    best = board.leaders[0]
    told = []
    if best.low is not None and best.high is not None:
        told.append(f"95 % interval of the best {scale.text(best.low)} – {scale.text(best.high)}")
    if len(board.ranked) == 1:
        told.append("nobody to compare with")
    elif board.tested and len(board.leaders) == 1:
        others = len(board.ranked) - 1
        shared = f"none of the {others} others shares" if others > 1 else "the other one does not share"
        told.append(f"{shared} its rank")
    elif board.tested:
        told.append(f"{len(board.leaders)} of {len(board.ranked)} ranked methods share the first rank")
    else:
        told.append("differences in this metric are not tested: ranks are those of the printed numbers")
    told.append(f"{_count(len(board.units), 'categor', 'y', 'ies')}, {_count(best.seeds, 'seed', '', 's')}")
    return _sentence("; ".join(told))


def _cost(board: Board, unit: str) -> str:
    timed = [s for s in board.leaders if s.seconds_per_image is not None]
    if not timed:
        return "Not measured." if board.ranked else UNKNOWN
    best, cheapest = board.leaders[0], min(timed, key=lambda s: s.seconds_per_image or 0.0)
    told = f"{best.variant}: {_seconds(best)} s per image, {_hours(best)} {unit}"
    if cheapest.variant == best.variant or cheapest.seconds_per_image == best.seconds_per_image:
        return told + "."
    return f"{told}. Quickest of the first rank: {cheapest.variant}, {_seconds(cheapest)} s."


def _missing(board: Board) -> str:
    ok, planned = (sum(getattr(s, name) for s in board.standings) for name in ("ok", "planned"))
    told = [f"{ok} of {planned} trials ok"]
    if out := [f"{s.variant} ({s.why})" for s in board.standings if s.rank is None]:
        told.append(f"not ranked: {_few(out)}")
    for reason, places in _by_reason(board.left_out).items():
        told.append(f"{reason} in {_few(list(map(words, places)))}")
    return _sentence("; ".join(told))


def _by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for unit, reason in left_out.items():
        found.setdefault(reason, []).append(unit)
    return found


def _notes(board: Board) -> list[str]:
    found = []
    if marks := sorted({m for s in board.standings for m in s.marks}):
        found.append(f"Numbers here carry marks: {', '.join(marks)}. They rank with all others.")
    if board.left_out and board.ranked:
        found.append(f"Ranked over {_few(list(map(words, board.units)))} alone.")
    return found


def _line(one: Standing, scale: Scale, reach: tuple[float, float] | None) -> Line:
    low, high = (None if e is None else scale.text(e) for e in (one.low, one.high))
    return Line(
        one.variant, one.method,
        "" if one.rank is None else str(one.rank),
        "" if one.value is None else scale.text(one.value),
        "" if one.std is None else scale.text(one.std),
        low or "", high or "",
        "" if one.mean_rank is None else f"{one.mean_rank:.1f}",
        "" if one.improvability is None else f"{100 * one.improvability:.0f}",
        _seconds(one), _hours(one), f"{one.ok}/{one.planned}", one.ok < one.planned,
        one.marks, one.badges, one.why, _share(one, reach),
    )  # fmt: skip


def _share(one: Standing, reach: tuple[float, float] | None) -> tuple[float, float] | None:
    if reach is None or one.low is None or one.high is None:
        return None
    width = reach[1] - reach[0]
    return round(100 * (one.low - reach[0]) / width, 1), round(100 * (one.high - one.low) / width, 1)


def _seconds(one: Standing) -> str:
    return "" if one.seconds_per_image is None else significant(one.seconds_per_image, 2)


def _hours(one: Standing) -> str:
    return "" if one.hours is None else significant(one.hours, 2)


def _few(names: Sequence[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _count(n: int, stem: str, one: str, several: str) -> str:
    return f"{n} {stem}{one if n == 1 else several}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
