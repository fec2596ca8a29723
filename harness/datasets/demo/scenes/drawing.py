"""One demo image in memory: who draws which category, from which random numbers, with which defect."""

from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np

from harness.datasets.demo.catalog import Category, Scene
from harness.datasets.demo.scenes import breakfast_box, juice_bottle, pushpins, screw_bag, splicing_connectors
from harness.errors import DataError, nearest

CATEGORIES: dict[str, Category] = {
    module.CATEGORY.name: module.CATEGORY
    for module in (breakfast_box, juice_bottle, pushpins, screw_bag, splicing_connectors)
}
PART_NAMES: dict[str, list[str]] = {name: list(category.parts) for name, category in CATEGORIES.items()}
MIN_SIZE = 64
_ATTEMPTS = 16


def category_of(name: str) -> Category:
    """The demo category of that name.

    Raises:
        DataError: unknown name.
    """
    if name not in CATEGORIES:
        known = ", ".join(CATEGORIES)
        raise DataError(f"unknown demo category {name!r}{nearest(name, CATEGORIES)}; known: {known}")
    return CATEGORIES[name]


def scene(
    category: str,
    seed: int,
    split: str,
    index: int,
    size: int = 256,
    defect: str | Sequence[str] | None = None,
    subtype: str | None = None,
) -> Scene:
    """Draw one image with its part mask and its anomalous regions.

    The result depends on the arguments only. Every `split` name has its own random numbers, so images
    drawn under a name such as `weights` never coincide with those of a generated data set.

    Args:
        category: one of `CATEGORIES`.
        seed: seed of the data set, 0 or more.
        split: any name; `generate` uses `train`, `validation`, `test/good`, `test/logical_anomalies`
            and `test/structural_anomalies`.
        index: number of the image within the split.
        size: shorter image side in pixels, at least 64.
        defect: defect type, several that go together, or None for a good image.
        subtype: product type; None: as `subtype_at` has it.

    Returns:
        The scene; image (h, w, 3) uint8, parts (h, w) uint8, regions with masks (h, w) bool.

    Raises:
        DataError: unknown category, defect or product type, a size below 64,
            or a negative seed or index.
    """
    drawn_by = category_of(category)
    wanted = _wanted(drawn_by, defect)
    if size < MIN_SIZE:
        raise DataError(f"size {size} is too small for a demo image; the least is {MIN_SIZE}")
    if seed < 0 or index < 0:
        raise DataError(f"{category}: seed {seed} and index {index} must not be negative")
    subtype = subtype_at(category, seed, split, index, wanted) if subtype is None else subtype
    if subtype is not None and subtype not in drawn_by.subtypes:
        raise DataError(
            f"{category}: unknown product type {subtype!r}; known: {', '.join(drawn_by.subtypes) or 'none'}"
        )
    only = {d.subtype for d in drawn_by.defects if d.name in wanted and d.subtype}
    if only - {subtype}:
        raise DataError(
            f"{category}: {sorted(wanted)} occur in product type {sorted(only)}, not in {subtype!r}"
        )
    key = [seed, crc32(category.encode()), crc32(split.encode()), index]
    for attempt in range(_ATTEMPTS):
        drawn = drawn_by.draw(np.random.default_rng([*key, attempt]), size, wanted, subtype)
        # a defect that ended up hidden or outside is no defect: draw again
        if all(mask.sum() >= 4 for _, mask in drawn.regions):
            return drawn
    raise DataError(
        f"{category}: {sorted(wanted)} left no visible trace in {_ATTEMPTS} attempts at size {size}"
    )


def _wanted(category: Category, defect: str | Sequence[str] | None) -> frozenset[str]:
    names = [] if defect is None else [defect] if isinstance(defect, str) else list(defect)
    known = [d.name for d in category.defects]
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            raise DataError(f"{category.name}: unknown defect {name!r}{hint}; known: {', '.join(known)}")
    return frozenset(names)


def subtype_at(category: str, seed: int, split: str, index: int, defects: Iterable[str] = ()) -> str | None:
    """The product type of an image: all types in turn, each turn in another order; None if there are none.

    A defect that occurs in one product type only decides it.
    """
    known = category_of(category)
    forced = [d.subtype for d in known.defects if d.name in defects and d.subtype]
    if forced or not known.subtypes:
        return forced[0] if forced else None
    turn, position = divmod(index, len(known.subtypes))
    rng = np.random.default_rng([seed, crc32(category.encode()), crc32(split.encode()), turn, 1])
    return known.subtypes[rng.permutation(len(known.subtypes))[position]]


def defects_at(category: str, seed: int, kind: str, index: int) -> tuple[str, ...]:
    """The defect types of test image `index` of a kind (`logical` or `structural`).

    All types in turn, in an order that depends on the seed; after the first turn every fourth logical
    image has two types at once, where the category has types that go together (as 47 images of LOCO do).
    """
    known = category_of(category)
    names, pairs = known.of_kind(kind), known.pairs
    turn, position = divmod(index, len(names))
    if kind == "logical" and pairs and turn and index % 4 == 0:
        return pairs[(index // 4) % len(pairs)]
    order = np.random.default_rng([seed, crc32(category.encode()), crc32(kind.encode())]).permutation(
        len(names)
    )
    return (names[order[position]],)
