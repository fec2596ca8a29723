"""Which training images a few-shot trial sees: drawn from (data set, category, split seed) alone."""

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, final

import numpy as np
import yaml

from harness.data.samples import Sample
from harness.errors import DataError, nearest

Manifest = str | Path | Mapping[str, Any]
EVERY = "*"  # stands for the categories that a table does not name


@final
@dataclass(frozen=True)
class How:
    """What some rules draw from besides images and seed.

    Attributes:
        manifest: of "manifest": a JSON or YAML file, or its content: category -> list of file names, or
            category -> seed -> list; k takes the first k of a list.
        offset: of "first_k": so many images are passed over.
        before: of "shuffle": category -> its number of training images, in the order of the run that drew all
            of them from one generator; a category that is not among them is drawn as if it were the first.
        indices: of "indices": category, or `EVERY`, -> number of shots -> places in path order.
    """

    manifest: Manifest | None = None
    offset: int = 0
    before: Mapping[str, int] = field(default_factory=dict)
    indices: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)


PLAIN = How()


def draw(
    train: Sequence[Sample],
    shots: int | None,
    split_seed: int,
    rule: str = "nested",
    manifest: Manifest | None = None,
    *,
    dataset: str,
    category: str,
    how: How = PLAIN,
) -> tuple[Sample, ...]:
    """The support set of a trial: k training images, or all of them.

    Args:
        train: the training images of the category, in any order.
        shots: k, or None for every image (in path order, whatever the rule).
        split_seed: which of the draws.
        rule: "nested" (a permutation; k=1 is a prefix of k=2), "per_subtype" (the same, k images of each
            product type), "vand2025" (`torch.randperm` as in the VAND 3.0 challenge), "first_k",
            "block" (images seed*k to (seed+1)*k), "shuffle" (`random.shuffle`, the categories of a run one
            after the other), "sample" (`random.sample`, another set for every k), "indices" or "manifest".
        manifest: of the rule "manifest", see `How`.
        dataset: name of the data set; seeds the permutation and names the place in messages.
        category: likewise; a sub-type has its own permutation.
        how: what some rules need besides.

    Raises:
        DataError: unknown rule, more shots than images, a seed or file name that is not there.
    """
    ordered = sorted(train, key=lambda sample: sample.id)
    where = f"{dataset} {category}"
    if shots is None:
        return tuple(ordered)
    if rule not in RULES:
        raise DataError(f"unknown draw rule {rule!r}{nearest(rule, RULES)}; known: {', '.join(RULES)}")
    if shots < 1:
        raise DataError(f"{where}: shots must be at least 1 or full, not {shots}")
    how = how if manifest is None else replace(how, manifest=manifest)
    drawn = RULES[rule](ordered, shots, _Seed(dataset, category, split_seed), how)
    if len(drawn) < shots:
        raise DataError(f"{where}: {shots} shots asked for, {len(ordered)} training images available")
    return tuple(drawn)


class _Seed:
    """What a draw may depend on."""

    def __init__(self, dataset: str, category: str, number: int):
        self.dataset, self.category, self.number = dataset, category, number

    def order(self, sample: Sample) -> bytes:
        """A sort key that looks random; the same on every platform, and for every subset of the images."""
        text = json.dumps([self.dataset, self.category, self.number, sample.id])
        return hashlib.sha256(text.encode()).digest()


def _nested(ordered: Sequence[Sample], shots: int, seed: _Seed, how: How) -> list[Sample]:
    del how
    return sorted(ordered, key=seed.order)[:shots]


def _per_subtype(ordered: Sequence[Sample], shots: int, seed: _Seed, how: How) -> list[Sample]:
    types = sorted({sample.subtype or "" for sample in ordered})
    if types in ([], [""]):
        raise DataError(f"{seed.dataset} {seed.category}: the draw rule 'per_subtype' needs sub-types")
    groups = [[s for s in ordered if (s.subtype or "") == name] for name in types]
    for name, group in zip(types, groups, strict=True):
        if len(group) < shots:
            raise DataError(
                f"{seed.dataset} {seed.category}/{name}: {shots} shots asked for, "
                f"{len(group)} training images available"
            )
    return [sample for group in groups for sample in _nested(group, shots, seed, how)]


def torch_randperm(n: int, seed: int) -> list[int]:
    """`torch.manual_seed(seed); torch.randperm(n)` on the CPU, for n below 2**32 / 20, without torch.

    A Fisher-Yates shuffle from the front, each step taking one 32-bit output of MT19937 modulo what is left.
    """
    raw = np.random.RandomState(seed & 0xFFFFFFFF).randint(0, 1 << 32, size=max(n - 1, 0), dtype=np.uint32)
    order = list(range(n))
    for i, value in enumerate(raw.tolist()):
        j = i + value % (n - i)
        order[i], order[j] = order[j], order[i]
    return order


def _vand2025(ordered: Sequence[Sample], shots: int, seed: _Seed, how: How) -> list[Sample]:
    del how
    return [ordered[i] for i in torch_randperm(len(ordered), seed.number)[:shots]]


def _first_k(ordered: Sequence[Sample], shots: int, seed: _Seed, how: How) -> list[Sample]:
    last = how.offset + shots
    if how.offset and last > len(ordered):
        where = f"{seed.dataset} {seed.category}"
        raise DataError(
            f"{where}: {shots} shots from image {how.offset} on need {last} training images, "
            f"{len(ordered)} are available"
        )
    return list(ordered[how.offset : last])


