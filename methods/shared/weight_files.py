"""What a file of weights is, before anything is trained with it: found without torch, in words for people.

Planning asks this of every file that a sweep names, so that a pointer, a web page or a program is refused
before the first second of a GPU, with what it is, what is wanted and how to get there.
"""

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from harness.errors import WeightsError
from methods.shared.unpickling import Inert, Shape, ShapeUnpickler

T = TypeVar("T")
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")  # under which .pth files keep their table
PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "backbone.", "encoder.", "visual.")  # of wrappers
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first object of a file of torch < 1.6
MOST_HEADER = 100 << 20  # bytes; safetensors itself refuses longer headers
WANTED = "wanted is a table of tensors (.safetensors, or a state_dict saved by torch.save)"


def shapes_of(path: Path) -> Mapping[str, tuple[int, ...]] | None:
    """Key -> shape of every tensor of a weights file; None where only torch could tell (ancient tar files).

    Raises:
        WeightsError: it is no file of weights, with what it is and how to get one.
    """
    stat = path.stat()
    return _shapes_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _shapes_of(path: Path, size: int, changed: int) -> Mapping[str, tuple[int, ...]] | None:
    del changed  # part of the cache key only
    try:
        with open(path, "rb") as file:
            start = file.read(256)
            file.seek(0)
            refuse(path, start, size)
            return _reader(path, start)(path, file)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error


def refuse(path: Path, start: bytes, size: int) -> None:
    """Raise for what is often taken for weights: empty files, pointers, web pages, archives."""
    text = start.lstrip().lower()
    if size == 0:
        raise WeightsError(f"{path}: is empty; {WANTED}")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path}: a Git-LFS pointer of {size} bytes, not the weights that it points to; run "
            "`git lfs pull` where it was cloned, or download the file itself"
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(
            f"{path}: a saved web page, not weights; download the file that the page offers (raw, resolve)"
        )
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf")):
        raise WeightsError(f"{path}: a compressed archive; unpack it and name the file inside; {WANTED}")


Reader = Callable[[Path, BinaryIO], Mapping[str, tuple[int, ...]] | None]


def _reader(path: Path, start: bytes) -> Reader:
    if path.suffix == ".safetensors":
        return _safetensors
    if start.startswith(b"PK"):
        return _zipped
    return _tar if start[257:262] == b"ustar" or b"sys_info" in start[:100] else _legacy


def _safetensors(path: Path, file: BinaryIO) -> Mapping[str, tuple[int, ...]]:
    """Header: its length (8 bytes, little endian), then JSON with shape and offsets of every tensor."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if length > min(MOST_HEADER, size - 8):
        raise WeightsError(f"{path}: no safetensors file (its first 8 bytes are no length), or cut off")
    try:
        header = {k: v for k, v in json.loads(file.read(length)).items() if k != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        shapes = {key: tuple(entry["shape"]) for key, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsError(f"{path}: no safetensors file (its header is not readable)") from error
    if size != 8 + length + end:
        raise WeightsError(
            f"{path}: cut off or added to: {size} bytes, its header promises {8 + length + end}"
        )
    return shapes


def _zipped(path: Path, file: BinaryIO) -> Mapping[str, tuple[int, ...]]:
    try:
        archive = zipfile.ZipFile(file)
        names = archive.namelist()
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if any(name.endswith("/constants.pkl") for name in names):
            raise WeightsError(torchscript(path))
        if not pickles:
            raise WeightsError(f"{path}: a zip archive that torch.save did not write; {WANTED}")
        with archive.open(pickles[0]) as data:
            return cast(Mapping[str, Shape], table(_unpickled(path, data), path, Shape))
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path}: cut off (an archive without its end), or no archive") from error


def torchscript(path: Path) -> str:
    """The sentence for a program where a table was expected."""
    return (
        f"{path}: a TorchScript program, not a table of tensors; convert it: "
        f"torch.save(torch.jit.load({str(path)!r}, map_location='cpu').state_dict(), 'weights.pth')"
    )


def _tar(path: Path, file: BinaryIO) -> None:
    """A file of torch 0.1: which tensors it holds only torch can tell."""
    del path, file


def _legacy(path: Path, file: BinaryIO) -> Mapping[str, tuple[int, ...]]:
    """Torch < 1.6: magic number, protocol and system as pickles of their own, then the object."""
    if _unpickled(path, file) != LEGACY_MAGIC:
        raise WeightsError(f"{path}: a pickle that torch.save did not write; {WANTED}")
    for _ in ("protocol", "system"):
        _unpickled(path, file)
    return cast(Mapping[str, Shape], table(_unpickled(path, file), path, Shape))


def _unpickled(path: Path, file: Any) -> Any:
    try:
        return ShapeUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
            OverflowError, MemoryError, RecursionError, UnicodeError, struct.error) as error:  # fmt: skip
        # what a damaged pickle raises is not documented; all of it means the same
        raise WeightsError(f"{path}: no file of weights, or damaged; {WANTED}") from error


def table(state: object, path: Path, tensor: type) -> dict[str, Any]:
    """The one table of tensors inside what a file holds.

    Looked for in this order: the object itself, what a known wrapper ("state_dict") holds, the only entry
    that is a table. A module that was pickled whole is its parameters and buffers. Whatever else lies beside
    the tensors (epochs, arguments, optimisers) is left out.

    Args:
        state: what was unpickled.
        path: for messages.
        tensor: the class that stands for a tensor.

    Raises:
        WeightsError: there is none, or there are several.
    """
    state = _of_module(state) if isinstance(state, Inert) else state
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: holds no table of tensors; {WANTED}")
    inner = {key: _of_module(v) if isinstance(v, Inert) else v for key, v in state.items()}
    tables = {key: found for key, v in inner.items() if isinstance(v, dict) and (found := _plain(v, tensor))}
    chosen = next((tables[name] for name in WRAPPERS if name in tables), None) or _plain(state, tensor)
    if chosen:
        return chosen
    if len(tables) == 1:
        return next(iter(tables.values()))
    what = f"several tables ({', '.join(map(repr, tables))})" if tables else "no table of tensors"
    how = f"; keep one: torch.save(torch.load(FILE)[{next(iter(tables))!r}], 'weights.pth')" if tables else ""
    raise WeightsError(f"{path}: holds {what}{how or '; ' + WANTED}")


def _plain(entries: Mapping[Any, Any], tensor: type) -> dict[str, Any]:
    return {str(key): value for key, value in entries.items() if isinstance(value, tensor)}


def _of_module(module: Inert) -> dict[str, Any]:
    """Key -> tensor of a torch module that was pickled whole, as its `state_dict` would name them."""
    state = module.state if isinstance(module.state, dict) else {}
    own = {**_entries(state, "_parameters"), **_entries(state, "_buffers")}
    for name, child in _entries(state, "_modules").items():
        if isinstance(child, Inert):
            own |= {f"{name}.{key}": value for key, value in _of_module(child).items()}
    return own


def _entries(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = state.get(name)
    return found if isinstance(found, dict) else {}


def unwrapped(state: Mapping[str, T], own: Collection[str]) -> Mapping[str, T]:
    """`state` without the prefix that a wrapper (DataParallel, Lightning, torch.compile) put before its keys.

    Only where the keys fit without it and not with it; entries that lack it belong to the wrapper (its loss,
    its metrics) and are left out. Prefixes may be nested.
    """
    for prefix in PREFIXES:
        bare = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if bare and not state.keys() & set(own):
            found = unwrapped(bare, own)
            if found.keys() & set(own):
                return found
    return state
