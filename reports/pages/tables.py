"""Tables of pages of methods and categories."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from reports.frame.cells import SUBSETS, averages, cells
from reports.frame.load import MISSING, Frame
from reports.frame.naming import metric_of, shots_title, words
from reports.leaderboard import Board, boards, order
from reports.pages.seen import FOUND, Seen
from reports.tables.accuracy import category_columns, cell_of
from reports.tables.cost import CAPTION, COLUMNS, costs_of
from reports.tables.ranking import with_ranks
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, statistic, text

SHORT = {"logical": "logical", "structural": "structural", "mean": "mean", "all": "pooled"}
LISTED = 3  # images of a kind
HARDEST = 12


def main_cells(frame: Frame) -> pd.DataFrame:
    """Cells of the main metric; where it has several definitions, of each those who were measured by it."""
    every = cells(frame)
    main = every[every["measure"].map(metric_of).eq(frame.main)]  # a list of none would mean no column
    if main["measure"].nunique() < 2:
        return main
    return main[main.groupby(["measure", "variant"])["n"].transform("max") > 0]


def of_method(frame: Frame, method: str) -> Iterator[Table]:
    """Cells of a method: groups are subsets, rows settings and shots, columns categories."""
    variants = set(frame.trials.loc[frame.trials["method"] == method, "variant"])
    mine = main_cells(frame)
    mine = mine[mine["variant"].isin(variants)]
    for (dataset, measure), some in mine.groupby(["dataset", "measure"], sort=False):
        measure = str(measure)
        means = averages(frame, some)
        categories = list(dict.fromkeys(some["category"]))
        groups = [
            Group(
                SUBSETS[s],
                tuple(_cell_rows(frame, some[some["subset"] == s], means[means["subset"] == s], categories)),
            )
            for s in SUBSETS
            if s in set(some["subset"])
        ]
        scale = frame.scale(measure)
        columns = tuple(category_columns(categories, scale.higher_is_better))[:-1]
        title = f"{frame.title(measure)} by category · {dataset}"
        caption = f"{scale.words}, mean ± sample standard deviation over seeds. {scale.direction}".strip()
        yield Table(f"cells-{len(title)}", title, caption, "Setting", columns, tuple(groups))


def _cell_rows(
    frame: Frame, some: pd.DataFrame, means: pd.DataFrame, categories: Sequence[str]
) -> Iterator[Row]:
    scale = frame.scale(str(some["measure"].iloc[0]))
    found = {(r["variant"], r["shots"], r["category"]): r for r in some.to_dict("records")}
    average = {(r["variant"], r["shots"]): r for r in means.to_dict("records")}
    keys = dict.fromkeys(zip(some["variant"], some["shots"], strict=True))
    for variant, shots in sorted(keys, key=lambda key: (key[1], key[0])):
        line = [cell_of(found.get((variant, shots, c)), scale) for c in categories]
        line += [cell_of(average.get((variant, shots)), scale)] if len(categories) > 1 else []
        yield Row(f"{variant}, {shots_title(int(shots))}", tuple(line))


def standings(frame: Frame, method: str) -> Iterator[Table]:
    """Where a method stands on the boards of the main metric."""
    main = [board for board in boards(frame) if metric_of(board.measure) == frame.main]
    several = len({board.protocol for board in main}) > 1
    rows = [row for board in main for row in _standing_rows(frame, board, method, several)]
    columns = (
        Column("rank", "Rank"), Column("of", "of"),
        Column("result", "Value", Kind.STATISTIC, higher_is_better=None), Column("low", "from"),
        Column("high", "to"), Column("mean_rank", "Mean rank"), Column("improvability", "Improvability, %"),
    )  # fmt: skip
    if rows:
        caption = "On the leaderboards of the main metric; how to read it is said there."
        yield Table(
            "standings", "Where it stands", caption, "Leaderboard", columns, (Group("", tuple(rows)),)
        )


def _standing_rows(frame: Frame, board: Board, method: str, several: bool) -> Iterator[Row]:
    scale = frame.scale(board.measure)
    under = f", {board.protocol}" if several and board.protocol else ""
    for one in board.standings:
        if one.method == method:
            value = Cell()
            if one.value is not None:
                value = statistic(one.value, one.std, one.seeds, one.seeds, one.marks, scale)
            ends = [Cell() if v is None else Cell(scale.text(v), v) for v in (one.low, one.high)]
            rank = Cell(one.why, one.why) if one.rank is None else Cell(str(one.rank), one.rank)
            gain = None if one.improvability is None else 100 * one.improvability
            more = [
                Cell() if v is None else Cell(f"{v:.{d}f}", v) for v, d in ((one.mean_rank, 1), (gain, 0))
            ]
            name = (
                f"{one.variant}: {SHORT[board.subset]}, {shots_title(board.shots)} · {board.dataset}{under}"
            )
            yield Row(name, (rank, Cell(str(len(board.ranked)), len(board.ranked)), value, *ends, *more))


def cost(trials: pd.DataFrame, by_shots: bool) -> Iterator[Table]:
    """What trials cost, by setting, and by number of shots where that is wanted."""
    ended = trials[trials["status"] != MISSING]
    rows = [
        Row(", ".join([str(name), *(shots_title(int(str(k))) for k in shots)]), costs_of(some))
        for (name, *shots), some in ended.groupby(["variant", "shots"][: 1 + by_shots], sort=False)
    ]
    if rows:
        yield Table("cost", "Cost", CAPTION, "Method", COLUMNS, (Group("", tuple(rows)),))


def images_of_method(found: Iterable[Seen]) -> Iterator[Table]:
    """What a method finds and misses in each category."""
    columns = (
        Column("caught", "Caught best", Kind.TEXT),
        Column("missed", "Missed most", Kind.TEXT),
        Column("alarms", "Good, yet highest", Kind.TEXT),
    )
    rows = [
        Row(
            f"{one.variant}, {one.shots}, {words(one.category)}",
            tuple(_files(some) for some in (one.missed[::-1], one.missed, one.alarms)),
        )
        for one in found
    ]
    if rows:
        caption = (
            "By the share of the good test images that have a lower score. Of each setting the trial of most "
            "shots, then lowest seed."
        )
        yield Table("images", "Best and worst images", caption, "Where", columns, (Group("", tuple(rows)),))


def _files(names: Sequence[str]) -> Cell:
    return text(", ".join(names[:LISTED]))


def of_category(frame: Frame, dataset: str, category: str) -> Iterator[Table]:
    """Methods of a category: columns are numbers of shots and subsets."""
    some = main_cells(frame)
    some = some[(some["dataset"] == dataset) & (some["category"] == category)]
    for measure, by_it in some.groupby("measure", sort=False):
        yield _methods(frame, str(measure), by_it)


def _methods(frame: Frame, measure: str, some: pd.DataFrame) -> Table:
    scale, shots = frame.scale(measure), sorted(set(some["shots"]))
    subsets = [s for s in SUBSETS if s in set(some["subset"])]
    found = {(r["variant"], r["shots"], r["subset"]): r for r in some.to_dict("records")}
    columns = [
        Column(f"{shots_title(k)}_{s}", SHORT[s], Kind.STATISTIC, shots_title(k), scale.higher_is_better)
        for k in shots
        for s in subsets
    ]
    variants = [v for v in order(frame) if v in set(some["variant"])]
    rows = [
        Row(v, tuple(cell_of(found.get((v, k, s)), scale) for k in shots for s in subsets)) for v in variants
    ]
    at = max(
        shots,
        key=lambda k: sum(
            isinstance(found.get((v, k, subsets[-1]), {}).get("mean"), float) for v in variants
        ),
    )
    sign = 1 if scale.higher_is_better is False else -1

    def place(row: Row) -> tuple[bool, float]:
        value = row.cells[len(subsets) * shots.index(at) + len(subsets) - 1].value
        return (False, sign * value) if isinstance(value, float) else (True, 0.0)

    caption = f"{scale.words}, mean ± sample standard deviation over seeds. {scale.direction}".strip()
    groups = (Group("", tuple(sorted(rows, key=place))),)
    return with_ranks(
        Table(
            "methods",
            f"{frame.title(measure)} by method · {some['dataset'].iloc[0]}",
            caption,
            "Method",
            tuple(columns),
            groups,
        )
    )


def images_of_category(found: Sequence[Seen]) -> Iterator[Table]:
    """The images that fewest methods find, and the good ones that most take for anomalous."""
    shares: dict[tuple[str, str], list[float]] = {}
    for one in found:
        for name, label, share in one.images:
            shares.setdefault((name, label), []).append(share)
    bad = sorted(
        (sum(s >= FOUND for s in v) / len(v), n, k, len(v)) for (n, k), v in shares.items() if k != "good"
    )
    good = sorted(
        ((-sum(s >= FOUND for s in v) / len(v), n, k, len(v)) for (n, k), v in shares.items() if k == "good")
    )
    groups = [
        Group(title, tuple(_image_row(*row) for row in rows[:HARDEST]))
        for title, rows in (("Anomalous, found by fewest", bad), ("Good, taken for anomalous by most", good))
        if rows
    ]
    if groups:
        caption = (
            f"Found: at least {FOUND:.0%} of the good test images have a lower score. Of every method the "
            "trial of most shots, then lowest seed."
        )
        columns = (Column("label", "Label", Kind.TEXT), Column("found", "Methods"), Column("of", "of"))
        yield Table("images", "Hard images", caption, "Image", columns, tuple(groups))


def _image_row(share: float, name: str, label: str, n: int) -> Row:
    return Row(name, (text(label), Cell(str(round(abs(share) * n)), round(abs(share) * n)), Cell(str(n), n)))
