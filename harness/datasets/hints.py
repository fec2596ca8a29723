"""Where nothing fits: what was looked for, what is there, and the options under which it would be read."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.data.litter import without_litter
from harness.datasets.walk import found_folders
from harness.errors import HarnessError

SHOWN = 8


class Known(NamedTuple):
    """A layout that is met often: the folders by which it is known, and what stands under `dataset:`."""

    folders: tuple[str, ...]
    options: str
    what: str
    name: str = "folder"


LAYOUTS = (
    Known(
        ("normal_dir", "abnormal_dir"),
        "train: normal_dir, normal: '', held_out: 0.2, abnormal: [abnormal_dir], masks: mask_dir",
        "normal and abnormal images in a folder each",
    ),
    Known(
        ("normal", "abnormal"),
        "train: normal, normal: '', held_out: 0.2, abnormal: [abnormal], masks: null",
        "normal and abnormal images in a folder each",
    ),
    Known(
        ("good", "bad"),
        "train: good, normal: '', held_out: 0.2, abnormal: [bad], masks: null",
        "good and bad images in a folder each",
    ),
    Known(
        ("train/ok", "test/ko"),
        "train: train/ok, normal: test/ok, abnormal: [test/ko], masks: ground_truth",
        "BTAD",
    ),
    Known(("Data/Images/Normal",), "", "VisA as it is distributed", "visa"),
    Known(
        ("OK", "NG"),
        "train: OK/*, normal: '', held_out: 0.2, abnormal: [NG/*/*], mask_ending: .png",
        "Real-IAD without its index",
    ),
)


def hint(root: Path, looked_for: Sequence[str], lister: Callable[[Path], Sequence[str]]) -> str:
    """The end of a message about a folder in which no category was found.

    Args:
        root: the folder.
        looked_for: paths below it by which a category is known.
        lister: names of the categories in a folder; tried one level higher and one lower.
    """
    try:
        there = [path.name + "/" * path.is_dir() for path in without_litter(root)]
    except OSError:
        return ""
    shown = ", ".join(there[:SHOWN]) + (", …" if len(there) > SHOWN else "") if there else "nothing"
    nearer = next(_nearer(root, lister), "") or nearest_layout(root)
    return f"; looked for {' or '.join(looked_for)}; there: {shown}{nearer}"


def _nearer(root: Path, lister: Callable[[Path], Sequence[str]]) -> Iterator[str]:
    """The root that is meant, where the folder given is one level too low or too high."""
    root = root.absolute()
    if root.name in _listed(root.parent, lister):
        yield f"; it is the folder of one category: did you mean {root.parent}?"
    for inner in (path for path in without_litter(root) if path.is_dir()):
        if found := _listed(inner, lister):
            yield f"; {inner.name}/ holds {', '.join(found[:3])}: did you mean {inner}?"


def _listed(folder: Path, lister: Callable[[Path], Sequence[str]]) -> Sequence[str]:
    try:
        return lister(folder)
    except (OSError, HarnessError):
        return ()


def nearest_layout(root: Path) -> str:
    """The layout that this folder, or one inside it, looks like; a clause for the end of a message."""
    try:
        inside = [path for path in without_litter(root) if path.is_dir()][:SHOWN]
    except OSError:
        inside = []
    for layout in LAYOUTS:
        if any(all(_found(folder, name) for name in layout.folders) for folder in (root, *inside)):
            words = ", ".join(filter(None, (f"name: {layout.name}", "root: …", layout.options)))
            return f"; it looks like {layout.what}: dataset: {{{words}}}"
    return ""


def _found(folder: Path, name: str) -> bool:
    try:
        return bool(found_folders(folder, name))
    except OSError:
        return False
