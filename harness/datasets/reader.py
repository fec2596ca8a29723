"""Reads any data set whose categories are folders of one layout."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from harness.data.samples import GOOD
from harness.datasets.folders import Layout, Tree, category_folders, read_tree
from harness.datasets.record import CommonOptions, Inspection, Names
from harness.datasets.splits import assemble


@final
@dataclass(frozen=True)
class LayoutReader:
    """Lists and reads the categories of a data set: `names` is a record's lister, `inspect` its inspector.

    Attributes:
        name: of the data set.
        layout: of a category folder.
        counts: category -> split ("train", "validation", "test good", "test anomalous") -> images in the
            archive; other numbers are noted, and marked in every table.
    """

    name: str
    layout: Layout
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def names(self, root: Path, options: CommonOptions) -> Names:
        """The category folders of `root`."""
        del options
        found = tuple(category_folders(root, self.layout))
        return Names(found, found, found)

    def inspect(self, root: Path, category: str, options: CommonOptions) -> Inspection:
        """One category with everything that is wrong or unusual."""
        tree = read_tree(root / category, self.layout)
        found, expected = _counts(tree), self.counts.get(category, {})
        other = [f"{k} {found[k]} (archive: {n})" for k, n in expected.items() if found[k] != n]
        notes = [f"{category}: other counts than the official archive: {', '.join(other)}"] if other else []
        split, problems = assemble(
            (self.name, category, root / category),
            tree,
            marks=[*(["unofficial split"] if other else []), *options.marks],
            pixels=options.pixels,
            duplicates=options.allow_duplicates,
        )
        return Inspection(split, problems, [*tree.notes, *notes])


def _counts(tree: Tree) -> Counter[str]:
    """Images per split, test images by whether they are good."""
    test = Counter(f"test {'good' if sample.label == GOOD else 'anomalous'}" for sample in tree.test)
    return test + Counter({"train": len(tree.train), "validation": len(tree.validation)})
