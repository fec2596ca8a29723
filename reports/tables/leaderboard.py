"""Leaderboards as tables, for formats that cannot switch: the main metric, by number of shots."""

from harness.metrics.scale import Scale
from reports.frame.load import Frame
from reports.frame.naming import metric_of, shots_title
from reports.leaderboard import Board, boards
from reports.leaderboard.printed import SUBSET
from reports.leaderboard.standing import Standing
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, number, slug, statistic, text

TESTED = (
    "Rank: methods that the test images cannot tell from the best of those left share it (DeLong's test on "
    "common images, Holm over a group, 5 %). Being alike is not transitive: two methods of one rank, or of "
    "neighbouring ones, may well differ, or not. Interval: 95 %, bootstrap over the images of each category."
)
UNTESTED = "Rank: by the printed number; differences in this metric are not tested here."
HOW = (
    "Mean rank: over categories. Improvability: the share of a method's error (1 − value) that the best "
    "method of each category does not make, averaged over categories, as TabArena defines it "
    "(arXiv:2506.16791). "
    "Seconds: median per image. Hours: of all trials that ended."
)


def leaderboard(frame: Frame) -> list[Table]:
    """One table per data set, protocol and number of shots, in the first subset of the main metric."""
    main = [b for b in boards(frame) if metric_of(b.measure) == frame.main]
    first: dict[tuple[str, str, int], Board] = {}
    for board in main:
        first.setdefault((board.dataset, board.protocol, board.shots), board)
    several = len({board.protocol for board in main}) > 1
    return [_table(frame, board, several) for board in first.values() if board.standings]


def _table(frame: Frame, board: Board, several: bool) -> Table:
    scale = frame.scale(board.measure)
    under = f", {board.protocol}" if several and board.protocol else ""
    return Table(
        slug(
            "leaderboard",
            board.measure,
            board.dataset,
            board.protocol if several else "",
            shots_title(board.shots),
        ),
        f"{board.title}, {SUBSET[board.subset]}, {shots_title(board.shots)} · {board.dataset}{under}",
        f"{TESTED if board.tested else UNTESTED} {HOW}",
        "Method",
        _columns(board, scale),
        (Group("", tuple(Row(s.variant, _cells(s, scale)) for s in board.standings)),),
        section="leaderboard",
    )


def _columns(board: Board, scale: Scale) -> tuple[Column, ...]:
    return (
        Column("rank", "Rank"),
        Column("value", board.title, Kind.STATISTIC, higher_is_better=scale.higher_is_better),
        Column("low", "from"),
        Column("high", "to"),
        Column("mean_rank", "Mean rank"),
        Column("improvability", "Improvability, %"),
        Column("seconds_per_image", "s / image"),
        Column("gpu_hours", "GPU hours"),
        Column("cpu_hours", "CPU hours"),
        Column("ok", "ok"),
        Column("planned", "planned"),
        Column("kind", "Kind", Kind.TEXT),
        Column("why", "Not ranked", Kind.TEXT),
    )


def _cells(one: Standing, scale: Scale) -> tuple[Cell, ...]:
    ends = (Cell() if e is None else Cell(scale.text(e), e) for e in (one.low, one.high))
    value = (
        Cell() if one.value is None else statistic(one.value, one.std, one.seeds, one.seeds, one.marks, scale)
    )
    gain = None if one.improvability is None else 100 * one.improvability
    return (
        Cell() if one.rank is None else number(one.rank),
        value,
        *ends,
        Cell() if one.mean_rank is None else Cell(f"{one.mean_rank:.1f}", one.mean_rank),
        Cell() if gain is None else Cell(f"{gain:.0f}", gain),
        number(one.seconds_per_image, 2),
        number(one.gpu_hours, 2),
        number(one.cpu_hours, 2),
        number(one.ok),
        number(one.planned),
        text(", ".join(one.badges)) if one.badges else Cell(),
        text(one.why) if one.why else Cell(),
    )
