"""What is known of the files of a category (content hash, image size, mask values), kept between runs.

One JSON file per category folder in `<cache>/digests`, replaced atomically. An entry holds while size and
modification time of its file hold; a damaged or unwritable index costs time and nothing else.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from PIL import Image

from harness.cache import cache_root
from harness.errors import DataError
from harness.whole import whole

VERSION = 1  # of the form of an entry
DEPTH = 5  # a file lies at most this many folders below its category folder
MOST_VALUES = 16  # distinct values of a mask that are listed; more are as wrong as these
Kind = Literal["image", "mask", "file"]
Stamp = tuple[int, int]


@final
@dataclass(frozen=True)
class Facts:
    """What one file says of itself.

    Attributes:
        sha256: of its bytes; empty if it cannot be read.
        size: (height, width) of an image or mask, from its header.
        values: distinct non-zero pixel values of a mask, ascending.
        error: why the file cannot be used; empty if it can.
    """

    sha256: str = ""
    size: tuple[int, int] | None = None
    values: tuple[int, ...] = ()
    error: str = ""


def facts_of(folder: Path, files: Iterable[tuple[Path, Kind]]) -> dict[Path, Facts]:
    """The facts of files below a category folder; only new and changed files are read.

    Args:
        folder: the category folder; names the index file.
        files: each with what it is taken for: pixels of masks are read, of images only the header.
    """
    wanted = list(files)
    index = _read(_file(folder))
    keys = [_key(folder, path, kind) for path, kind in wanted]
    stamps = _stamps([path for path, _ in wanted])
    stale = [n for n, key in enumerate(keys) if not _holds(index.get(key), stamps[n])]
    if stale:
        for n, facts in zip(stale, _examine([wanted[n] for n in stale]), strict=True):
            index[keys[n]] = {"stamp": stamps[n], **asdict(facts)}
        # an error is not kept: permissions may be mended without the file's time changing
        _write(_file(folder), {k: e for k, e in index.items() if e["stamp"] and not e["error"]})
    return {path: _facts(index[keys[n]]) for n, (path, _) in enumerate(wanted)}


def stored_digest(path: Path, size: int, mtime_ns: int) -> str | None:
    """sha256 of a file from the index of any folder above it, or None."""
    for folder in list(path.parents)[:DEPTH]:
        for kind in ("image", "mask", "file"):
            entry = _remembered(folder).get(_key(folder, path, kind))
            if _holds(entry, (size, mtime_ns)):
                return entry["sha256"] or None  # pyright: ignore[reportOptionalSubscript]
    return None


def decode_mask(path: Path) -> np.ndarray:
    """A mask file as uint8 (height, width), zero where nothing is marked.

    Raises:
        DataError: the file is missing, truncated, no image, or not of one channel with 8 bits.
    """
    try:
        return _mask_pixels(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: not a readable mask ({_reason(error)})") from error


def _mask_pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB") if image.mode in ("LA", "RGBA") else image)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise ValueError("a mask has one channel, this image has colours")
        pixels = pixels[..., 0]
    if pixels.dtype != bool and pixels.size and (pixels.max() > 255 or pixels.min() < 0):
        raise ValueError(f"a mask has values 0..255, this one {pixels.min()}..{pixels.max()}")
    return pixels.astype(np.uint8) * (255 if pixels.dtype == bool else 1)


def mask_values(pixels: np.ndarray) -> tuple[int, ...]:
    """The distinct non-zero values of a uint8 mask, ascending."""
    counts = Image.fromarray(pixels).histogram()  # ten times as fast as np.bincount or np.unique
    return tuple(value for value in range(1, 256) if counts[value])


def _examine(files: Sequence[tuple[Path, Kind]]) -> list[Facts]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda item: _facts_from_bytes(*item), files))


def _facts_from_bytes(path: Path, kind: Kind) -> Facts:
    sha = ""
    try:
        data = path.read_bytes()
        sha = hashlib.sha256(data).hexdigest()
        if kind == "mask":
            pixels = _mask_pixels(data)
            size = (pixels.shape[0], pixels.shape[1])
            return Facts(sha, size, mask_values(pixels)[:MOST_VALUES])
        return Facts(sha, _header(data) if kind == "image" else None)
    except (OSError, SyntaxError, ValueError) as error:
        return Facts(sha, error=_reason(error))


def _header(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.height, image.width


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "no image format recognised"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _stamps(paths: Sequence[Path]) -> list[Stamp | None]:
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    except OSError:
        return None


def _holds(entry: Any, stamp: Stamp | None) -> bool:
    return stamp is not None and entry is not None and tuple(entry["stamp"]) == stamp


def _facts(entry: Mapping[str, Any]) -> Facts:
    size = tuple(entry["size"]) if entry["size"] else None
    return Facts(entry["sha256"], size, tuple(entry["values"]), entry["error"])


def _key(folder: Path, path: Path, kind: str) -> str:
    return f"{kind}:{os.path.relpath(path, folder)}"


def _file(folder: Path) -> Path:
    return _file_in(cache_root(), folder)


@lru_cache(maxsize=4096)
def _file_in(cache: Path, folder: Path) -> Path:
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]
    return cache / "digests" / f"{name}.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_bytes())
        entries = stored["files"] if stored["version"] == VERSION else {}
        return {k: e for k, e in entries.items() if {"stamp", "sha256", "size", "values", "error"} <= set(e)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # absent, damaged or of another version: everything is read again


def _remembered(folder: Path) -> dict[str, Any]:
    file = _file(folder)
    stamp = _stamp(file)
    return _read_once(file, stamp) if stamp else {}


@lru_cache(maxsize=16)
def _read_once(file: Path, stamp: Stamp) -> dict[str, Any]:
    del stamp  # part of the cache key only
    return _read(file)


def _write(file: Path, entries: Mapping[str, Any]) -> None:
    try:
        with whole(file, durable=False) as partial:  # a damaged index is read anew
            partial.write_text(json.dumps({"version": VERSION, "files": entries}, separators=(",", ":")))
    except OSError:  # no room or no permission in the cache folder: the next run hashes again
        return
