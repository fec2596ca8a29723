"""Who computes what: a key that several processes want at once is computed by one of them.

A claim is a file that lists keys, locked by its writer for as long as the computation takes: one lock per
batch of keys, cheap or dear, some 50 µs, so that nobody has to say which operations are dear. (A lock per
key is not cheap either way: a file each, or a byte each of one file, which the system keeps in a list
that it searches for every further byte.) Whoever is killed leaves a file that is no longer locked; the next
who looks removes it.

Claims are read and written under a second lock, which nobody holds for longer than that takes. Where there
are no such locks, or none may be written, everybody has every claim: then a key may be computed twice, and
is right both times.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, final
from uuid import uuid4

from harness.artifacts import locking

KEY_BYTES = 32


@final
class Claims:
    """The claims on keys of one operation.

    Args:
        folder: where they lie; need not be there.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    @contextmanager
    def on(self, keys: Sequence[bytes]) -> Iterator[set[bytes]]:
        """Claim what nobody else has claimed of `keys`, until the block ends; does not wait for them."""
        free, file = self._claimed(keys)
        try:
            yield free
        finally:
            if file is not None:
                with suppress(OSError), file:
                    Path(file.name).unlink(missing_ok=True)
                    locking.release_file(file)

    def wait(self, key: bytes) -> None:
        """Return once nobody claims a key any more, as far as anybody can tell."""
        with suppress(OSError):
            for path in self._files():
                with suppress(FileNotFoundError), open(path, "rb", buffering=0) as file:
                    if key in _keys(file):
                        locking.hold_file(file, shared=True)
                        locking.release_file(file)

    def _claimed(self, keys: Sequence[bytes]) -> tuple[set[bytes], IO[bytes] | None]:
        """What of `keys` is ours now, and the locked file that says so."""
        try:
            with self._alone():
                free = set(keys) - self._taken()
                return free, _published(self._folder, free) if free else None
        except OSError:
            return set(keys), None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        path = self._folder / "lock"
        try:
            file = open(path, "ab", buffering=0)  # noqa: SIM115
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = open(path, "ab", buffering=0)  # noqa: SIM115
        with file:
            locking.hold_file(file)
            try:
                yield
            finally:
                locking.release_file(file)

    def _taken(self) -> set[bytes]:
        taken: set[bytes] = set()
        for path in self._files():
            with suppress(FileNotFoundError), open(path, "rb", buffering=0) as file:  # given up meanwhile
                try:
                    locking.hold_file(file, wait=False, shared=True)
                except BlockingIOError:
                    taken |= _keys(file)
                else:  # its writer is dead
                    path.unlink(missing_ok=True)
                    locking.release_file(file)
        return taken

    def _files(self) -> list[Path]:
        with os.scandir(self._folder) as entries:
            return [Path(entry.path) for entry in entries if entry.name.endswith(".keys")]


def _published(folder: Path, keys: set[bytes]) -> IO[bytes]:
    file = open(folder / f"{uuid4().hex[:12]}.keys", "xb", buffering=0)  # noqa: SIM115
    try:
        locking.hold_file(file)
        file.write(b"".join(keys))
    except BaseException:
        file.close()
        raise
    return file


def _keys(file: IO[bytes]) -> set[bytes]:
    text = file.read()
    return {text[i : i + KEY_BYTES] for i in range(0, len(text), KEY_BYTES)}
