"""Image files of kinds that Pillow does not write, byte by byte."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

_TYPES = {"u": 1, "i": 2, "f": 3}  # TIFF's sample formats


def png(array: np.ndarray, *before: tuple[bytes, bytes], after: tuple[bytes, bytes] | None = None) -> bytes:
    """A PNG of 8 or 16 bits with further chunks before or after its pixels."""
    colour = {2: 0, 3: {2: 4, 3: 2, 4: 6}[array.shape[2]] if array.ndim == 3 else 0}[array.ndim]
    big = array.astype(array.dtype.newbyteorder(">"))
    size = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 8 * array.itemsize, colour, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in big))
    chunks = [(b"IHDR", size), *before, (b"IDAT", rows), *([after] if after else []), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*c) for c in chunks)


def claimed(width: int, height: int) -> bytes:
    """A few bytes that say they are a black-and-white PNG of this size."""
    size = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*c) for c in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(orientation: int) -> bytes:
    """An EXIF block that says how a picture is turned."""
    tags = Image.Exif()
    tags[274] = orientation
    return tags.tobytes().removeprefix(b"Exif\0\0")


def tiff(array: np.ndarray, orientation: int = 1, black: int = 0) -> bytes:
    """An uncompressed little-endian TIFF of whatever numbers; `black` is the value that is dark, 0 or 1."""
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    bits = struct.pack("<H", 8 * array.itemsize)
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    tags = {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, channels, bits * channels), 259: (3, 1, 1),
        262: (3, 1, 2 if channels > 1 else 1 - black), 273: (4, 1, 0), 274: (3, 1, orientation),
        277: (3, 1, channels), 278: (4, 1, height), 279: (4, 1, len(data)),
        339: (3, channels, struct.pack("<H", _TYPES[array.dtype.kind]) * channels),
    }  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    extra = b""
    lines = []
    for tag, (kind, number, value) in sorted(tags.items()):
        if isinstance(value, bytes) and len(value) > 4:
            extra, value = extra + value, start + len(extra)
        packed = value.ljust(4, b"\0") if isinstance(value, bytes) else struct.pack("<I", value)
        lines.append([tag, kind, number, packed])
    lines = [
        [*line[:3], struct.pack("<I", start + len(extra)) if line[0] == 273 else line[3]] for line in lines
    ]
    entries = b"".join(struct.pack("<HHI", *line[:3]) + line[3] for line in lines)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + b"\0\0\0\0" + extra + data


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """What Pillow writes."""
    file = io.BytesIO()
    image.save(file, form, **options)  # type: ignore[arg-type]
    return file.getvalue()
