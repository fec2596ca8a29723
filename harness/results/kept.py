"""Files beside the tables that a sweep was asked to keep: `<run>/<kind>/<trial_id>.npz`."""

import hashlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np

from harness.confined import component
from harness.errors import DataError, ResultsError
from harness.results.parquet import absent
from harness.whole import whole

T = TypeVar("T")
# What numpy, zipfile and the unpacking raise over bytes that are something else.
NOT_KEPT = (OSError, ValueError, LookupError, TypeError, EOFError, BadZipFile, zlib.error)
NOT_KEPT += (AttributeError, NotImplementedError, ArithmeticError, MemoryError, RuntimeError, RecursionError)


def kept_path(run: Path, kind: str, trial_id: str) -> Path:
    """Where the file of a trial lies, if it was kept."""
    return run / kind / f"{component(trial_id)}.npz"


def write_kept(run: Path, kind: str, trial_id: str, packed: bytes) -> str:
    """Write a file under another name, make it durable, rename it; its sha256.

    Raises:
        ResultsError: it cannot be written.
    """
    path = kept_path(run, kind, trial_id)
    try:
        with whole(path) as hidden:
            hidden.write_bytes(packed)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written ({error.strerror})") from error
    return hashlib.sha256(packed).hexdigest()


def read_kept(run: Path, kind: str, trial_id: str, unpack: Callable[[Any], T]) -> T | None:
    """What `unpack` makes of the arrays of a kept file; None if nothing was kept.

    Raises:
        DataError: the file is damaged.
    """
    path = kept_path(run, kind, trial_id)
    try:
        packed = path.read_bytes()
    except OSError as error:
        return absent(path, error)
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            return unpack(file)
    except NOT_KEPT as error:
        raise DataError(f"{path}: not a readable file of {kind} ({error})") from error
