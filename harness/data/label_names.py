"""Names of part labels: how they are declared, what is one name written twice, and the tool's own words."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from re import findall
from typing import Any

import yaml

from harness.data.labelme import IGNORED, clean, json_in
from harness.errors import DataError, nearest

DECLARED, CLASSES = "labels.yaml", "part_classes.json"
BACKGROUND = "background"
IGNORE = "__ignore__"  # LabelMe's word for pixels of which nothing is said
AS_BACKGROUND = (BACKGROUND, "_background_")  # the second is LabelMe's word
MOST = 255  # labels are bytes, and one value is taken by what is to be ignored
LEAST_LETTERS = 4  # of a word that one slip of the finger may have changed
HOW = f"`python -m harness.data labels check` shows all names and writes {DECLARED}"


def declared(folder: Path) -> tuple[str, ...] | None:
    """The names that the labels of a folder have, background first; None where nothing says so.

    Raises:
        DataError: a file that says nothing usable, or two that say different things.
    """
    files = [path for path in (folder / DECLARED, folder / CLASSES) if path.is_file()]
    found = [_names(path) for path in files]
    if len(set(found)) > 1:
        raise DataError(f"{files[0]} and {files[1].name} name different labels: keep one of them")
    return found[0] if found else None


def _names(path: Path) -> tuple[str, ...]:
    content = _listed(path)
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise DataError(
            f"{path}: must be a list of the names of the labels, background first; quote what is no word"
        )
    names = tuple(clean(name) for name in content)
    if path.name == DECLARED:
        names = _with_background([name for name in names if name != IGNORE], path)
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{path}: {', '.join(map(repr, sorted(twice)))} is there twice")
    if len(names) > MOST:
        raise DataError(f"{path}: {len(names)} labels, more than {MOST}")
    return names


def _with_background(names: Sequence[str], path: Path) -> tuple[str, ...]:
    if not names or names[0] not in AS_BACKGROUND:
        raise DataError(f"{path}: the first label is {BACKGROUND!r}, this begins with {names[:1]}")
    return (BACKGROUND, *names[1:])


def _listed(path: Path) -> Any:
    """The list in a file: of `part_classes.json` itself, of `labels.yaml` what its key `classes` has."""
    if path.suffix == ".json":
        return json_in(path)
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if isinstance(content, dict) and (unknown := [key for key in content if key != "classes"]):
        raise DataError(f"{path}: unknown key {unknown[0]!r}; allowed: classes")
    return content.get("classes") if isinstance(content, dict) else content


def numbers(classes: Sequence[str]) -> Mapping[str, int]:
    """Number of every name that may stand in a drawing, the tool's own words included."""
    own = dict.fromkeys(AS_BACKGROUND, 0) | {IGNORE: IGNORED}
    return own | {name: i for i, name in enumerate(classes)}


def undeclared(names: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The labels of a folder that does not declare them, background first, in alphabetical order.

    Args:
        names: every name that is used -> where.

    Raises:
        DataError: two names look like one.
    """
    used = names.keys() - {IGNORE, *AS_BACKGROUND}
    if pairs := alike(used):
        told = (f"{a!r} ({_where(names[a])}) and {b!r} ({_where(names[b])})" for a, b in pairs)
        what = ", ".join(told)
        raise DataError(f"{what} look like one label: write one of them, or say which there are; {HOW}")
    if len(used) >= MOST:
        raise DataError(f"{len(used)} labels, more than {MOST - 1}")
    return (BACKGROUND, *sorted(used))


def _where(places: Sequence[str]) -> str:
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"


def unknown(name: str, classes: Sequence[str]) -> str:
    """Says that a name is none of the declared ones, and which it may be."""
    return f"no label is called {name!r}{_nearest(name, classes)}; there are: {', '.join(classes)}"


def _nearest(name: str, classes: Sequence[str]) -> str:
    same = [other for other in classes if other.casefold() == name.casefold()]
    return f" (did you mean {same[0]!r}?)" if same else nearest(name, classes)


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that are likely one name: of other case or punctuation, or one slip apart in a word.

    Numbers and short words are names in their own right: `screw 1` and `screw 2`, `nut` and `nuts`.
    """
    return [(a, b) for a, b in combinations(sorted(names), 2) if _alike(_words(a), _words(b))]


def _words(name: str) -> list[str]:
    return findall(r"\d+|[^\W\d_]+", name.casefold())


def _alike(a: Sequence[str], b: Sequence[str]) -> bool:
    if "".join(a) == "".join(b):
        return True
    if len(a) != len(b):
        return False
    differing = [pair for pair in zip(a, b, strict=True) if pair[0] != pair[1]]
    return len(differing) == 1 and _one_slip(*differing[0])


def _one_slip(a: str, b: str) -> bool:
    """Whether a letter is missing, too many, another one, or two have changed places."""
    if min(len(a), len(b)) < LEAST_LETTERS or a.isdigit() or b.isdigit():
        return False
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[same:], b[same:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[1::-1] == b[:2] and a[2:] == b[2:])
