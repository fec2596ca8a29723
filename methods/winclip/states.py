"""Texts of one's own for a category, in place of WinCLIP's ensemble of states (format: README.md)."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, final

from pydantic import Field

from harness.errors import DataError, nearest
from methods.shared.openclip import prompt_files
from methods.shared.weights import DEMO

SHIPPED = Path(__file__).parent / "prompts"
Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


@final
@dataclass(frozen=True)
class States:
    """What is said of flawless and of damaged objects.

    Attributes:
        normal, abnormal: texts of each.
        templates: texts with {} into which each of those is put.
    """

    normal: Texts
    abnormal: Texts
    templates: Texts = ("{}",)

    @property
    def sha256(self) -> str:
        """Of the content, not of its comments or layout."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()


def find(prompts: str | None, category: str) -> Path | None:
    """The file of a category's texts, or None where WinCLIP's own ensemble is asked for.

    Args:
        prompts: None, a file, a folder of files, or "demo" for those in the demo model's words.
        category: its name.

    Raises:
        DataError: the file, or the category's in the folder, is not there.
    """
    if prompts is None:
        return None
    given = SHIPPED / DEMO if prompts == DEMO else Path(prompts).expanduser()
    found = prompt_files.file_of(given, category)
    if found is None:
        raise DataError(_missing(given, category))
    return found


def _missing(given: Path, category: str) -> str:
    if not given.is_dir():
        return f"prompts: no file or folder {given}"
    known = prompt_files.categories_in(given)
    return (
        f"prompts: nothing for {category!r}{nearest(category, known)}; {given} has: "
        f"{', '.join(known) or 'none'}. Write {category}{prompt_files.SUFFIX} with the keys `normal` and "
        "`abnormal` (lists of texts), or leave `prompts` out for WinCLIP's own"
    )


def read(path: Path) -> States:
    """A file of texts, checked.

    Raises:
        DataError: it cannot be read, or everything that is wrong in it.
    """
    states = prompt_files.read(path, States)
    if blank := [f"templates: {t!r} has no {{}} for the text" for t in states.templates if "{}" not in t]:
        raise prompt_files.refused(path, blank)
    return states
