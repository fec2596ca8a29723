"""Reads any data set whose categories are folders of one layout."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from harness.datasets.expected import Counts, of_this, unlike
from harness.datasets.folders import Layout, category_folders, read_tree
from harness.datasets.record import CommonOptions, Inspection, Names
from harness.datasets.splits import assemble
from harness.datasets.walk import found_folders


@final
@dataclass(frozen=True)
class LayoutReader:
    """Lists and reads the categories of a data set: `names` is a record's lister, `inspect` its inspector.

    Attributes:
        name: of the data set.
        layout: of a category folder.
        counts: category -> split ("train", "validation", "test good", "test anomalous", "test <label>") ->
            images in the archive; other numbers are noted, and marked in every table.
        closed: a root that holds none of the categories in `counts` is no root of this data set.
    """

    name: str
    layout: Layout
    counts: Mapping[str, Counts] = field(default_factory=dict)
    closed: bool = False

    def names(self, root: Path, options: CommonOptions) -> Names:
        """The category folders of `root`."""
        del options
        found = tuple(category_folders(root, self.layout))
        found = of_this(found, self.counts) if self.closed else found
        return Names(found, found, found)

    def recognises(self, root: Path) -> bool:
        """Whether a category of the archive is below `root`: a record's `recognise`."""
        return any(found_folders(root / category, self.layout.train) for category in self.counts)

    def inspect(self, root: Path, category: str, options: CommonOptions) -> Inspection:
        """One category with everything that is wrong or unusual."""
        return self.inspect_folder(root / category, category, options)

    def inspect_folder(self, folder: Path, category: str, options: CommonOptions) -> Inspection:
        """The same where a category's folder is called otherwise."""
        tree = read_tree(folder, self.layout)
        marks, notes = unlike(category, tree, self.counts.get(category, {}))
        split, problems = assemble(
            (self.name, category, folder),
            tree,
            marks=[*marks, *options.marks],
            pixels=options.pixels,
            duplicates=options.allow_duplicates,
        )
        return Inspection(split, problems, [*tree.notes, *notes])
