"""Anomaly maps that a sweep was asked to keep: one compressed file per trial, `<run>/maps/<trial_id>.npz`.

float16 at the method's own resolution, on the scale 0 to 1 from the least to the greatest value of the trial,
so that a spread that is small beside the values (log-likelihoods) is kept as well; what float16 rounds away
does show, so metrics computed from kept maps say so.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.results.kept import kept_path, read_kept

KIND = "maps"
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
    low, high = (float(maps.min()), float(maps.max())) if maps.size else (0.0, 0.0)
    scale = high - low or 1.0
    shares = ((maps - low) / scale).astype(np.float16)
    buffer = io.BytesIO()
    # one array of both: without one of two arrays a damaged file could be read as one of earlier versions
    np.savez_compressed(buffer, ids=np.array(ids), maps=shares, scale=np.array([scale, low]))
    return buffer.getvalue()


def maps_path(run: Path, trial_id: str) -> Path:
    """Where the maps of a trial lie, if they were kept."""
    return kept_path(run, KIND, trial_id)


def read_maps(run: Path, trial_id: str) -> KeptMaps | None:
    """The maps of a trial; None if they were not kept.

    Raises:
        DataError: the file is damaged.
    """
    return read_kept(run, KIND, trial_id, _unpack)


def _unpack(file: Any) -> KeptMaps:
    scale, low = (*file["scale"].ravel().tolist(), 0.0)[:2]  # earlier versions had no least value
    return KeptMaps(tuple(file["ids"].tolist()), file["maps"].astype(np.float32) * scale + low)
