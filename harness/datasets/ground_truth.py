"""Which mask files belong to which image."""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from harness.data.images import IMAGE_SUFFIXES, image_files
from harness.data.litter import without_litter
from harness.datasets.walk import there
from harness.errors import DataError

# How data sets name a mask that lies beside its image: KolektorSDD2, DAGM, and many an annotation tool.
_BESIDE = re.compile(r"^(?P<stem>.+?)[_-](gt|mask|label|labels|seg|ground_?truth|annotation)$", re.IGNORECASE)


def beside(paths: Iterable[Path], ending: str) -> dict[Path, Path]:
    """Mask -> image of masks that lie beside their images.

    Args:
        paths: of one folder.
        ending: what follows the image's stem in the mask's name; empty to go by the usual names.
    """
    files = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    if ending:
        masks = {path for path in files if path.name.endswith(ending)}
        stems = {path.stem: path for path in files if path not in masks}
        named = {path: path.name.removesuffix(ending) for path in masks}
    else:
        stems = {path.stem: path for path in files}
        named = {path: m["stem"] for path in files if (m := _BESIDE.match(path.stem))}
    return {mask: stems[stem] for mask, stem in named.items() if stem in stems}


def masks_of(
    root: Path, category: Path, images: Path, stems: Collection[str], problems: list[str]
) -> dict[str, Sequence[Path]]:
    """Stem of an image -> its mask files.

    Looked for in `root/<name of the folder of images>`, in `root/<its path below the category>`, and in
    `root` itself where that holds no folder of this defect.

    Args:
        root: folder of masks.
        category: the category folder.
        images: folder of abnormal images.
        stems: of the images, which decide where names could mean two things.
        problems: what is wrong is added here.
    """
    own = [root / images.name, root / images.relative_to(category)]
    folder = next((path for path in own if there(path)), None)
    try:
        found = _by_stem(folder or root, stems)
    except (OSError, DataError) as error:
        said = (
            str(error)
            if isinstance(error, DataError)
            else f"{folder or root}: cannot be read ({error.strerror})"
        )
        problems.append(said)
        return {}
    if folder is None:
        return {stem: paths for stem, paths in found.items() if stem in stems}  # others are of other defects
    problems += [
        f"{path}: a mask without its image"
        for stem, paths in found.items()
        if stem not in stems
        for path in paths
    ]
    return found


def _by_stem(folder: Path, stems: Collection[str]) -> dict[str, Sequence[Path]]:
    found: dict[str, list[Path]] = {}
    for path in without_litter(folder) if there(folder) else []:
        if path.is_dir():
            found.setdefault(path.name, []).extend(image_files(path))
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(_stem(path, stems), []).append(path)
    return dict(found)


def _stem(path: Path, stems: Collection[str]) -> str:
    """The image's stem: the mask's own first, for there are images called `000_mask.png`."""
    return path.stem if path.stem in stems else path.stem.removesuffix("_mask")
