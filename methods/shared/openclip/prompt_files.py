"""Prompts of a category: a YAML file of its own, in a folder that has one per category."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from harness.errors import DataError
from harness.params import Problem, resolve

SUFFIX = ".yaml"
Kind = TypeVar("Kind")


def file_of(given: Path, category: str) -> Path | None:
    """The file of a category, or None if the folder has none.

    A sub-type ("juice_bottle/cherry") may have its own file (`juice_bottle/cherry.yaml`) and otherwise
    takes that of its category.

    Args:
        given: a file, which then is every category's, or a folder of files.
        category: its name.
    """
    if given.is_file():
        return given
    names = dict.fromkeys((category, category.partition("/")[0]))
    paths = (given / f"{name}{SUFFIX}" for name in names if name)
    return next((path for path in paths if path.is_file()), None)


def categories_in(folder: Path) -> list[str]:
    """Categories that have a file in a folder or below it."""
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob(f"*{SUFFIX}"))


def read(path: Path, kind: type[Kind]) -> Kind:
    """A prompt file as a dataclass of the method that reads it.

    Raises:
        DataError: it cannot be read, or everything that is wrong in it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not a readable YAML file ({error})") from error
    try:
        return kind(**resolve(kind, content if isinstance(content, Mapping) else {}))
    except Problem as problem:
        raise refused(path, [f"{key}: {text}" for key, text in problem.lines]) from None


def refused(path: Path, problems: list[str]) -> DataError:
    """The error of a prompt file with these problems."""
    return DataError("\n".join([f"{path}: not the prompts of a category", *(f"  {p}" for p in problems)]))
