"""Whether the server would take a submission: its files by name, then what stands in each."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import final

from harness.errors import DataError
from harness.metrics.ahead import ahead
from harness.server.content import wrong
from harness.server.rules import MAPS, MASKS, Size, Wanted

NAMED = 4  # files in one sentence
NO_FILE = "is neither file nor folder"
_BROKEN = (OSError, EOFError, tarfile.TarError, zlib.error, gzip.BadGzipFile)


@final
@dataclass(frozen=True)
class Checked:
    """What was looked at.

    Attributes:
        problems: why the server would refuse it, one sentence each; none if it would not.
        maps, masks: files of either kind that are wanted and there.
    """

    problems: tuple[str, ...]
    maps: int
    masks: int


def check(path: Path, wanted: Wanted) -> Checked:
    """Look a submission over.

    Args:
        path: its folder, or its .tar.gz.
        wanted: the images that it has to be about.

    Raises:
        DataError: nothing is there, or it cannot be read.
    """
    try:
        return _folder(path, wanted) if path.is_dir() else _archive(path, wanted)
    except FileNotFoundError:
        raise DataError(f"{path}: no such submission (a folder, or a .tar.gz)") from None
    except _BROKEN as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _folder(path: Path, wanted: Wanted) -> Checked:
    found = {p.relative_to(path).as_posix(): p for p in path.rglob("*")}
    names = [name for name, p in found.items() if p.is_file()]
    odd = [name for name, p in found.items() if not (p.is_file() or p.is_dir())]
    empty = [name for name, p in found.items() if p.is_dir() and not any(p.iterdir())]
    files = wanted.files(_has_masks(found))
    sizes = {name: files[name] for name in names if name in files}

    def looked(name: str) -> str:
        return wrong(name.split("/")[0], found[name].read_bytes(), sizes[name])

    said = zip(sizes, ahead(looked, sizes, min(8, os.cpu_count() or 1)), strict=True)
    inside = [f"{name}: {NO_FILE}" for name in odd]  # such as a link to nothing
    inside += [f"{name}: {problem}" for name, problem in said if problem]
    there = [*names, *odd, *(name for name in empty if name not in files)]
    return _told([*_by_name(there, files), *inside], sizes)


def _archive(path: Path, wanted: Wanted) -> Checked:
    """The same of a .tar.gz, read from its beginning to its end once for names and once for contents."""
    with tarfile.open(path, "r:gz") as archive:
        members = archive.getmembers()
    problems = [f"{m.name}: {NO_FILE}" for m in members if not (m.isfile() or m.isdir())]
    tops = sorted({m.name.split("/")[0] for m in members})
    if len(tops) != 1 or not _one_folder(members, tops[0]):
        told = ", ".join(tops[:NAMED]) or "nothing"
        problems.append(f"must hold one folder with {MAPS}/ in it; at its top: {told}")
        return Checked(tuple(problems), 0, 0)
    names = {m.name.partition("/")[2] for m in members if not m.isdir()}
    files = wanted.files(_has_masks(names))
    sizes = {name: files[name] for name in sorted(names) if name in files}
    return _told([*problems, *_by_name(names, files), *_inside(path, sizes)], sizes)


def _one_folder(members: Iterable[tarfile.TarInfo], top: str) -> bool:
    parts = [PurePosixPath(m.name).parts for m in members]
    plain = all(".." not in p and not p[0].startswith("/") for p in parts if p)
    return plain and any(p[:2] == (top, MAPS) for p in parts)


def _inside(path: Path, sizes: Mapping[str, Size | None]) -> Iterator[str]:
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            file = archive.extractfile(member) if member.isfile() and name in sizes else None
            if file and (problem := wrong(name.split("/")[0], file.read(), sizes[name])):
                yield f"{name}: {problem}"


def _has_masks(names: Iterable[str]) -> bool:
    return any(name.split("/")[0] == MASKS for name in names)


def _told(problems: Iterable[str], found: Iterable[str]) -> Checked:
    kinds = [name.split("/")[0] for name in found]
    return Checked(tuple(problems), kinds.count(MAPS), kinds.count(MASKS))


def _by_name(names: Iterable[str], files: Mapping[str, Size | None]) -> Iterator[str]:
    """Files that lack, and those that must not be there, folder by folder."""
    there = set(names)
    for folder, lacking in _grouped(files.keys() - there).items():
        whole = not any(name.startswith(f"{folder}/") for name in there)
        yield f"{folder}: missing" if whole else f"{folder}: {_some(lacking)} missing"
    for folder, more in _grouped(there - files.keys()).items():
        yield f"{folder or 'beside the folders of maps'}: {_some(more)} not wanted"


def _grouped(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        folder, _, file = name.rpartition("/")
        found.setdefault(folder, []).append(file)
    return found


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more} {'is' if len(names) == 1 else 'are'}"
