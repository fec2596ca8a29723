"""Files beside the tables that a sweep was asked to keep: `<run>/<kind>/<trial_id>.npz`."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np

from harness.errors import DataError, ResultsError
from harness.whole import whole

T = TypeVar("T")


def kept_path(run: Path, kind: str, trial_id: str) -> Path:
    """Where the file of a trial lies, if it was kept."""
    return run / kind / f"{trial_id}.npz"


def write_kept(run: Path, kind: str, trial_id: str, packed: bytes) -> None:
    """Write a file under another name, make it durable, rename it.

    Raises:
        ResultsError: it cannot be written.
    """
    path = kept_path(run, kind, trial_id)
    try:
        with whole(path) as hidden:
            hidden.write_bytes(packed)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written ({error.strerror})") from error


def read_kept(run: Path, kind: str, trial_id: str, unpack: Callable[[Any], T]) -> T | None:
    """What `unpack` makes of the arrays of a kept file; None if nothing was kept.

    Raises:
        DataError: the file is damaged.
    """
    path = kept_path(run, kind, trial_id)
    if not path.exists():
        return None
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return unpack(file)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a readable file of {kind} ({error})") from error
