"""Making room for what a run has lost, so that the same sweep command can run it again.

What cannot be read moves to `<run>/damaged/`. What can only not be read now (permissions, a link to a disk
that is not there) may be whole and is left alone; then nothing is done at all.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.errors import DamagedFile, ResultsError
from harness.results.aside import set_aside
from harness.results.journal import FOLDER as JOURNAL
from harness.results.reader import PLAN_FILE, SWEEP_FILE
from harness.results.schema import SCHEMAS
from harness.results.standing import lacking_notes, standing
from harness.results.tables import Part, parts, without
from harness.results.writer import RunWriter


def mend(run: Path) -> list[str]:
    """Set aside what is lost, and remove rows that no row of trials/ stands for.

    Args:
        run: a run directory; whoever calls holds its lock.

    Returns:
        A sentence for each thing that was found.

    Raises:
        DamagedFile: something cannot be read that may be whole.
        ResultsError: the run cannot be written.
    """
    found = standing(run)
    check_mendable(found.damage)
    try:
        told = [set_aside(run, path, why) for path, why in _moving(run, found.damage).items()]
        if journals := [error for error in found.damage if error.path.parent == run / JOURNAL]:
            told += [f"{error}: set aside" for error in journals if not error.path.is_dir()]
            RunWriter(run).close()  # folds in the lines that hold
        _tidy(parts(run))
    except OSError as error:
        raise ResultsError(f"{error.filename or run}: cannot be written ({error.strerror})") from error
    return told + lacking_notes(run, standing(run).lacking)


def check_mendable(damage: Sequence[DamagedFile]) -> None:
    """Refuse to go on where something may be whole.

    Raises:
        DamagedFile: the first of that kind.
    """
    for error in damage:
        if not error.lost:
            raise DamagedFile(error.path, f"{error.why}; nothing was started", error.lost)


def _moving(run: Path, damage: Iterable[DamagedFile]) -> dict[Path, str]:
    """What has to move, and why; folders that a file would have to replace are among it."""
    folders = [run / name for name in (PLAN_FILE, SWEEP_FILE) if (run / name).is_dir()]
    moving = dict.fromkeys(folders, "cannot be read (it is a folder)")
    for error in damage:
        moving |= {path: moving.get(path, error.why) for path in _with(run, error.path)}
    return moving


def _with(run: Path, path: Path) -> Iterator[Path]:
    """A lost file and what is worth nothing without it; of a journal single lines are lost, no file."""
    if path.parent != run / JOURNAL or path.is_dir():
        yield path
    if path.parent == run / "trials":
        others = (run / table / path.name for table in SCHEMAS if table != "trials")
        yield from (other for other in others if os.path.lexists(other))


def _tidy(found: Sequence[Part]) -> None:
    """Remove rows without their trial, and older rows of trials that were written again.

    They are what a killed writer leaves; Ladder's own readers pass over them, others would count them.
    """
    seen: set[str] = set()
    for part in reversed(found):
        ids = {n: set(part.table(n, ["trial_id"])["trial_id"].unique().to_pylist()) for n in SCHEMAS}
        if (ids["metrics"] | ids["scores"]) - ids["trials"] or ids["trials"] & seen:
            part.shrink(without(part.read(), seen))
        seen |= ids["trials"]
