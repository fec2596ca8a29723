"""Categories whose images stand in an index file (CSV, JSON) instead of in folders of a certain name."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import final

from harness.confined import below
from harness.data.samples import GOOD, Sample
from harness.datasets.folders import Tree, sample_id
from harness.errors import DataError, nearest

TRAIN, TEST = "train", "test"


@final
@dataclass(frozen=True)
class Entry:
    """One image as an index names it.

    Attributes:
        where: file and line, for messages.
        split: "train" or "test".
        label: "good", or what it shows.
        image, mask: paths relative to a root; no mask is empty.
        view_of: see `Sample.view_of`.
    """

    where: str
    split: str
    label: str
    image: str
    mask: str = ""
    view_of: str | None = None


def listed_tree(root: Path, folder: Path, entries: Sequence[Entry], problems: Sequence[str]) -> Tree:
    """The samples that an index names, sorted by their ids, and everything that is wrong; never raises.

    Args:
        root: what the paths of the index are relative to.
        folder: of the category; ids are relative to it.
        entries: of this category.
        problems: what is wrong with the index itself.
    """
    found = _Files(root)
    every = [*problems, *_not_normal(entries), *_twice(entries)]
    every += [] if problems else _empty(folder, entries)
    groups: dict[str, list[Sample]] = {TRAIN: [], TEST: []}
    for entry in entries:
        if wrong := list(found.wrong(entry)):
            every += wrong
        elif entry.split == TEST or entry.label == GOOD:
            groups[entry.split].append(_sample(root, folder, entry))
    train, test = (tuple(sorted(group, key=lambda s: s.id)) for group in groups.values())
    return Tree(train, (), test, tuple(every))


def _sample(root: Path, folder: Path, entry: Entry) -> Sample:
    path = root / entry.image
    masks = (root / entry.mask,) if entry.mask else ()
    defects = () if entry.label == GOOD else (entry.label,)
    return Sample(
        sample_id(folder, path), path, entry.label, defects=defects, masks=masks, view_of=entry.view_of
    )


def _not_normal(entries: Sequence[Entry]) -> list[str]:
    """Training images of what is to be found: such an index is no set of normal images to draw k from."""
    bad = [entry for entry in entries if entry.split == TRAIN and entry.label != GOOD]
    if not bad:
        return []
    return [
        f"{bad[0].where}: {len(bad)} anomalous images are in its training part ({bad[0].image}, …); supports "
        "are drawn from normal images alone, so this index cannot be used"
    ]


def _twice(entries: Sequence[Entry]) -> list[str]:
    counts = Counter(PurePosixPath(entry.image) for entry in entries)  # a//b and a/./b are a/b
    again = [entry for entry in entries if counts[PurePosixPath(entry.image)] > 1]
    return [f"{again[0].where}: {again[0].image} is listed more than once"] if again else []


def _empty(folder: Path, entries: Sequence[Entry]) -> list[str]:
    there = {entry.split for entry in entries}
    return [
        f"{folder}: its index names no image to {split} with" for split in (TRAIN, TEST) if split not in there
    ]


@final
class _Files:
    """What lies below a root; each folder is listed once."""

    def __init__(self, root: Path):
        self.root, self.names = root, cache(_names)

    def wrong(self, entry: Entry) -> Iterator[str]:
        """What keeps an entry from being read."""
        yield from self._absent(entry, entry.image, "image")
        if entry.mask:
            yield from self._absent(entry, entry.mask, "mask")
        if entry.split == TEST and entry.label != GOOD and not entry.mask:
            yield f"{entry.where}: {entry.image} is anomalous and has no mask"
        if entry.label == GOOD and entry.mask:
            yield f"{entry.where}: {entry.image} is normal and has the mask {entry.mask}"

    def _absent(self, entry: Entry, name: str, what: str) -> Iterator[str]:
        try:
            path = below(self.root, name)
        except DataError as error:
            yield f"{entry.where}: {what} {error}"
            return
        there = self.names(path.parent)
        if path.name not in there:
            yield f"{entry.where}: no such {what}: {path}{nearest(path.name, there)}"


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError:
        return frozenset()
