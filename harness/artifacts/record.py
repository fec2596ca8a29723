"""An array as bytes, and the 64 bytes that say where they lie; both with a checksum.

CRC-32 finds every error of up to 32 neighbouring bits, and any other but one in 2³²; zlib's runs at 1 to
4 GB/s, the fastest that comes with Python.
"""

import ast
import struct
import zlib
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import descr_to_dtype, dtype_to_descr
from numpy.typing import NDArray

Array = NDArray[Any]
Raw = bytes | memoryview

ALIGNMENT = 64  # of an array's first byte, as vector instructions and torch like it
SMALL = 64 << 10  # bytes; up to here an array is read into memory, above it is mapped
ENTRY_BYTES = 64
STRUCK_OUT = bytes(32)  # the key of an entry that is no more
_ENTRY = struct.Struct("<32sQQII4s")  # see Entry; then MARK, then the checksum of these 60 bytes
_MARK = b"arr1"  # of this layout


class Damaged(Exception):
    """What lies here is not what was put here."""


class Entry(NamedTuple):
    """Where an array lies.

    Attributes:
        key: of the array, 32 bytes.
        offset: of its head in the data file.
        length: of head and array, bytes.
        head: length of the head, bytes.
        checksum: of head and array.
    """

    key: bytes
    offset: int
    length: int
    head: int
    checksum: int

    def packed(self) -> bytes:
        """The entry as it lies in an index."""
        body = _ENTRY.pack(*self, _MARK)
        return body + zlib.crc32(body).to_bytes(4, "little")

    @staticmethod
    def of(raw: bytes, key: bytes | None = None) -> "Entry":
        """An entry as it lies in an index.

        Raises:
            Damaged: it is none, or that of another key than asked for.
        """
        if len(raw) == ENTRY_BYTES and zlib.crc32(raw[:-4]) == int.from_bytes(raw[-4:], "little"):
            *fields, mark = _ENTRY.unpack_from(raw)
            if key in (None, fields[0]) and mark == _MARK:
                return Entry(*fields)
        raise Damaged


class Encoded(NamedTuple):
    """An array on its way to a pack.

    Attributes:
        pieces: its bytes; one piece if it is small.
        length: of all pieces together.
        head: length of the head that the first piece begins with.
        checksum: of all of it.
    """

    pieces: tuple[Raw, ...]
    length: int
    head: int
    checksum: int

    def joined(self) -> Raw:
        """All of it in one piece."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(map(bytes, self.pieces))


def encoded(array: Array) -> Encoded:
    """An array in C order behind a head that says its type and shape.

    Raises:
        ValueError: its type cannot be said in words (Python objects, types of other libraries).
    """
    head = _head(array.dtype, array.shape)
    body = _flat(array)
    length = len(head) + body.nbytes
    if length <= SMALL:
        joined = head + body.tobytes()
        return Encoded((joined,), length, len(head), zlib.crc32(joined))
    return Encoded((head, body), length, len(head), zlib.crc32(body, zlib.crc32(head)))


def decoded(raw: Raw, head: int) -> Array:
    """The array in bytes whose checksum has held; read-only, and a view of them.

    Raises:
        Damaged: the head makes no sense all the same.
    """
    try:
        dtype, shape = _meaning(bytes(raw[:head]))
        if len(raw) == head:  # no element: `frombuffer` refuses
            array = np.empty(shape, dtype)
        else:
            array = np.frombuffer(raw, dtype, offset=head).reshape(shape)
    except (ValueError, SyntaxError, TypeError) as error:
        raise Damaged from error
    array.flags.writeable = False
    return array


def _flat(array: Array) -> memoryview:
    """The bytes of an array in C order, copied only where they are not."""
    if not array.size:  # cannot be viewed as bytes
        return memoryview(b"")
    return np.asarray(array, order="C").reshape(-1).view(np.uint8).data


@lru_cache(maxsize=1024)
def _head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    description = dtype_to_descr(dtype)
    if dtype.hasobject or descr_to_dtype(description) != dtype:
        raise ValueError(f"arrays of type {dtype} cannot be kept")
    text = repr((description, shape)).encode()
    return text.ljust(-(-len(text) // ALIGNMENT) * ALIGNMENT)


@lru_cache(maxsize=1024)
def _meaning(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    description, shape = ast.literal_eval(head.decode().strip())
    dtype = descr_to_dtype(description)
    if dtype.hasobject or prod(shape) < 0:
        raise ValueError
    return dtype, shape
