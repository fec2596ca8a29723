"""What is known of the files of a category (content hash, size, depth, mask values), kept between runs.

One JSON file per category folder in `<cache>/digests`, replaced atomically. An entry holds while the stamp of
its file holds (`harness.data.files`); a damaged or unwritable index costs time and nothing else. On a network
file system inodes may differ between nodes: a cache folder that nodes share is then written by turns.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from PIL import Image

from harness.cache import cache_root
from harness.data import decoding, mask_decoding
from harness.data.files import Stamp, content, reason, stamp_of
from harness.data.rule import PLAIN, Depth, PixelRule
from harness.errors import DataError
from harness.whole import whole

VERSION = 2  # of the form of an entry
ABOVE = 5  # a file lies at most this many folders below its category folder
MOST_VALUES = 16  # distinct values of a mask that are listed; more are as wrong as these
Kind = Literal["image", "mask", "file"]


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """What one file says of itself.

    Attributes:
        sha256: of its bytes; empty if it cannot be read.
        size: (height, width) of an image or mask as stored, from its header.
        values: distinct non-zero pixel values of a mask, ascending.
        error: why the file cannot be used, whatever the rule of its data set; empty if it can.
        depth: what a pixel of an image is made of.
        orientation: of an image or mask, EXIF.
        covered: share of a mask's pixels that is marked.
        lossy, in_alpha: of a mask, see `mask_decoding.MaskForm`.
    """

    sha256: str = ""
    size: tuple[int, int] | None = None
    values: tuple[int, ...] = ()
    error: str = ""
    depth: Depth = "8"
    orientation: int = 1
    covered: float = 0.0
    lossy: bool = False
    in_alpha: bool = False

    @property
    def shown(self) -> tuple[int, int] | None:
        """(height, width) the right way up."""
        return decoding.turned_size(self.size, self.orientation) if self.size else None


_FIELDS = {"stamp", *(field.name for field in fields(Facts))}
_known: dict[tuple[Kind, str], tuple[Stamp, Facts]] = {}  # of this process


def facts_of(folder: Path, files: Iterable[tuple[Path, Kind]], rule: PixelRule = PLAIN) -> dict[Path, Facts]:
    """The facts of files below a category folder; only new and changed files are read.

    Args:
        folder: the category folder; names the index file.
        files: each with what it is taken for: pixels of masks are read, of images only the header.
        rule: of the data set; says how large a file may be.
    """
    wanted = list(files)
    index = _read(_file(folder))
    # masks under another reading have other values
    keys = [_key(folder, path, kind + (rule.mask_reading if kind == "mask" else "")) for path, kind in wanted]
    stamps = [_stamp(path) for path, _ in wanted]
    stale = [n for n, key in enumerate(keys) if not _holds(index.get(key), stamps[n])]
    if stale:
        for n, facts in zip(stale, _examine([wanted[n] for n in stale], rule), strict=True):
            index[keys[n]] = {"stamp": stamps[n], **asdict(facts)}
        # an error is not kept: permissions may be mended without the file's time changing
        _write(_file(folder), {k: e for k, e in index.items() if e["stamp"] and not e["error"]})
    found = [_facts(index[key]) for key in keys]
    for (path, kind), stamp, facts in zip(wanted, stamps, found, strict=True):
        remember(path, kind, stamp, facts)
    return {path: facts for (path, _), facts in zip(wanted, found, strict=True)}


def image_facts(path: Path, rule: PixelRule = PLAIN) -> Facts:
    """The facts of an image file: from this process's memory, the index of a folder above it, or the file.

    Raises:
        DataError: the file is missing, too large for the rule, or no image.
    """
    stamp = _stamp(path)
    facts = known_facts(path, stamp, ("image",)) or _facts_from_bytes(path, "image", rule)
    if facts.error:
        raise DataError(f"{path}: not a readable image ({facts.error})")
    remember(path, "image", stamp, facts)
    return facts


def known_facts(path: Path, stamp: Stamp | None, kinds: Sequence[Kind]) -> Facts | None:
    """What is known of a file in this state, without reading it."""
    if stamp is None:
        return None
    for kind in kinds:
        entry = _known.get((kind, str(path)))
        if entry is not None and entry[0] == stamp:
            return entry[1]
    for folder in list(path.parents)[:ABOVE]:
        stored = _remembered(folder)
        for kind in kinds:
            entry = stored.get(_key(folder, path, kind))
            if entry is not None and _holds(entry, stamp):
                return _facts(entry)
    return None


def decode_mask(
    path: Path, orientation: int | None = None, sha256: str = "", rule: PixelRule = PLAIN
) -> np.ndarray:
    """A mask file as uint8 (height, width), zero where nothing is marked.

    Args:
        path: the file.
        orientation: EXIF orientation that is applied; None for its own.
        sha256: of the file that is expected, if it matters.
        rule: of the data set.

    Raises:
        DataError: the file is missing, truncated, no image, not of one channel with 8 bits, or another one
            than expected.
    """
    try:
        data = content(path, rule.most_bytes)
        if sha256:
            same(path, sha256, hashlib.sha256(data).hexdigest())
        return mask_decoding.mask(data, orientation, rule)
    except decoding.UNREADABLE as error:
        raise DataError(f"{path}: not a readable mask ({reason(error)})") from error


def same(path: Path, planned: str, found: str) -> None:
    """Hold the content hash of a file against the one that was planned with.

    Raises:
        DataError: they differ.
    """
    if planned != found:
        raise DataError(
            f"{path}: the file was changed during the sweep; its content is not the one that was planned with"
        )


def mask_values(pixels: np.ndarray) -> tuple[int, ...]:
    """The distinct non-zero values of a uint8 mask, ascending."""
    counts = Image.fromarray(pixels).histogram()  # ten times as fast as np.bincount or np.unique
    return tuple(value for value in range(1, 256) if counts[value])


def _examine(files: Sequence[tuple[Path, Kind]], rule: PixelRule) -> list[Facts]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda item: _facts_from_bytes(item[0], item[1], rule), files))


def _facts_from_bytes(path: Path, kind: Kind, rule: PixelRule) -> Facts:
    sha = ""
    try:
        data = content(path, rule.most_bytes)
        sha = hashlib.sha256(data).hexdigest()
        if kind == "file":
            return Facts(sha)
        head = decoding.header(io.BytesIO(data))
        facts = Facts(sha, head.stored, (), "", head.depth, head.orientation)
        return facts if kind == "image" else _mask_facts(facts, data, rule)
    except decoding.UNREADABLE as error:
        return Facts(sha, error=reason(error))


def _mask_facts(facts: Facts, data: bytes, rule: PixelRule) -> Facts:
    assert facts.size is not None
    if problem := rule.problem(facts.size, "8"):  # before it is decoded
        raise ValueError(problem)
    pixels, form = mask_decoding.mask(data, 1, rule), mask_decoding.mask_form(data)
    values, covered = mask_values(pixels)[:MOST_VALUES], float((pixels > 0).mean()) if pixels.size else 0.0
    return Facts(facts.sha256, facts.size, values, "", "8", facts.orientation, covered, *form)


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path)
    except OSError:
        return None


def remember(path: Path, kind: Kind, stamp: Stamp | None, facts: Facts) -> None:
    """Keep what was read from a file in a certain state, in this process."""
    if stamp is not None and not facts.error:
        _known[kind, str(path)] = (stamp, facts)


def _holds(entry: Any, stamp: Stamp | None) -> bool:
    return stamp is not None and entry is not None and tuple(entry["stamp"]) == stamp


def _facts(entry: Mapping[str, Any]) -> Facts:
    given = {k: v for k, v in entry.items() if k != "stamp"}
    size = tuple(entry["size"]) if entry["size"] else None
    return Facts(**(given | {"size": size, "values": tuple(entry["values"])}))


def _key(folder: Path, path: Path, kind: str) -> str:
    return f"{kind}:{os.path.relpath(path, folder)}"


def _file(folder: Path) -> Path:
    return _file_in(cache_root(), folder)


@lru_cache(maxsize=4096)
def _file_in(cache: Path, folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return cache / "digests" / f"{name}.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_bytes())
        entries = stored["files"] if stored["version"] == VERSION else {}
        return {k: e for k, e in entries.items() if set(e) == _FIELDS}
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
