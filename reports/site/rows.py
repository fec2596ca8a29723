"""The rows of the tables of a site."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.frame.cards import MethodCard
from reports.frame.load import MISSING
from reports.frame.naming import shots_title, words
from reports.leaderboard import Board, Standing
from reports.site.digest import Digest
from reports.site.gathering import Gathered, scale
from reports.site.view import (
    Head,
    Shown,
    Site,
    board_page,
    counted,
    method_page,
    number,
    run_page,
    subset_title,
)

Row = list[Shown]
LEADERS = 3  # names in a cell
NAMED = 4  # runs in a sentence


def heads(*names: str) -> tuple[Head, ...]:
    """Columns: `Name*` holds words, in `Name-` lower is better."""
    return tuple(Head(name.rstrip("*-"), name.endswith("*"), name.endswith("-")) for name in names)


LEAD = heads(
    *("Protocol*", "Data set*", "Metric*", "Leads*", "Number", "Marks*", "Methods", "Categories", "Trials"),
)
RUNS = heads(
    *("Run*", "State*", "Planned", "ok", "Not ok", "Skipped", "Missing", "Methods", "Data sets*"),
    *("Protocols*", "Marks*", "Last result*"),
)
METHODS = heads("Method*", "Runs", "ok", "Planned", "Leaderboards", "Best rank-")
BOARD = heads(
    *("Method*", "Rank-", "Mean", "from", "to", "Marks*", "Mean rank-", "Improvability, %-"),
    *("s / image-", "Hours-", "Trials", "Seeds", "Runs*"),
)
PLACES = heads("Leaderboard*", "Setting*", "Shots*", "Rank-", "of", "Number", "Marks*", "s / image-")
METHOD_RUNS = heads("Run*", "ok", "Not ok", "Skipped", "Missing", "Last result*")
RUN_METHODS = heads("Method*", "Planned", "ok", "Not ok", "Skipped", "Missing")
FAILURES = heads("Method*", "Status*", "Reason*", "Trials")


def index(site: Site, cards: Mapping[str, MethodCard]) -> dict[str, Any]:
    """Of the first page."""
    leaders = [_leader(g, boards) for g in site.gathered for boards in by_measure(g).values()]
    lead_heads, leaders = filled(LEAD, leaders)
    run_heads, run_rows = filled(RUNS, [_run(run) for run in site.runs])
    return {
        "leader_heads": lead_heads,
        "leaders": leaders,
        "run_heads": run_heads,
        "run_rows": run_rows,
        "method_heads": METHODS,
        "method_rows": [_method(site, card) for card in cards.values()],
    }


def methods(site: Site) -> dict[str, None]:
    """Keys of all methods, in the order of the runs."""
    return dict.fromkeys(method for run in site.runs for method in run.methods)


def by_measure(gathered: Gathered) -> dict[str, list[Board]]:
    """The leaderboards of each measure, the first one in front."""
    found: dict[str, list[Board]] = {}
    for board in gathered.boards:
        found.setdefault(board.measure, []).append(board)
    return found


def _leader(gathered: Gathered, boards: Sequence[Board]) -> Row:
    board = boards[0]
    names = [s.variant for s in board.leaders]
    more = f" and {len(names) - LEADERS} more" if len(names) > LEADERS else ""
    value = scale(gathered, board).text(board.ranked[0].value) if board.ranked else ""
    place = f"{subset_title(board.subset)}, {shots_title(board.shots)}"
    return [
        Shown(gathered.protocol, board_page(gathered, board.measure)),
        Shown(gathered.dataset),
        Shown(board.title, more=place),
        Shown(", ".join(names[:LEADERS]) + more or "nobody yet"),
        Shown(value),
        Shown(", ".join(dict.fromkeys(mark for s in board.leaders for mark in s.marks))),
        Shown(str(len(board.ranked))),
        Shown(str(len(board.units))),
        Shown(f"{gathered.trials:,}"),
    ]


def board(site: Site, gathered: Gathered, board: Board, key: str) -> dict[str, Any]:
    """One leaderboard as its page shows it."""
    shots, subset = shots_title(board.shots), subset_title(board.subset)
    shown, lines = filled(BOARD, [_standing(site, gathered, board, s) for s in board.standings])
    return {
        "key": key,
        "heads": shown,
        "shots": shots,
        "subset": subset,
        "title": f"{board.title}, {subset}, {shots}",
        "told": list(_told(gathered, board)),
        "rows": lines,
    }


def filled(columns: Sequence[Head], rows: Sequence[Row]) -> tuple[list[Head], list[Row]]:
    """A table without columns in which nobody has anything."""
    kept = [i for i in range(len(columns)) if i == 0 or any(row[i].text for row in rows)]
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _told(gathered: Gathered, board: Board) -> Iterator[str]:
    over = "its only category" if len(board.units) == 1 else f"mean over {len(board.units)} categories"
    how = scale(gathered, board)
    alike = "Methods that the images cannot tell apart share a rank."
    ranks = alike if board.tested else "Ranks are the order of the numbers."
    yield " ".join(filter(None, (f"{how.words}, {over}, seeds averaged.", how.direction, ranks)))
    if board.left_out:
        named = ", ".join(f"{words(name)} ({why})" for name, why in board.left_out.items())
        yield f"Left out: {named}."


def _standing(site: Site, gathered: Gathered, board: Board, s: Standing) -> Row:
    how = scale(gathered, board)

    def text(value: float | None) -> str:
        return "" if value is None else how.text(value)

    runs = [_called(site, site.runs[i]) for i in gathered.runs.get(s.variant, [])]
    named = ", ".join(runs[:NAMED]) + (f" and {len(runs) - NAMED} more" if len(runs) > NAMED else "")
    hours = f"{number(s.hours)}{' GPU' if s.gpu_hours is not None else ''}" if s.hours is not None else ""
    return [
        Shown(s.variant, method_page(s.method), s.why, s.badges, long=True),
        Shown("–" if s.rank is None else str(s.rank)),
        Shown(text(s.value), more=f"± {text(s.std)}" if s.std is not None else ""),
        Shown(text(s.low)),
        Shown(text(s.high)),
        Shown(", ".join(s.marks)),
        Shown(number(s.mean_rank)),
        Shown("" if s.improvability is None else f"{100 * s.improvability:.1f}"),
        Shown(number(s.seconds_per_image)),
        Shown(hours),
        Shown(f"{s.ok:,}" if s.ok == s.planned else f"{s.ok:,} of {s.planned:,}"),
        Shown(str(s.seeds)),
        Shown(named),
    ]


def _called(site: Site, run: Digest) -> str:
    """A run by its name, with its folder where another has the same."""
    alone = sum(other.name == run.name for other in site.runs) == 1
    return run.name if alone else f"{run.name} ({Path(run.path).name})"


def sources(site: Site, gathered: Gathered) -> list[str]:
    """What the protocol is, as its runs say."""
    said = [run.protocols.get(gathered.protocol, "") for run in site.runs]
    return list(dict.fromkeys(filter(None, said)))


def state(run: Digest) -> str:
    """How far a run is."""
    if not run.planned:
        return "empty: no trial is planned"
    word = "finished" if run.ended == run.planned else "half-finished"
    return f"{word}: {run.ended:,} of {counted(run.planned, 'trial')}"


def _counts(counts: Mapping[str, int]) -> list[Shown]:
    """ok, not ok, skipped, missing."""
    ok, skipped, missing = (counts.get(name, 0) for name in ("ok", "skipped", MISSING))
    bad = sum(counts.values()) - ok - skipped - missing
    return [Shown(f"{n:,}") for n in (ok, bad, skipped, missing)]


def _run(run: Digest) -> Row:
    damaged = "damaged: " if run.damaged else ""
    return [
        Shown(run.name, run_page(run), run.path, long=True),
        Shown(damaged + state(run).partition(":")[0]),
        Shown(f"{run.planned:,}"),
        *_counts(run.counts),
        Shown(str(len(run.methods))),
        Shown(", ".join(run.datasets)),
        Shown(", ".join(run.protocols)),
        Shown(", ".join(run.marks)),
        Shown(run.last),
    ]


def _method(site: Site, card: MethodCard) -> Row:
    runs = [run.methods[card.name] for run in site.runs if card.name in run.methods]
    ranks = [s.rank for _, _, s in _ranked(site, card.name) if s.rank is not None]
    return [
        Shown(card.title, method_page(card.name), badges=card.badges, long=True),
        Shown(str(len(runs))),
        Shown(f"{sum(counts.get('ok', 0) for counts in runs):,}"),
        Shown(f"{sum(sum(counts.values()) for counts in runs):,}"),
        Shown(str(len(ranks))),
        Shown(str(min(ranks)) if ranks else ""),
    ]


def _ranked(site: Site, method: str) -> Iterator[tuple[Gathered, Board, Standing]]:
    """Where a method is ranked; of each measure the subset that comes first."""
    for gathered in site.gathered:
        for boards in by_measure(gathered).values():
            for board in (b for b in boards if b.subset == boards[0].subset):
                yield from ((gathered, board, s) for s in board.ranked if s.method == method)


def places(site: Site, method: str) -> list[Row]:
    """Of a method's page: every leaderboard that it is on."""
    return [
        [
            Shown(f"{board.title} · {gathered.dataset}", _link(gathered, board), gathered.protocol),
            Shown(s.variant, long=True),
            Shown(shots_title(board.shots)),
            Shown(str(s.rank)),
            Shown(str(len(board.ranked))),
            Shown("" if s.value is None else scale(gathered, board).text(s.value)),
            Shown(", ".join(s.marks)),
            Shown(number(s.seconds_per_image)),
        ]
        for gathered, board, s in _ranked(site, method)
    ]


def _link(gathered: Gathered, board: Board) -> str:
    return board_page(gathered, board.measure)


def runs_of(site: Site, method: str) -> list[Row]:
    """Of a method's page: the runs that have planned it."""
    return [
        [Shown(run.name, run_page(run), run.path, long=True), *_counts(run.methods[method]), Shown(run.last)]
        for run in site.runs
        if method in run.methods
    ]


def methods_of(run: Digest, cards: Mapping[str, MethodCard]) -> list[Row]:
    """Of a run's page: its methods."""
    return [
        [
            Shown(cards[method].title, method_page(method), long=True),
            Shown(f"{sum(counts.values()):,}"),
            *_counts(counts),
        ]
        for method, counts in run.methods.items()
    ]


def failures(run: Digest, cards: Mapping[str, MethodCard]) -> list[Row]:
    """Of a run's page: what went wrong, the most frequent first."""
    return [
        [Shown(cards[method].title, long=True), Shown(status), Shown(reason), Shown(f"{n:,}")]
        for status, method, reason, n in run.failures
    ]
