"""Reading, mapping and writing files without keeping a descriptor."""

from pathlib import Path
from typing import IO, final

import numpy as np
from numpy.typing import NDArray

FEW = 8  # files that one call keeps open at a time


@final
class Handles:
    """Data files that are open during one call. None stays open longer: they must not grow with a sweep."""

    def __init__(self):
        self._files: dict[Path, IO[bytes]] = {}

    def __enter__(self) -> "Handles":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Bytes of a file; fewer where it ends.

        Raises:
            OSError: it cannot be read.
        """
        file = self._files.get(path)
        if file is None:
            if len(self._files) == FEW:
                self._files.pop(next(iter(self._files))).close()
            file = self._files[path] = open(path, "rb", buffering=0)  # noqa: SIM115
        file.seek(offset)
        found = file.read(length)
        while len(found) < length and (more := file.read(length - len(found))):  # 2 GiB at most at a time
            found += more
        return found


def mapped(path: Path) -> NDArray[np.uint8]:
    """A whole file as memory that is read when it is looked at.

    Python's own maps keep a descriptor each until version 3.13; Arrow's live on when their file is closed.
    Whoever looks behind the end of a file that was cut since is ended by the system (SIGBUS): we only ever
    cut what nobody points at. Files that were removed live on in their maps.

    Raises:
        OSError: it cannot be mapped.
    """
    import pyarrow as pa  # not needed where arrays are small

    try:
        with pa.memory_map(str(path)) as file:
            return np.frombuffer(file.read_buffer(), np.uint8)
    except (pa.ArrowException, ValueError) as error:  # an empty file
        raise OSError(str(error)) from error


def write_all(file: IO[bytes], piece: bytes | memoryview) -> None:
    """All of it; a write to an almost full disk ends early without an error."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]
