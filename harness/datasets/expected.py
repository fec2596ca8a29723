"""The counts of a data set's specification beside those that were found: a difference is said, and marked."""

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.data.samples import GOOD
from harness.datasets.folders import Tree

UNOFFICIAL = "unofficial split"
Counts = Mapping[str, int]


def by_category(rows: Mapping[str, Sequence[int]]) -> dict[str, dict[str, int]]:
    """Category -> split -> images, of rows (train, test good, test anomalous)."""
    names = ("train", "test good", "test anomalous")
    return {category: dict(zip(names, row, strict=True)) for category, row in rows.items()}


def tree_counts(tree: Tree) -> Counter[str]:
    """Images per split; of the test split by label, and "test anomalous" for all that are not good."""
    test = Counter(f"test {sample.label}" for sample in tree.test)
    test["test anomalous"] = len(tree.test) - test[f"test {GOOD}"]
    return test + Counter({"train": len(tree.train), "validation": len(tree.validation)})


def of_this(found: Sequence[str], expected: Mapping[str, Counts]) -> tuple[str, ...]:
    """Categories that were found; none where the archive has none of them: they are of something else."""
    return tuple(found) if set(found) & set(expected) else ()


def unlike(category: str, tree: Tree, expected: Counts) -> tuple[list[str], list[str]]:
    """The marks and notes of a category whose counts are not those of the archive; none where they are."""
    found = tree_counts(tree)
    other = [f"{k} {found[k]} (archive: {n})" for k, n in expected.items() if found[k] != n]
    if not other:
        return [], []
    return [UNOFFICIAL], [f"{category}: other counts than the official archive: {', '.join(other)}"]
