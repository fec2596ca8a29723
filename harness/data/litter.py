"""What lies in folders of images without being meant: of file systems, viewers, archives and editors.

Each of these has been taken for images or for a type of defect somewhere: Jupyter's checkpoints, AppleDouble
files of an archive that was unpacked on another system, thumbnails of network disks, recycle bins.
"""

from collections.abc import Iterator
from pathlib import Path

NAMES = frozenset({
    "@eadir", "__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "lost+found", "#recycle", "$recycle.bin",
    "system volume information", "__pycache__",
})  # fmt: skip


def is_litter(path: Path) -> bool:
    """Whether a file or folder is hidden, or one that systems leave behind."""
    name = path.name.lower()
    return name.startswith(".") or name in NAMES or name.endswith("~")


def without_litter(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, but for litter.

    Raises:
        OSError: it cannot be read.
    """
    return sorted(path for path in folder.iterdir() if not is_litter(path))


def litter(folder: Path, depth: int = 4) -> Iterator[str]:
    """Names of the litter below a folder; what lies inside of it is not looked at."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if is_litter(entry):
            yield entry.name if entry.name.lower() in NAMES or entry.is_dir() else _kind(entry.name)
        elif depth and entry.is_dir() and not entry.is_symlink():
            yield from litter(entry, depth - 1)


def _kind(name: str) -> str:
    """Files of one kind under one name: `._000.png` and `._001.png` are `._*`."""
    return "._*" if name.startswith("._") else ".*" if name.startswith(".") else "*~"
