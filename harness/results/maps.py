"""Anomaly maps that a sweep was asked to keep: one compressed file per trial, `<run>/maps/<trial_id>.npz`.

float16 at the method's own resolution, divided by the largest magnitude of the trial, which no metric of
ours notices; what float16 rounds away does show, so metrics computed from kept maps say so.
"""

import io
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final
from uuid import uuid4
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, ResultsError

KEPT = "kept as float16"


@final
@dataclass(frozen=True)
class KeptMaps:
    """The maps of one trial.

    Attributes:
        ids: image ids, in the order of the maps.
        maps: float32 (n, h, w).
    """

    ids: tuple[str, ...]
    maps: NDArray[np.float32]


def pack(ids: Sequence[str], maps: NDArray[Any]) -> bytes:
    """The content of a maps file."""
    scale = float(np.abs(maps).max(initial=0.0)) or 1.0
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, ids=np.array(ids), maps=(maps / scale).astype(np.float16), scale=np.float32(scale)
    )
    return buffer.getvalue()


def maps_path(run: Path, trial_id: str) -> Path:
    """Where the maps of a trial lie, if they were kept."""
    return run / "maps" / f"{trial_id}.npz"


def write_maps(run: Path, trial_id: str, packed: bytes) -> None:
    """Write a maps file under another name, make it durable, rename it.

    Raises:
        ResultsError: it cannot be written.
    """
    path = maps_path(run, trial_id)
    hidden = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        path.parent.mkdir(exist_ok=True)
        with open(hidden, "wb") as file:
            file.write(packed)
            os.fsync(file.fileno())
        os.replace(hidden, path)
    except OSError as error:
        hidden.unlink(missing_ok=True)
        raise ResultsError(f"{path}: cannot be written ({error.strerror})") from error


def read_maps(run: Path, trial_id: str) -> KeptMaps | None:
    """The maps of a trial; None if they were not kept.

    Raises:
        DataError: the file is damaged.
    """
    path = maps_path(run, trial_id)
    if not path.exists():
        return None
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            maps = file["maps"].astype(np.float32) * file["scale"]
            return KeptMaps(tuple(file["ids"].tolist()), maps)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a readable maps file ({error})") from error
