"""Names that come out of files and file systems, made safe to be paths and to be written down."""

import hashlib
import re
from pathlib import Path, PurePosixPath

from harness.errors import DataError

LONGEST = 100  # characters of a component; file systems take 255 bytes
_OTHER = re.compile(r"[^\w.,+=()@ -]")  # whatever means something to a file system or cannot be seen


def component(name: str) -> str:
    """One file name, or part of one, made of any text; different texts stay different.

    >>> component("fewshot-2")
    'fewshot-2'
    >>> component("a/../b")
    'a_.._b-900ea8b7'
    """
    plain = _OTHER.sub("_", name).strip(" .")
    if plain == name and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: LONGEST - 9]}-{digest}".lstrip("-")


def below(folder: Path, name: str) -> Path:
    """The path of a name with forward slashes below a folder.

    Raises:
        DataError: it would lie elsewhere.
    """
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        raise DataError(f"{name!r} does not lie below {folder}")
    return folder / relative


def spelt(text: str) -> str:
    r"""Text that can be written as UTF-8.

    >>> spelt("bad/\udcff.png")
    'bad/\\xff.png'
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a character, not a byte of a file name
        return text.encode("utf-8", "backslashreplace").decode()
