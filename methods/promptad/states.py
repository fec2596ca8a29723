"""What may be wrong with the objects of a category, in words (format: README.md)."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, final

from pydantic import Field

from harness.errors import DataError, nearest
from methods.shared.openclip import prompt_files
from methods.shared.openclip.prompts import class_name
from methods.shared.weights import DEMO

SHIPPED = Path(__file__).parent / "states"
# of every category, as published with PromptAD
GENERIC = (
    "damaged {}",
    "flawed {}",
    "abnormal {}",
    "imperfect {}",
    "blemished {}",
    "{} with flaw",
    "{} with defect",
    "{} with damage",
)
Text = Annotated[str, Field(min_length=1)]


@final
@dataclass(frozen=True)
class States:
    """What is said of a category.

    Attributes:
        name: of its objects; None for the category's own, with spaces.
        abnormal: texts beside `GENERIC`, with {} where the name goes, if they have it.
    """

    name: Text | None = None
    abnormal: tuple[Text, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the content, not of its comments or layout."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()


def find(states: str | None, category: str) -> Path | None:
    """The file of a category's states, or None where only the generic ones are known.

    Args:
        states: None for what comes with Ladder, a file, a folder of files, or "demo" for those in the demo
            model's words.
        category: its name.

    Raises:
        DataError: a file or folder of one's own has nothing for the category.
    """
    given = SHIPPED / (states or "") if states in (None, DEMO) else Path(states or "").expanduser()
    found = prompt_files.file_of(given, category)
    if found is None and states not in (None, DEMO):
        raise DataError(_missing(given, category))
    return found


def _missing(given: Path, category: str) -> str:
    if not given.is_dir():
        return f"states: no file or folder {given}"
    known = prompt_files.categories_in(given)
    return (
        f"states: nothing for {category!r}{nearest(category, known)}; {given} has: "
        f"{', '.join(known) or 'none'}. Write {category}{prompt_files.SUFFIX} with `name` (optional) "
        "and `abnormal` (a list of texts), or leave `states` out for those that come with Ladder"
    )


def read(path: Path) -> States:
    """A file of states, checked.

    Raises:
        DataError: it cannot be read, or everything that is wrong in it.
    """
    return prompt_files.read(path, States)


def texts(path: Path | None, category: str) -> tuple[str, list[str]]:
    """The name of a category's objects, and what they look like where they are abnormal."""
    states = States() if path is None else read(path)
    name = states.name or class_name(category)
    return name, [state.replace("{}", name) for state in (*GENERIC, *states.abnormal)]
