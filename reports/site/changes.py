"""What is new since a site was built before: runs, methods, ranks and numbers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.frame.naming import shots_title
from reports.site.digest import Digest
from reports.site.gathering import Gathered, scale

KEPT = 20  # builds with changes that are remembered
NAMED = 200  # changes of a build that are listed

Snapshot = dict[str, Any]


def snapshot(runs: Sequence[Digest], gathered: Sequence[Gathered], broken: Mapping[str, str]) -> Snapshot:
    """What a later build is compared with.

    Args:
        runs: that could be read.
        gathered: the leaderboards.
        broken: path of a run that cannot be read -> why.
    """
    standing = {run.path: [run.ended, run.planned, run.counts.get("ok", 0)] for run in runs}
    found = {name: lines for some in gathered for name, lines in _lines(some)}
    return {"runs": standing, "boards": found, "broken": dict(broken)}


def _lines(gathered: Gathered) -> Iterator[tuple[str, dict[str, Any]]]:
    """(board, method -> rank and number as printed)."""
    for board in gathered.boards:
        place = [gathered.protocol, gathered.dataset, board.title, board.subset, shots_title(board.shots)]
        scaled = scale(gathered, board)
        lines = {s.variant: [s.rank, scaled.text(s.value or 0.0)] for s in board.ranked}
        yield " · ".join("pooled" if word == "all" else word for word in place), lines


def changes(before: Snapshot | None, now: Snapshot) -> list[str]:
    """Sentences, runs first; none at the first build."""
    if before is None:
        return []
    found = [*_runs(before, now), *_boards(before["boards"], now["boards"])]
    more = [f"{len(found) - NAMED:,} more changes."] if len(found) > NAMED else []
    return [*found[:NAMED], *more]


def _runs(before: Snapshot, now: Snapshot) -> Iterator[str]:
    old, new = before["runs"], now["runs"]
    for path, (ended, planned, _) in new.items():
        if path not in old:
            yield f"New run {path}: {ended:,} of {planned:,} trials."
        elif list(old[path]) != list(new[path]):
            was = old[path]
            yield f"Run {path}: {was[0]:,} of {was[1]:,} trials before, {ended:,} of {planned:,} now."
    yield from (f"Run {path} is gone." for path in old if path not in new and path not in now["broken"])
    yield from (f"Run {p} cannot be read any more." for p in now["broken"] if p in old)


def _boards(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, lines in new.items():
        if name not in old:
            yield f"New leaderboard {name}: {len(lines)} methods ranked."
            continue
        yield from (f"{name}: {said}." for said in _methods(old[name], lines))
    yield from (f"Leaderboard {name} is gone." for name in old if name not in new)


def _methods(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for method, (rank, value) in new.items():
        if method not in old:
            yield f"{method} is new on rank {rank} with {value}"
            continue
        was_rank, was = old[method]
        moved = [f"rank {was_rank} → {rank}"] if was_rank != rank else []
        moved += [f"{was} → {value}"] if was != value else []
        if moved:
            yield f"{method} {', '.join(moved)}"
    yield from (f"{method} is no longer ranked" for method in old if method not in new)


def remembered(before: Sequence[Any], found: Sequence[str], when: str) -> list[Any]:
    """The list of builds with changes, newest first, with those of this one."""
    entry = [{"when": when, "changes": list(found)}] if found else []
    return [*entry, *before][:KEPT]
