"""From the samples of a folder to a checked split: mask values, defects, part masks, fingerprint."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from harness.data.decoding import turned_size
from harness.data.index import Facts, Kind, facts_of
from harness.data.masks import exif_hint, form_problem, mask_problem
from harness.data.rule import PLAIN, PixelRule
from harness.data.samples import GOOD, UNLABELLED, DefectType, Sample, Split
from harness.datasets.folders import Tree, sample_id

NEARLY_ALL = 0.9  # of a picture; no defect of the known data sets is larger in most pictures
LEAK_MARK = "test images seen in training"
PARTLY_MASKED = "masks of some defects only"
FINGERPRINT = 1  # raised whenever the fingerprint of unchanged files changes
Known = Mapping[Path, Facts]


@final
@dataclass(frozen=True)
class Parts:
    """Part masks of a category: sample id -> index PNG, and the names of the indices."""

    masks: Mapping[str, Path] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


def assemble(
    place: tuple[str, str, Path],
    tree: Tree,
    defects: Mapping[int, DefectType] | None = None,
    parts: Parts | None = None,
    marks: Iterable[str] = (),
    pixels: PixelRule = PLAIN,
    duplicates: bool = False,
) -> tuple[Split, list[str]]:
    """The split of a category folder and everything that is wrong with its files.

    Args:
        place: name of the data set, of the category, and the category folder.
        tree: its samples.
        defects: mask pixel value -> defect type; None where masks are binary and the folder of an
            abnormal image is its only defect.
        parts: part masks, if there are any.
        marks: what tables must say of it.
        pixels: how its files are read.
        duplicates: whether test images may be training images as well; it is a mark then, else a problem.
    """
    dataset, category, folder = place
    parts = parts or Parts()
    split = Split(
        dataset, category, tree.train, tree.validation, tree.test, dict(defects or {}),
        dict(parts.masks), parts.classes, "", tuple(dict.fromkeys(marks)),
    )  # fmt: skip
    facts = facts_of(folder, _files(split), pixels)
    problems = [*tree.problems, *_problems(split, facts, pixels)]
    leaks = leaked(split, facts)
    problems += [] if duplicates else leaks[:1]
    seen = [LEAK_MARK] if leaks else []
    lacking = [PARTLY_MASKED] if partly_masked(split) else []
    split = replace(split, marks=(*split.marks, *seen, *lacking))
    test = tuple(_with_defects(sample, split, facts, named=defects is not None) for sample in tree.test)
    groups = (tree.train, tree.validation, test)
    train, validation, test = (_pinned(group, split, facts, pixels) for group in groups)
    return finish(replace(split, train=train, validation=validation, test=test), folder, facts), problems


def _pinned(samples: Iterable[Sample], split: Split, facts: Known, rule: PixelRule) -> tuple[Sample, ...]:
    """Samples that know how they are read, and what is in their files now."""

    def pinned(sample: Sample) -> Sample:
        part = split.part_masks.get(sample.id)
        files = (sample.path, *sample.masks, *([part] if part else ()))
        return replace(sample, rule=rule, contents=tuple((path, facts[path].sha256) for path in files))

    return tuple(map(pinned, samples))


def finish(split: Split, folder: Path, facts: Known | None = None) -> Split:
    """The split with the fingerprint of exactly what is in it; names are relative to `folder`."""
    facts = facts if facts is not None else facts_of(folder, _files(split))  # all known by now
    return replace(split, fingerprint=_fingerprint(split, folder, facts))


def _files(split: Split) -> list[tuple[Path, Kind]]:
    samples = split.train + split.validation + split.test
    images: list[tuple[Path, Kind]] = [(sample.path, "image") for sample in samples]
    masks: list[tuple[Path, Kind]] = [(path, "mask") for sample in split.test for path in sample.masks]
    parts: list[tuple[Path, Kind]] = [(path, "image") for path in split.part_masks.values()]
    return images + masks + parts


def _problems(split: Split, facts: Known, rule: PixelRule) -> list[str]:
    samples = split.train + split.validation + split.test
    unreadable = [f"{path}: not readable ({f.error})" for path, f in facts.items() if f.error]
    refused = [_refused(sample.path, facts[sample.path], rule) for sample in samples]
    masks = [_mask(sample, path, facts, split, rule) for sample in split.test for path in sample.masks]
    sizes = [_part(sample, split, facts) for sample in samples]
    found = refused + masks + sizes + [inverted(split, facts, rule)]
    return unreadable + [problem for problem in found if problem]


def leaked(split: Split, facts: Known) -> list[str]:
    """Test images with the bytes of a training or validation image: one sentence, which names the first."""
    learnt: dict[str, Sample] = {}
    for sample in (*split.train, *split.validation):
        learnt.setdefault(facts[sample.path].sha256, sample)
    pairs = [(s, learnt[sha]) for s in split.test if (sha := facts[s.path].sha256) and sha in learnt]
    if not pairs:
        return []
    (test, train), more = pairs[0], f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return [
        f"{test.path}: the same file as {train.path}{more}: test images that were seen in training; remove "
        "them, or say `allow_duplicates: true` under `dataset:`, which marks every table"
    ]


def partly_masked(split: Split) -> bool:
    """Whether some abnormal images have masks and others have none."""
    masked = {bool(sample.masks) for sample in split.test if sample.label != GOOD}
    return len(masked) > 1


def _refused(path: Path, known: Facts, rule: PixelRule) -> str:
    problem = rule.problem(known.size, known.depth) if known.size else ""
    return f"{path}: {problem}" if problem else ""


def _mask(sample: Sample, path: Path, facts: Known, split: Split, rule: PixelRule) -> str:
    known, image = facts[path], facts[sample.path]
    if known.error or known.size is None:
        return ""  # reported as unreadable
    size = turned_size(known.size, rule.mask_turn(known.orientation, image.orientation))
    problem = mask_problem(size, image.shown, known.values, split) or form_problem(known, split, rule)
    hint = exif_hint(known, image) if image.shown not in (None, size) else ""
    return f"{path}: {problem}{hint}" if problem else ""


def inverted(split: Split, facts: Known, rule: PixelRule) -> str:
    """The sentence for masks most of which mark nearly the whole picture; empty if they do not.

    Where mask values name defect types a full mask is meant (a missing part); where anything but 0 counts it
    is mostly an inverted mask, or a palette whose second colour is black.
    """
    masks = [path for sample in split.test for path in sample.masks]
    full = [path for path in masks if facts[path].covered > NEARLY_ALL]
    if split.defects or rule.mask_invert is not None or 2 * len(full) <= len(masks):
        return ""
    share, count = facts[full[0]].covered, f"{len(full)} of {len(masks)}"
    return (
        f"{full[0]}: marks {share:.0%} of its picture, and {count} masks mark nearly all of theirs; "
        "say `pixels: {mask_invert: true}` under `dataset:` if black is marked, `false` if it is meant so"
    )


def _part(sample: Sample, split: Split, facts: Known) -> str:
    path = split.part_masks.get(sample.id)
    if path is None:
        return ""
    size, image = facts[path].size, facts[sample.path]  # label numbers are read as they are stored
    if size is None or image.shown in (None, size):
        return ""
    turned = "; an EXIF orientation tag turns the image" if image.orientation > 1 else ""
    return f"{path}: the part mask has another size than its image {sample.path}{turned}"


def _with_defects(sample: Sample, split: Split, facts: Known, named: bool) -> Sample:
    if not sample.masks and (named or sample.label in (GOOD, UNLABELLED)):
        return sample
    if not named:
        return replace(sample, defects=sample.defects or (sample.path.parent.name,))
    values = sorted({value for path in sample.masks for value in facts[path].values}, reverse=True)
    names = [split.defects[value].name for value in values if value in split.defects]
    return replace(sample, defects=tuple(dict.fromkeys(names)))


def _fingerprint(split: Split, folder: Path, facts: Known) -> str:
    """sha256 over roles, names, labels and contents; independent of where the folder lies."""
    lines = [
        [
            role,
            s.id,
            s.label,
            _content(s, facts),
            *_masks(s, folder, facts),
            _part_sha(s, split, facts),
        ]
        for role, samples in _roles(split)
        for s in sorted(samples, key=lambda sample: sample.id)
    ]
    types = sorted(
        [value, d.name, float(d.saturation_threshold), d.relative_saturation]
        for value, d in split.defects.items()
    )
    text = json.dumps([FINGERPRINT, lines, types, split.part_classes], separators=(",", ":"))
    # surrogateescape: of file names that are not UTF-8, which are refused only after everything was looked at
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _roles(split: Split) -> Sequence[tuple[str, Sequence[Sample]]]:
    return ("train", split.train), ("validation", split.validation), ("test", split.test)


def _content(sample: Sample, facts: Known) -> str:
    known = facts[sample.path]
    return sample.rule.key(known.sha256, known.depth, known.orientation)


def _masks(sample: Sample, folder: Path, facts: Known) -> list[list[str]]:
    image = facts[sample.path]
    found = ((path, facts[path]) for path in sample.masks)
    turns = [(path, f.sha256, sample.rule.mask_turn(f.orientation, image.orientation)) for path, f in found]
    return [[sample_id(folder, path), sample.rule.mask_key(sha, turn)] for path, sha, turn in turns]


def _part_sha(sample: Sample, split: Split, facts: Known) -> str:
    path = split.part_masks.get(sample.id)
    return facts[path].sha256 if path is not None else ""
