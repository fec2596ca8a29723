"""Content hashes of files and arrays; a file is hashed once per (path, size, modification time)."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.index import stored_digest
from harness.errors import DataError

_known: dict[tuple[str, int, int], str] = {}  # this process; what lies on disk is read by `stored_digest`


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal.

    The answer is taken from this process's memory, then from the index that reading a data set leaves in
    the cache folder, and only then from the bytes.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in _known:
            _known[key] = stored_digest(path, stat.st_size, stat.st_mtime_ns) or _digest_of(path)
        return _known[key]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_digest(array: NDArray[np.generic]) -> str:
    """sha256 of an array's dtype, shape and values, hexadecimal."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
