"""A file that the driver puts into the artifact store: who sees it sees one store with it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final
from uuid import uuid4

from harness.whole import whole


@final
@dataclass(frozen=True)
class Sign:
    """What lies there.

    Attributes:
        path: of the file.
        word: in it; a folder of the same name on another machine has another, or none.
    """

    path: Path
    word: str

    def seen(self) -> bool:
        """Whether this process sees it."""
        with suppress(OSError, ValueError):
            return self.path.read_text(encoding="utf-8") == self.word
        return False


@contextmanager
def put(store: Path | None, run: Path) -> Iterator[Sign | None]:
    """Have one there for a while; None where nothing is stored, or can be.

    Args:
        store: folder of the artifact store.
        run: whose sweep it is: what a killed driver has left is written over by the next.
    """
    sign = store and Sign(store / f".driver-{_short(run)}", uuid4().hex)
    if not sign or not _written(sign):
        yield None
        return
    try:
        yield sign
    finally:
        with suppress(OSError):
            sign.path.unlink(missing_ok=True)


def _short(run: Path) -> str:
    return hashlib.sha256(str(run).encode()).hexdigest()[:12]


def _written(sign: Sign) -> bool:
    with suppress(OSError), whole(sign.path, durable=False) as hidden:
        hidden.write_text(sign.word, encoding="utf-8")
        return True
    return False
