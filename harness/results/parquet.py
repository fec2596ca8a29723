"""Parquet files that say whether they are whole.

A file holds its own digest: the sha256 of all of its bytes, with zeros where the digest stands. It is an
entry of the file's metadata, so it is written with its file and at once, goes wherever the file goes, and is
no hindrance to other readers. Page checksums are there too, for programs that know those only.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.confined import spelt
from harness.errors import DamagedFile
from harness.results.schema import SCHEMA_VERSION, VITAL
from harness.whole import whole

KEY = b"ladder_digest"
_PREFIX, _ZEROS = b"sha256:", b"0" * 64
_NEAR = 8  # bytes between key and value at most: lengths and types in Thrift's compact form
# The value alone, as Thrift writes it (71 bytes long, end of a struct): what is left if a bit of KEY flipped.
_VALUE = re.compile(rb"\x47sha256:[0-9a-f]{64}\x00")

# What pyarrow raises over bytes that are no Parquet, or Parquet of something else.
NO_TABLE = (OSError, pa.ArrowException, ValueError, KeyError, TypeError, ArithmeticError, MemoryError)

Stamp = tuple[int, ...]
_seen: dict[Path, Stamp] = {}  # files whose digest was right a moment ago


def write_parquet(path: Path, table: pa.Table) -> None:
    """Put a table in its place, durably, with its digest.

    Raises:
        OSError: it cannot be written; an older file stays as it was.
    """
    with whole(path) as hidden:
        hidden.write_bytes(sealed(table))


def sealed(table: pa.Table) -> bytes:
    """The bytes of a Parquet file with its digest."""
    noted = {"ladder_schema": str(SCHEMA_VERSION), KEY: _PREFIX + _ZEROS}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(noted), sink, compression="zstd", write_page_checksum=True)
    data = bytearray(sink.getvalue())
    place = data.rindex(_PREFIX + _ZEROS) + len(_PREFIX)
    data[place : place + len(_ZEROS)] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def is_whole(data: bytes) -> bool | None:
    """Whether bytes are those of a file as it was written; None for one that has no digest."""
    key = data.rfind(KEY)
    if key < 0:
        return False if _VALUE.search(data) else None
    prefix = data.find(_PREFIX, key, key + len(KEY) + _NEAR + len(_PREFIX))
    if prefix < 0:
        return False
    place = prefix + len(_PREFIX)
    end = place + len(_ZEROS)
    found = hashlib.sha256(data[:place])
    found.update(_ZEROS)
    found.update(memoryview(data)[end:])
    return found.hexdigest().encode() == data[place:end]


def read_parquet(path: Path, schema: pa.Schema, names: Sequence[str] | None = None) -> pa.Table:
    """Columns of a file as `schema` has them; no rows where there is no file.

    Args:
        path: the file; a `key=value` in its path is no column.
        schema: today's columns; those that an older file lacks are null.
        names: which of them, all by default.

    Raises:
        DamagedFile: it cannot be read, or is not what was written.
    """
    wanted = pa.schema([schema.field(name) for name in names or schema.names])
    data = checked_bytes(path)
    if data is None:
        return wanted.empty_table()
    found, known = _decoded(path, data, wanted.names)
    missing = [name for name in VITAL if name in schema.names and name not in known]
    if missing:
        raise DamagedFile(path, f"cannot be read (it has no column {missing[0]})", lost=True)
    return _in_schema(path, found, wanted)


def checked_bytes(path: Path, *, anew: bool = False) -> bytes | None:
    """The bytes of a file whose digest, if it has one, is right; None if there is no such file.

    Args:
        path: the file.
        anew: look again, even if this process has seen the file whole and it has not changed since.

    Raises:
        DamagedFile: it cannot be read, or its digest is wrong.
    """
    try:
        with open(path, "rb") as file:
            stamp = _stamp(os.fstat(file.fileno()))
            data = file.read()
    except OSError as error:
        return absent(path, error)
    if anew or _seen.get(path) != stamp:
        _check(path, data)
        _seen[path] = stamp
    return data


def _check(path: Path, data: bytes) -> None:
    whole = is_whole(data)
    if whole is False:
        raise DamagedFile(path, "is not what was written (its digest differs)", lost=True)
    if whole is None:  # then only reading all of it tells, and that not everything
        _decoded(path, data)


def _decoded(path: Path, data: bytes, names: Sequence[str] | None = None) -> tuple[pa.Table, list[str]]:
    """Columns of a file, and the names of all that it has."""
    try:
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            found, known = file.read(columns=names), file.schema_arrow.names
        found.validate(full=True)  # there may be text that is none
    except NO_TABLE as error:
        raise DamagedFile(path, f"cannot be read ({_words(error)})", lost=True) from error
    return found, known


def absent(path: Path, error: OSError) -> None:
    """None if a path that could not be opened is not there at all.

    Raises:
        DamagedFile: something is there.
    """
    if isinstance(error, IsADirectoryError | NotADirectoryError) and os.path.lexists(path):
        kind = "folder" if path.is_dir() else "file"
        raise DamagedFile(path, f"cannot be read (it is a {kind})", lost=True) from error
    if isinstance(error, FileNotFoundError | NotADirectoryError) and not os.path.lexists(path):
        return
    dangling = isinstance(error, FileNotFoundError)
    why = "a link to what is not there" if dangling else error.strerror or str(error)
    raise DamagedFile(path, f"cannot be read ({why})", lost=False) from error


def _stamp(stat: os.stat_result) -> Stamp:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _in_schema(path: Path, table: pa.Table, schema: pa.Schema) -> pa.Table:
    try:
        columns = [
            table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(len(table), f.type)
            for f in schema
        ]
    except NO_TABLE as error:
        raise DamagedFile(path, f"cannot be read ({_words(error)})", lost=True) from error
    found = pa.table(columns, schema=schema)
    empty = [name for name in VITAL if name in schema.names and found[name].null_count]
    if empty:
        raise DamagedFile(path, f"cannot be read (it has rows without {empty[0]})", lost=True)
    return found


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table; what cannot be text (file names that are not UTF-8, in messages) is spelt out."""
    try:
        return pa.Table.from_pylist(list(rows), schema=schema)
    except UnicodeEncodeError:
        return pa.Table.from_pylist([_spelt(row) for row in rows], schema=schema)


def _spelt(value: Any) -> Any:
    if isinstance(value, str):
        return spelt(value)
    if isinstance(value, Mapping):
        return {_spelt(name): _spelt(item) for name, item in value.items()}
    return [_spelt(item) for item in value] if isinstance(value, list | tuple) else value
