"""A folder of pictures that a training uses besides the images of its category."""

from functools import lru_cache
from pathlib import Path

from harness.errors import WeightsError


def listed(folder: str, parameter: str) -> tuple[str, tuple[Path, ...]]:
    """Hash of the names and sizes of the pictures below a folder, and their paths in order.

    Their content is not read: ImageNet would take an hour.

    Args:
        folder: as it was given.
        parameter: that names it, for messages.

    Raises:
        WeightsError: no such folder, or no picture below it.
    """
    return _listed(Path(folder).expanduser(), parameter)


@lru_cache(maxsize=4)
def _listed(folder: Path, parameter: str) -> tuple[str, tuple[Path, ...]]:
    import hashlib

    from harness.data.images import image_files_below

    paths = tuple(image_files_below(folder))
    if not paths:
        raise WeightsError(f"{parameter}: {folder} is no folder with images below it")
    text = "\n".join(f"{p.relative_to(folder).as_posix()} {p.stat().st_size}" for p in paths)
    return hashlib.sha256(text.encode()).hexdigest(), paths
