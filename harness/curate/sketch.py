"""A tiny drawn copy of a data set's layout: a marker file, and what the sketcher of its record draws."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.data.litter import without_litter
from harness.datasets.drawn import SKETCH
from harness.datasets.easel import Easel
from harness.datasets.record import DataSet
from harness.errors import ConfigError, DataError

ABOUT = "a few drawn images in the layout of a data set; numbers on them are demo numbers"
_INSTEAD = {"demo": "; `python -m harness.data demo OUT` draws all of it"}


def sketch(dataset: DataSet, easel: Easel) -> None:
    """Draw the sketch of a data set; one that was interrupted is finished.

    Args:
        dataset: which.
        easel: where, and how much.

    Raises:
        ConfigError: there is no sketch of it, or no such category, or too few images are wanted.
        DataError: something else lies there, or nothing can be written.
    """
    if dataset.sketcher is None:
        raise ConfigError(f"{dataset.name}: no sketch of this data set{_INSTEAD.get(dataset.name, '')}")
    if min(easel.train, easel.test) < 1:
        raise ConfigError(f"--train {easel.train} --test {easel.test}: at least 1 each")
    wanted = {"dataset": dataset.name, "train": easel.train, "test": easel.test, "only": list(easel.only)}
    try:
        _vacant(easel.root, wanted)
        easel.json(SKETCH, {**wanted, "about": ABOUT, "complete": False})
        dataset.sketcher(easel)
        easel.json(SKETCH, {**wanted, "about": ABOUT, "complete": True})
    except OSError as error:
        where = error.filename or easel.root
        raise DataError(f"{where}: cannot be written ({error.strerror or error})") from error


def _vacant(root: Path, wanted: Mapping[str, Any]) -> None:
    """Refuse a folder that holds anything but this sketch."""
    there = without_litter(root) if root.is_dir() else []
    if not there:
        return
    try:
        found = json.loads((root / SKETCH).read_text(encoding="utf-8"))
        other = [f"{k} {found.get(k)!r}, not {v!r}" for k, v in wanted.items() if found.get(k) != v]
    except (OSError, ValueError, AttributeError):
        raise DataError(f"{root}: not empty, and no sketch ({there[0].name}); name another folder") from None
    if other:
        raise DataError(f"{root}: holds another sketch ({'; '.join(other)}); name another folder")
