"""Finding folders by patterns: every step may hold `*`, and the case of letters is forgiven."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from harness.data.litter import is_litter

WILD = "*?["


def found_folders(root: Path, pattern: str) -> list[Path]:
    """The paths below `root` that a pattern finds, sorted; none for an empty one.

    A step without a wildcard is taken as it is written where it exists so, and else in any case of letters
    (`Train/Good`).

    Raises:
        OSError: a folder on the way cannot be read.
    """
    if not pattern:
        return []
    found = [root]
    for step in Path(pattern).parts:
        found = [match for folder in found for match in _matches(folder, step)]
    return sorted(found)


def _matches(folder: Path, step: str) -> Iterator[Path]:
    exact = folder / step
    if step in ("..", "/") or (not any(sign in step for sign in WILD) and there(exact)):
        yield exact
        return
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    wild = any(sign in step for sign in WILD)
    for entry in entries:
        same = fnmatchcase(entry.name, step) if wild else entry.name.lower() == step.lower()
        if same and not is_litter(entry) and (not wild or entry.is_dir()):
            yield entry


def there(path: Path) -> bool:
    """Whether a path exists; one that may not be looked at does, so that reading it says why it fails."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False of one that may not be looked at, where `Path.is_dir` raises."""
    try:
        return path.is_dir()
    except OSError:
        return False
