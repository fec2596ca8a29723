"""A submission from kept maps: every map at the size of its image, on one scale per object, as float16."""

import gzip
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.data import Sample, image_size
from harness.errors import DataError
from harness.metrics import METRICS, UPSAMPLING, upsample
from harness.metrics.ahead import ahead
from harness.results.maps import read_maps
from harness.server.chosen import METRIC, Part
from harness.server.content import map_bytes, mask_bytes
from harness.server.rules import MAPS, MASKS, SUFFIXES
from harness.whole import whole

# float16 ends at 65504 and has 30,720 steps from 0 to here; from 0 to 1 a thousandth of a step beside zero
# would already be lost (1e-6 of an image's range, what STFPM's products are), here 2e-12 of it.
TOP = 32768.0
LEVEL = 4  # of gzip: beyond, maps get hardly smaller and minutes become hours
Progress = Callable[[int, int], None]


@final
@dataclass(frozen=True)
class Scale:
    """value -> slope * value + offset, of every map of an object alike; rises strictly.

    Attributes:
        slope, offset: of it.
        low, high: least and greatest value before.
    """

    slope: float
    offset: float
    low: float
    high: float

    @staticmethod
    def of(maps: NDArray[Any]) -> "Scale":
        """The one that takes these values to 0 … `TOP`."""
        low, high = float(maps.min()), float(maps.max())
        slope = TOP / (high - low) if high > low else 1.0
        return Scale(slope, -low * slope, low, high)

    def applied(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
        """Values on the scale, rounded once."""
        # minus low first: what a large offset leaves of a small spread is in these digits
        return ((values.astype(np.float64) - self.low) * self.slope).astype(np.float16)


@final
@dataclass(frozen=True)
class Written:
    """What was written of one object.

    Attributes:
        trial_id: of its trial.
        maps: how many.
        scale: of their values.
        threshold: above which a value, before the scale, is flagged; None without masks.
        flagged: share of all pixels that are.
        marks: what tables say of this trial ("demo weights").
    """

    trial_id: str
    maps: int
    scale: Scale
    threshold: float | None
    flagged: float | None
    marks: tuple[str, ...] = ()


def write(
    run: Path, parts: Mapping[str, Part], out: Path, progress: Progress = lambda done, total: None
) -> dict[str, Written]:
    """Write `<out>/` with the files of a submission; it appears whole or not at all.

    Args:
        run: a run directory.
        parts: object -> what it contributes.
        out: folder to be; there must be nothing.
        progress: called with (maps written, maps in all).

    Raises:
        DataError: something lies there, maps are damaged or not of these images, or the disk is full.
    """
    if out.exists():
        raise DataError(f"{out}: is there already; remove it, or name another folder: --out")
    hidden = out.with_name(f".{out.name}.partial")
    total, done = sum(len(part.split.test) for part in parts.values()), 0
    written = {}
    try:
        shutil.rmtree(hidden, ignore_errors=True)  # of a command that was killed
        for name, part in sorted(parts.items()):
            written[name] = _object(run, name, part, hidden, lambda n, past=done: progress(past + n, total))
            done += written[name].maps
        os.replace(hidden, out)
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror or error})") from error
    return written


def _object(run: Path, name: str, part: Part, folder: Path, progress: Callable[[int], None]) -> Written:
    trial, samples = str(part.row["trial_id"]), part.split.test
    maps = _kept(run, trial, samples)
    scale, threshold = Scale.of(maps), part.threshold

    def put(i: int) -> tuple[int, int]:
        sample = samples[i]
        full = upsample(maps[i], image_size(sample.path))
        stem = f"{name}/{sample.id.rpartition('.')[0]}"
        _save(folder / f"{MAPS}/{stem}{SUFFIXES[MAPS]}", map_bytes(scale.applied(full)))
        if threshold is None:
            return 0, full.size
        flagged = full > np.float64(threshold)
        _save(folder / f"{MASKS}/{stem}{SUFFIXES[MASKS]}", mask_bytes(flagged))
        return int(np.count_nonzero(flagged)), full.size

    flagged, pixels = 0, 0
    for n, counts in enumerate(ahead(put, range(len(samples)), min(4, os.cpu_count() or 1)), start=1):
        flagged, pixels = flagged + counts[0], pixels + counts[1]
        progress(n)
    share = None if threshold is None else flagged / pixels
    return Written(trial, len(samples), scale, threshold, share, tuple(part.row["marks"]))


def _kept(run: Path, trial: str, samples: Sequence[Sample]) -> NDArray[np.float32]:
    kept = read_maps(run, trial)
    if kept is None or list(kept.ids) != [sample.id for sample in samples]:
        raise DataError(f"{run}: the kept maps of {trial} are not of these images")
    if not np.isfinite(kept.maps).all():
        raise DataError(f"{run}: the kept maps of {trial} have NaN or infinite values")
    return kept.maps


def _save(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def pack(folder: Path) -> Path:
    """`<folder>.tar.gz`, the same bytes for the same files; its path.

    Raises:
        DataError: it cannot be written.
    """
    target = folder.with_name(f"{folder.name}.tar.gz")
    try:
        with (
            whole(target) as hidden,
            hidden.open("wb") as raw,
            gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed,
            tarfile.open(mode="w|", fileobj=packed) as archive,
        ):
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                archive.add(path, f"{folder.name}/{path.relative_to(folder).as_posix()}", filter=_plain)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without who wrote it and when."""
    member.mtime, member.mode = 0, 0o644
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def record(path: Path, run: Path, written: Mapping[str, Written], archive: Path) -> None:
    """Put down beside a submission how it was made; the server allows no other file inside.

    Raises:
        DataError: it cannot be written.
    """
    cut = METRICS.load(METRIC).cut
    content = {
        "run": str(run),
        "maps": f"kept as float16; {UPSAMPLING}; per object slope * value + offset, then float16",
        "threshold": cut.words if cut else "",
        "objects": {name: asdict(one) for name, one in written.items()},
        "archive": {"name": archive.name, "sha256": _digest(archive)},
    }
    try:
        with whole(path) as hidden:
            hidden.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
