"""Paths that a sweep file names: made absolute, and refused where no file system could hold them."""

import os
import stat
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from harness.addresses import no_path
from harness.errors import ConfigError, nearest

MOST_NAME, MOST_PATH = 255, 4096  # bytes, on every file system that clusters use


def absolute(text: str) -> Path:
    """A path from the command line or a sweep file as workers elsewhere need it; `~` is a home.

    Raises:
        ConfigError: it is empty, names the home of nobody, or is none that a file system can hold.
    """
    if problem := trouble(text):
        raise ConfigError(problem)
    return Path(text).expanduser().absolute()


def trouble(text: str) -> str:
    """What is wrong with a path whatever lies there; empty if nothing is."""
    if not text:
        return "is empty, and no path"
    if "\0" in text:
        return "holds a null character, which no path may"
    if said := no_path(text):
        return said
    try:
        name = os.fsencode(Path(text).expanduser())
    except UnicodeEncodeError:
        return "holds characters that the file system cannot write"
    except RuntimeError:  # Python's word for ~nobody, and for ~ where no home is known
        return f"there is no home {text.partition('/')[0][:80]!r} on this machine"
    return too_long(name)


def too_long(name: bytes) -> str:
    """What is wrong with the length of a path or a part of one; empty if nothing is."""
    if len(name) > MOST_PATH or any(len(part) > MOST_NAME for part in name.split(b"/")):
        return f"is longer than a path can be ({MOST_NAME} bytes a name, {MOST_PATH} in all)"
    return ""


def no_folder(path: Path) -> str:
    """Why `path` is no folder and cannot be made one; empty if it is or can."""
    for part in (path, *path.parents):
        try:
            mode = part.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue  # what is in its way is further up
        except OSError as error:
            return f"{part} cannot be looked at ({error.strerror})"
        return "" if stat.S_ISDIR(mode) else f"{part} is a file, where a folder is wanted"
    return ""


def no_file(path: Path) -> str:
    """Why `path` is no file that can be read to its end; empty if it is one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return f"no file {path}{nearest(path.name, (p.name for p in path.parent.glob('*')))}"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if not stat.S_ISREG(mode):
        return f"{path} is a folder" if stat.S_ISDIR(mode) else f"{path} is no regular file"
    return "" if os.access(path, os.R_OK) else f"{path} cannot be read (Permission denied)"


def _absolute(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return str(absolute(value))
    except ConfigError as error:
        raise ValueError(str(error)) from None


AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]
