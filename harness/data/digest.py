"""Content hashes of files and arrays; a file is hashed once in each of its states."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.files import reason, stamp_of
from harness.data.index import Facts, known_facts, remember, same
from harness.errors import DataError


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal.

    The answer is taken from this process's memory, then from the index that reading a data set leaves in
    the cache folder, and only then from the bytes.

    Raises:
        DataError: the file cannot be read, or is a pipe or device.
    """
    try:
        stamp = stamp_of(path)
        facts = known_facts(path, stamp, ("file", "image", "mask"))
        if facts is None:
            facts = Facts(_digest_of(path))
            remember(path, "file", stamp, facts)
        return facts.sha256
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)})") from error


def expect(path: Path, planned: str) -> None:
    """See to it that a file is the one that was planned with, if that is known.

    Raises:
        DataError: it is another one, or cannot be read.
    """
    if planned:
        same(path, planned, file_digest(path))


def _digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_digest(array: NDArray[np.generic]) -> str:
    """sha256 of an array's dtype, shape and values, hexadecimal."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
