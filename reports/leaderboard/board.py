"""From a frame to its leaderboards."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.metrics.scale import PERCENT, Scale
from reports.frame.cells import DDOF, SUBSETS, cells
from reports.frame.load import AUROC, Frame
from reports.frame.naming import ZERO, metric_of
from reports.frame.once import once
from reports.leaderboard.entrants import Field, field_of
from reports.leaderboard.protocols import under_each
from reports.leaderboard.ranks import by_number, groups, improvability, places, unit_ranks
from reports.leaderboard.standing import Board, Standing
from reports.leaderboard.sure import Sure
from reports.leaderboard.units import Scope, scope
from reports.stats.evidence import Evidence, evidence

_FIRST = ("all", "mean", "logical", "structural")  # subsets, the one that is shown first before others
_KIND = ["dataset", "measure", "subset"]

SureOver = Callable[[Sequence[str], pd.DataFrame], Sure | None]  # units, trials


@once
def boards(frame: Frame) -> list[Board]:
    """Every leaderboard of a frame, the one that should be looked at first in front.

    That is the one of the main metric, over all anomalies, with the number of shots under which most methods
    are ranked, of several the largest.
    """
    # of each by itself: protocols share images, and call their data sets alike
    found = [board for name, some in under_each(frame) for board in _every(some, name, evidence(some))]
    main = [m for m in frame.metrics["measure"].unique() if metric_of(m) == frame.main]
    return sorted(found, key=lambda b: _importance(b, main))


@once
def order(frame: Frame) -> list[str]:
    """Methods, the best of the first board in front; then those of the others; then the rest, as planned."""
    ranked = [s.variant for board in boards(frame) for s in board.ranked]
    return list(dict.fromkeys([*ranked, *frame.trials["variant"]]))


def _importance(board: Board, main: Sequence[str]) -> tuple[Any, ...]:
    place = main.index(board.measure) if board.measure in main else len(main)
    return place, _FIRST.index(board.subset), -len(board.ranked), -board.shots


def _every(frame: Frame, protocol: str, known: Mapping[str, Evidence]) -> Iterator[Board]:
    measured = frame.metrics[frame.metrics["subset"].isin(list(SUBSETS))]
    values = dict(iter(measured.groupby(_KIND, sort=False)))
    field = cache(lambda dataset, shots: field_of(frame, dataset, shots))  # the same for all its metrics
    for kind, some in cells(frame).groupby(_KIND, sort=False):
        dataset, measure, subset = map(str, kind)
        for shots in sorted(set(some["shots"]) - {ZERO}) or [ZERO]:
            cells_of, values_of = (rows[rows["shots"].isin([shots, ZERO])] for rows in (some, values[kind]))
            sure = None
            if metric_of(measure) == AUROC:  # nothing else can be resampled from scores at this price
                sure = partial(Sure.over, known.get(dataset), subset)
            board = _board(frame, field(dataset, shots), cells_of, values_of, sure)
            yield replace(board, protocol=protocol, shots=int(shots))


def _board(
    frame: Frame, field: Field, cells: pd.DataFrame, metrics: pd.DataFrame, sure_over: SureOver | None
) -> Board:
    dataset, measure, subset = (str(cells[name].iloc[0]) for name in _KIND)
    every = frame.trials.loc[frame.trials["dataset"] == dataset, "category"].unique()
    found, scale = scope(cells, [str(c) for c in every]), frame.scale(measure)
    sure = sure_over(found.units, field.trials) if sure_over and found.units else None
    placed = _places(found, scale, sure)
    spread = _spread(metrics, found.units)
    seeds = cells.groupby("variant")["n"].max()
    standings = [
        _standing(v, field, found, placed.get(v), spread.get(v), int(seeds[v]))
        for v in (*placed, *(v for v in found.values if v not in placed))
    ]
    return Board(
        dataset, "", measure, frame.title(measure), subset, 0, found.units, found.left_out,
        sure is not None, scale.higher_is_better, tuple(standings),
    )  # fmt: skip


class _Place(NamedTuple):
    """What a method has that is ranked; as in `Standing`."""

    rank: int
    mean_rank: float | None
    improvability: float | None
    value: float
    ends: tuple[float | None, float | None]


_UNRANKED = None, None, None, None, (None, None)


def _standing(
    variant: str, field: Field, found: Scope, place: _Place | None, std: float | None, seeds: int
) -> Standing:
    rank, mean_rank, gain, value, (low, high) = place or _UNRANKED
    one = field.entrants[variant]
    why = "" if place else found.why.get(variant, "nobody knows whether higher is better")
    return Standing(
        variant, one.method, rank, mean_rank, gain, value, std if place else None, low, high,
        one.seconds_per_image, one.gpu_hours, one.cpu_hours, one.ok, one.planned, seeds, one.marks,
        one.badges, why, dict(found.values[variant]),
    )  # fmt: skip


def _places(found: Scope, scale: Scale, sure: Sure | None) -> dict[str, _Place]:
    """Of the methods that are ranked, best first."""
    names = [v for v in found.values if found.units and v not in found.why]
    if not names or scale.higher_is_better is None:
        return {}
    sign = 1 if scale.higher_is_better else -1
    names.sort(key=lambda v: -sign * float(np.mean([found.values[v][u] for u in found.units])))
    table = np.array([[found.values[v][u] for v in names] for u in found.units])
    mean = dict(zip(names, table.mean(axis=0).tolist(), strict=True))
    rank = places(groups(names, sure.p) if sure else by_number({v: scale.text(mean[v]) for v in names}))
    over = unit_ranks(sign * table).mean(axis=0).tolist() if len(names) > 1 else [None]
    gain = _improvability(table, scale)
    ends = {v: (sure and sure.interval(v)) or (None, None) for v in names}
    made = {v: _Place(rank[v], over[i], gain[i], mean[v], ends[v]) for i, v in enumerate(names)}
    # Who is like the best may have a smaller number than one who is not: its images vary more.
    return dict(sorted(made.items(), key=lambda item: item[1].rank))


def _improvability(table: NDArray[np.float64], scale: Scale) -> list[float | None]:
    """Of each method; None of one alone, and where nobody knows what a perfect one would have."""
    if table.shape[1] == 1:
        return [None]
    if scale.unit == PERCENT and scale.higher_is_better:
        return improvability(1 - table).tolist()
    if scale.higher_is_better is False and (table >= 0).all():
        return improvability(table).tolist()
    return [None] * table.shape[1]


def _spread(metrics: pd.DataFrame, units: Sequence[str]) -> dict[str, float]:
    """Standard deviation over seeds of the mean over units, by method; none where units have other seeds."""
    mine = metrics[metrics["category"].isin(units)]
    per_seed = mine.groupby(["variant", "seed"], sort=False)["value"].agg(["mean", "count"])
    whole = per_seed["count"].eq(len(units)).groupby(level="variant", sort=False).all()
    spread = per_seed["mean"].groupby(level="variant", sort=False).std(ddof=DDOF)
    found = spread[whole].dropna()
    return {str(name): float(value) for name, value in found.items()}
