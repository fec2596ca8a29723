"""What the tests of the artifact store share: arrays that follow from their names, children, damage."""

import ctypes
import os
import signal
import traceback
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from harness.artifacts import Array, ArtifactStore, Op

OP = Op("square", {"power": 2})
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
LARGE = 70_000  # bytes: mapped, not copied


def value(name: str) -> Array:
    """The one right array of a name; names that begin with "L" have large ones."""
    seed = zlib.crc32(name.encode())
    length = LARGE if name.startswith("L") else seed % 3000
    return np.random.default_rng(seed).integers(0, 256, length).astype(np.uint8)


def ask(store: ArtifactStore, names: Sequence[str], batch: int = 4) -> list[Array]:
    """Ask for arrays by name and hold every one against what it must be."""
    arrays = store.get_many(OP, names, lambda missing: [value(names[i]) for i in missing], batch=batch)
    for name, array in zip(names, arrays, strict=True):
        np.testing.assert_array_equal(array, value(name), err_msg=name, strict=True)
        assert not array.flags.writeable
    return arrays


def child(action: Callable[[], object]) -> int:
    """Run something in a forked child; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        ctypes.CDLL(None).prctl(
            _DIE_WITH_PARENT, signal.SIGKILL
        )  # a test that fails must not leave it behind
        action()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the child must not go on as pytest
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a child; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def packs(root: Path, suffix: str = "index") -> list[Path]:
    """The files of packs, the oldest first."""
    found = []
    for path in (root / "packed").glob(f"*/*.{suffix}"):
        with suppress(FileNotFoundError):  # evicted meanwhile
            found.append((path.stat().st_mtime_ns, path.name, path))
    return [path for *_, path in sorted(found)]


def put(path: Path, content: bytes) -> None:
    """Replace a file as damage does not: mapped arrays of the old one live on."""
    hidden = path.with_name(".new")
    hidden.write_bytes(content)
    os.replace(hidden, path)
