"""Derives a sub-type manifest: k-means on the colour of a declared region, for a person to review.

Training and validation images are clustered; a test image gets the nearest centroid (reference: the rule
that CLIP-LAD's nine sub-categories imply, product type = colour of the liquid or of the cable). The result
is a proposal: images whose colour fits no cluster are marked ambiguous and shown first on the sheet.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.curate.colours import Array, Pixels, Region, distances, kmeans, region_colour
from harness.data.images import decode
from harness.data.samples import Sample, Split
from harness.data.subtypes import Entry, Manifest
from harness.errors import ConfigError, DataError

LEAST_MARGIN = 0.3  # below it two centroids are about equally near
FAR = 3.0  # times the radius within which 95 % of the training images lie: another colour


@final
@dataclass(frozen=True)
class ColourRule:
    """How the product types of a category are told apart.

    Attributes:
        regions: fractions x0, y0, x1, y1; the first decides, the others are looked at where its colour
            fits no cluster (a label hides the liquid).
        k: number of product types.
        pixels: which pixels of a region count, see `region_colour`.
        hues: name of a type -> Lab (a, b) of its colour; decides which cluster is called what.
        names: names in the order of the clusters' hue angle, where there are no `hues`.
        seed: of k-means.
    """

    regions: tuple[Region, ...]
    k: int = 3
    pixels: Pixels = "all"
    hues: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self):
        names = self.hues or self.names
        problems = [
            f"region {r}: must be x0,y0,x1,y1 with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1"
            for r in self.regions
            if not (0 <= r[0] < r[2] <= 1 and 0 <= r[1] < r[3] <= 1)
        ]
        if not self.regions:
            problems.append("a region is needed: which part of the image shows the product type")
        if self.k < 2:
            problems.append(f"k must be at least 2, not {self.k}")
        if names and len(set(names)) != self.k:
            problems.append(f"{self.k} different names are needed, not {', '.join(names)}")
        if problems:
            raise ConfigError(problems)


COLOUR_RULES = {
    # liquid between the labels; then the gap that swapped labels leave, above and below the labels
    "juice_bottle": ColourRule(
        (
            (0.35, 0.66, 0.60, 0.74),
            (0.35, 0.64, 0.60, 0.67),
            (0.35, 0.38, 0.58, 0.44),
            (0.35, 0.84, 0.60, 0.87),
        ),
        hues={"cherry": (20, 15), "orange": (0, 45), "banana": (0, 20)},
    ),
    # cables cross the middle at changing heights; 2 clamps yellow, 3 blue, 5 red
    "splicing_connectors": ColourRule(
        ((0.42, 0.05, 0.58, 0.95),),
        pixels="chromatic",
        hues={"yellow": (0, 60), "blue": (0, -45), "red": (50, 30)},
    ),
}


@final
@dataclass(frozen=True)
class Proposal:
    """A derived manifest and what a reviewer wants to know of it.

    Attributes:
        manifest: one category.
        sizes: sub-type -> images per split ("train", "validation", "test").
        ambiguous: ids of the images whose type is doubtful, most doubtful first.
    """

    manifest: Manifest
    sizes: Mapping[str, Mapping[str, int]]
    ambiguous: Sequence[str]


def derive(split: Split, recipe: ColourRule, out: Path) -> Proposal:
    """Product types of every image of a category by colour.

    Raises:
        DataError: fewer normal images than types, or an image cannot be decoded.
    """
    normal = split.train + split.validation
    if len(normal) < recipe.k:
        raise DataError(f"{split.category}: {len(normal)} normal images cannot make {recipe.k} product types")
    points = _colours(normal, recipe)[:, 0]
    centroids = kmeans(points, recipe.k, recipe.seed)
    names = _names(centroids, recipe)
    near = distances(points, centroids).min(axis=1)
    reach = FAR * max(float(np.percentile(near, 95)), 1.0)
    entries = _assign(normal, points[:, None], centroids, names, reach, "cluster")
    entries |= _assign(split.test, _colours(split.test, recipe), centroids, names, reach, "nearest centroid")
    how = _how(recipe, centroids, names, reach)
    manifest = Manifest(out, {split.category: entries}, {split.category: how})
    doubtful = sorted((e.margin or 0.0, i) for i, e in entries.items() if e.ambiguous)
    return Proposal(manifest, _sizes(split, entries), [i for _, i in doubtful])


def _colours(samples: Sequence[Sample], recipe: ColourRule) -> Array:
    """Lab colours (n, regions, 3)."""

    def one(sample: Sample) -> list[Array]:
        image: NDArray[np.uint8] = decode(sample.path, sample.rule)
        return [region_colour(image, region, recipe.pixels) for region in recipe.regions]

    with ThreadPoolExecutor(4) as pool:
        return np.array(list(pool.map(one, samples))).reshape(len(samples), len(recipe.regions), 3)


def _names(centroids: Array, recipe: ColourRule) -> list[str]:
    """One name per centroid: by the declared hues, or in the order of hue angle."""
    if recipe.hues:
        from scipy.optimize import linear_sum_assignment

        hues = np.array(list(recipe.hues.values()), dtype=float)
        rows, columns = linear_sum_assignment(distances(centroids[:, 1:], hues))
        return [list(recipe.hues)[columns[list(rows).index(i)]] for i in range(recipe.k)]
    order = np.argsort(np.argsort(np.arctan2(centroids[:, 2], centroids[:, 1]) % (2 * np.pi)))
    names = recipe.names or tuple(f"type{n}" for n in range(1, recipe.k + 1))
    return [names[position] for position in order]


def _assign(
    samples: Sequence[Sample],
    colours: Array,
    centroids: Array,
    names: Sequence[str],
    reach: float,
    rule: str,
) -> dict[str, Entry]:
    return {
        sample.id: _entry(distances(points, centroids), names, reach, rule)
        for sample, points in zip(samples, colours, strict=True)
    }


def _entry(far: Array, names: Sequence[str], reach: float, rule: str) -> Entry:
    """The type of one image from its distances (regions, k)."""
    row = 0 if far[0].min() <= reach else int(far.min(axis=1).argmin())
    first, second = np.sort(far[row])[:2]
    margin = float((second - first) / second) if second > 0 else 0.0
    rule = rule if row == 0 else f"{rule}, region {row + 1}"
    doubtful = bool(first > reach or margin < LEAST_MARGIN)
    return Entry(names[int(far[row].argmin())], rule, doubtful, round(margin, 3))


def _how(recipe: ColourRule, centroids: Array, names: Sequence[str], reach: float) -> dict[str, Any]:
    return {
        "method": "k-means on the mean Lab colour of train and validation images",
        "regions": [list(region) for region in recipe.regions],
        "pixels": recipe.pixels,
        "k": recipe.k,
        "seed": recipe.seed,
        "centroids": {
            name: [round(float(v), 2) for v in c] for name, c in zip(names, centroids, strict=True)
        },
        "ambiguous": f"farther than {reach:.1f} from its centroid, or margin below {LEAST_MARGIN}",
    }


def _sizes(split: Split, entries: Mapping[str, Entry]) -> dict[str, dict[str, int]]:
    groups = {"train": split.train, "validation": split.validation, "test": split.test}
    counts = {name: Counter(entries[s.id].subtype for s in group) for name, group in groups.items()}
    return {
        t: {name: counts[name][t] for name in groups} for t in sorted({e.subtype for e in entries.values()})
    }


@final
@dataclass(frozen=True)
class Agreement:
    """How far two groupings of training images agree under the best matching of their names.

    Attributes:
        agreed, compared: numbers of images.
        differing: ids that the two groupings put apart.
        names: group of the published list -> sub-type.
    """

    agreed: int
    compared: int
    differing: tuple[str, ...]
    names: Mapping[str, str]


def published_groups(category: str) -> dict[str, list[str]]:
    """PSAD's published grouping of LOCO's training images: group -> image ids; empty for other categories."""
    content = json.loads((files("harness.data") / "psad_train_types.json").read_text(encoding="utf-8"))
    groups = content["categories"].get(category, {})
    return {
        group: [f"train/good/{number:03d}.png" for number in numbers] for group, numbers in groups.items()
    }


def agreement(manifest: Manifest, category: str, groups: Mapping[str, Sequence[str]]) -> Agreement:
    """Compare a manifest with a grouping that has no names, over the images in both."""
    from scipy.optimize import linear_sum_assignment

    entries, types = manifest.categories.get(category, {}), manifest.subtypes(category)
    both = {g: [i for i in ids if i in entries] for g, ids in groups.items()}
    table = np.array([[sum(entries[i].subtype == t for i in ids) for t in types] for ids in both.values()])
    if table.size == 0:
        return Agreement(0, 0, (), {})
    rows, columns = linear_sum_assignment(-table)
    names = {list(groups)[r]: types[c] for r, c in zip(rows, columns, strict=True)}
    differing = [i for g, ids in both.items() for i in ids if entries[i].subtype != names.get(g)]
    compared = sum(map(len, both.values()))
    return Agreement(compared - len(differing), compared, tuple(sorted(differing)), names)