def _block(ordered: Sequence[Sample], shots: int, seed: _Seed, how: How) -> list[Sample]:
    del how
    drawn = list(ordered[seed.number * shots : (seed.number + 1) * shots])
    if len(drawn) < shots:
        raise DataError(
            f"{seed.dataset} {seed.category}: block {seed.number} of {shots} shots needs "
            f"{(seed.number + 1) * shots} training images, {len(ordered)} are available"
        )
    return drawn


def _shuffle(ordered: Sequence[Sample], shots: int, seed: _Seed, how: How) -> list[Sample]:
    """`random.seed(seed)` once, then `random.shuffle` of the sorted paths of one category after the other."""
    generator = random.Random(
        seed.number
    )  # MT19937 and its use are the same on every platform since Python 3.2
    earlier = takewhile(lambda name: name != seed.category, how.before if seed.category in how.before else ())
    for size in (how.before[name] for name in earlier):
        generator.shuffle(list(range(size)))
    mine = list(ordered)
    generator.shuffle(mine)
    return mine[:shots]


def _sample(ordered: Sequence[Sample], shots: int, seed: _Seed, how: How) -> list[Sample]:
    """`random.Random(1000 * k + seed).sample`: the sets of different k have nothing to do with each other."""
    del how
    count = min(shots, len(ordered))  # too few are said by `draw`
    return random.Random(1000 * shots + seed.number).sample(list(ordered), count)


def _indices(ordered: Sequence[Sample], shots: int, seed: _Seed, how: How) -> list[Sample]:
    by_shots = how.indices.get(seed.category) or how.indices.get(EVERY) or {}
    places = by_shots.get(str(shots))
    where = f"{seed.dataset} {seed.category}"
    if places is None or len(places) != shots:
        known = ", ".join(k for k, listed in by_shots.items() if str(len(listed)) == k) or "none"
        raise DataError(f"{where}: the draw rule 'indices' has no list of {shots} shots; there are: {known}")
    if max(places) >= len(ordered) or len(set(places)) < shots:
        raise DataError(f"{where}: places {list(places)} are not {shots} of {len(ordered)} training images")
    return [ordered[place] for place in places]


def _from_manifest(ordered: Sequence[Sample], shots: int, seed: _Seed, how: How) -> list[Sample]:
    manifest = how.manifest
    if manifest is None:
        raise DataError("the draw rule 'manifest' needs a manifest file")
    name = "manifest" if isinstance(manifest, Mapping) else str(manifest)
    listed = _listed(name, _content(manifest), seed)
    if len(listed) < shots:
        raise DataError(
            f"{name}: {seed.category}, seed {seed.number}: {shots} shots asked for, {len(listed)} listed"
        )
    return _named(name, listed[:shots], ordered, seed)


def _content(manifest: Manifest) -> Mapping[str, Any]:
    if isinstance(manifest, Mapping):
        return manifest
    try:  # BaseLoader leaves every scalar a string: 037 is a file name, not octal 31
        content = yaml.load(Path(manifest).read_text(), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{manifest}: not a readable manifest ({error})") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{manifest}: must map categories to lists of file names")
    return content


def _listed(name: str, content: Mapping[str, Any], seed: _Seed) -> list[str]:
    if seed.category not in content:
        known = ", ".join(map(str, content))
        raise DataError(
            f"{name}: no category {seed.category!r}{nearest(seed.category, content)}; has: {known}"
        )
    entry = content[seed.category]
    if isinstance(entry, Mapping):
        by_seed = {str(key): value for key, value in entry.items()}
        if str(seed.number) not in by_seed:
            raise DataError(f"{name}: {seed.category} has no seed {seed.number}; has: {', '.join(by_seed)}")
        entry = by_seed[str(seed.number)]
    if not isinstance(entry, Sequence) or isinstance(entry, str):
        raise DataError(f"{name}: {seed.category}: a list of file names is expected, not {entry!r}")
    return [str(item) for item in entry]


def _named(name: str, listed: Sequence[str], ordered: Sequence[Sample], seed: _Seed) -> list[Sample]:
    known = _by_name(ordered)
    missing = [item for item in listed if item not in known]
    if missing:
        hints = "; ".join(f"{item!r}{nearest(item, known)}" for item in missing)
        raise DataError(f"{name}: {seed.category}: not among the training images: {hints}")
    drawn = [known[item] for item in listed]
    twice = sorted({s.id for s in drawn if drawn.count(s) > 1})
    if twice:
        raise DataError(f"{name}: {seed.category}, seed {seed.number}: listed twice: {', '.join(twice)}")
    return drawn


def _by_name(ordered: Sequence[Sample]) -> dict[str, Sample]:
    """Samples by stem, file name and id; the longer form wins where two are the same."""
    paths = [(PurePosixPath(sample.id), sample) for sample in ordered]
    by_stem = {path.stem: sample for path, sample in paths}
    return by_stem | {path.name: sample for path, sample in paths} | {sample.id: sample for sample in ordered}


RULES: dict[str, Callable[[Sequence[Sample], int, _Seed, How], list[Sample]]] = {
    "nested": _nested,
    "per_subtype": _per_subtype,
    "vand2025": _vand2025,
    "first_k": _first_k,
    "block": _block,
    "shuffle": _shuffle,
    "sample": _sample,
    "indices": _indices,
    "manifest": _from_manifest,
}
