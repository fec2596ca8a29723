"""Leaderboards as compact JSON: what the page switches to is printed here, as is what it begins with."""

from collections.abc import Mapping
from typing import Any

from reports.frame.load import Frame
from reports.frame.naming import shots_title
from reports.leaderboard import Board, boards
from reports.leaderboard.critical import Critical, critical
from reports.leaderboard.printed import SUBSET, Line, Printed, printed
from reports.leaderboard.wins import WinRates, win_rates

AXES = ("dataset", "protocol", "measure", "subset", "shots")  # what can be switched


def first_board(frame: Frame) -> Printed | None:
    """What stands at the top of a page; None where nothing has been measured."""
    found = boards(frame)
    return printed(found[0], frame.scale(found[0].measure)) if found else None


def choices(frame: Frame) -> dict[str, dict[str, str]]:
    """Axis -> value -> as printed, in the order of the boards."""
    found = boards(frame)
    said: dict[str, dict[str, str]] = {axis: {} for axis in AXES}
    for board in found:
        named = (
            board.dataset,
            board.protocol or "–",
            board.title,
            SUBSET[board.subset],
            shots_title(board.shots),
        )
        for axis, name in zip(AXES, named, strict=True):
            said[axis].setdefault(str(getattr(board, axis)), name)
    return said | {"shots": dict(sorted(said["shots"].items(), key=lambda item: int(item[0])))}


def board_data(frame: Frame) -> dict[str, Any]:
    """Every board: its place on the axes, its sentences, and its lines by column."""
    found = boards(frame)
    variants = list(dict.fromkeys(s.variant for b in found for s in b.standings))
    by_variant = {s.variant: s for b in found for s in b.standings}
    marks = sorted({m for s in by_variant.values() for m in s.marks})
    number = {v: i for i, v in enumerate(variants)}
    return {
        "variants": variants,
        "badges": [list(by_variant[v].badges) for v in variants],
        "methods": [by_variant[v].method for v in variants],
        "marks": marks,
        "boards": [
            _board(frame, b, number, marks) | {"critical": _critical(critical(b, found), number)}
            for b in found
        ],
        "wins": [_wins(rates, number) for rates in win_rates(frame)],
    }


def _critical(found: Critical, number: Mapping[str, int]) -> dict[str, Any]:
    ranks = [[number[v], round(r, 2)] for v, r in found.ranks.items()] if found.difference else []
    needed = found.difference and round(found.difference, 3)
    return {"why": found.why, "needed": needed, "ranks": ranks}


def _wins(rates: WinRates, number: Mapping[str, int]) -> dict[str, Any]:
    """Percent won, ends of the interval and number of units of every pair; null where none is common."""
    n = len(rates.variants)
    cells = [
        [
            [
                *(round(100 * float(t[i, j])) for t in (rates.rate, rates.low, rates.high)),
                int(rates.units[i, j]),
            ]
            if rates.units[i, j]
            else None
            for j in range(n)
        ]
        for i in range(n)
    ]
    place = {"dataset": rates.dataset, "protocol": rates.protocol, "subset": rates.subset}
    return place | {"variants": [number[v] for v in rates.variants], "cells": cells}


def _board(frame: Frame, board: Board, number: Mapping[str, int], marks: list[str]) -> dict[str, Any]:
    told = printed(board, frame.scale(board.measure))
    return {
        "at": [str(getattr(board, axis)) for axis in AXES],
        "name": told.name,
        "told": list(told.told.values()),
        "unit": told.unit,
        "notes": list(told.notes),
        "lower": board.higher_is_better is False,
        "lines": [_line(line, number, marks) for line in told.lines],
    }


def _line(line: Line, number: Mapping[str, int], marks: list[str]) -> list[Any]:
    shown = (line.rank, line.value, line.std, line.low, line.high, line.mean_rank, line.improvability)
    cost = (line.seconds, line.hours, line.trials, int(line.short))
    return [
        number[line.variant], *shown, *cost, [marks.index(m) for m in line.marks], line.why,
        list(line.share or ()),
    ]  # fmt: skip
