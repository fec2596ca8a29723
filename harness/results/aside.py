"""Where things of a run go that nobody can read: `<run>/damaged/`. Nothing in it is ever read or deleted."""

import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ResultsError

FOLDER = "damaged"
LINES = "journal.jsonl"


def set_aside(run: Path, path: Path, why: str) -> str:
    """Move a file of a run out of the way; what was done, in words.

    Raises:
        ResultsError: it cannot be moved.
    """
    target = _free(run / FOLDER / "-".join(path.relative_to(run).parts))
    try:
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be moved to {target} ({error.strerror})") from error
    return f"{path} {why}: moved to {target}"


def keep_lines(run: Path, lines: Sequence[bytes]) -> None:
    """Append journal lines that cannot be read to a file of them.

    Raises:
        OSError: it cannot be written.
    """
    if lines:
        target = run / FOLDER / LINES
        target.parent.mkdir(exist_ok=True)
        with open(target, "ab") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())


def _free(path: Path) -> Path:
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found
