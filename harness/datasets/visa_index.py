"""VisA's index files: a line per image, with paths relative to the root."""

import csv
from collections.abc import Sequence
from pathlib import Path

from harness.data.samples import GOOD
from harness.datasets.listed import TEST, TRAIN, Entry
from harness.errors import DataError, nearest

COLUMNS: tuple[str, ...] = ("object", "split", "label", "image", "mask")
LABELS = {"normal": GOOD, "anomaly": "anomaly"}
SOURCE = "https://github.com/amazon-science/spot-diff has it in split_csv/"


def check_index(file: Path) -> None:
    """Look whether an index can be read at all.

    Raises:
        DataError: no such file, or not one with these columns.
    """
    _rows(file)


def read_index(file: Path, category: str) -> tuple[list[Entry], list[str]]:
    """The lines of one category, and what is wrong with them, one sentence each.

    Raises:
        DataError: no such file, or not one with these columns.
    """
    rows = _rows(file)
    entries, problems = [], []
    for number, row in rows:
        where = f"{file}: line {number}"
        if len(row) != len(COLUMNS):
            problems.append(f"{where}: {len(row)} fields, not {len(COLUMNS)} ({','.join(COLUMNS)})")
        elif row[0] == category:
            wrong = _wrong(row)
            problems += [f"{where}: {wrong}"] if wrong else []
            entries += [] if wrong else [Entry(where, row[1], LABELS[row[2]], row[3], row[4])]
    if not entries and not problems:
        objects = sorted({row[0] for _, row in rows})
        hint = nearest(category, objects)
        problems.append(f"{file}: no line of {category!r}{hint}; objects there: {', '.join(objects)}")
    return entries, problems


def _rows(file: Path) -> list[tuple[int, list[str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines)
            head = tuple(next(reader, ()))
            rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise DataError(f"{file}: no such file{_instead(file)}") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file}: not a readable CSV file ({error})") from error
    if head != COLUMNS:
        raise DataError(f"{file}: the first line must be {','.join(COLUMNS)}, not {','.join(head)[:200]}")
    return rows


def _instead(file: Path) -> str:
    there = sorted(path.stem for path in file.parent.glob("*.csv"))
    if there:
        return f"{nearest(file.stem, there)}; splits there: {', '.join(there)}"
    return f", which says what is trained and tested with; {SOURCE}"


def _wrong(row: Sequence[str]) -> str:
    allowed = {"split": (TRAIN, TEST), "label": tuple(LABELS)}
    for name, value in zip(COLUMNS, row, strict=True):
        if name in allowed and value not in allowed[name]:
            known = ", ".join(allowed[name])
            return f"{name} {value!r}{nearest(value, allowed[name])}; allowed: {known}"
    return ""
