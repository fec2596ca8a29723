"""Product types inside a category ("juice_bottle/cherry"): a versioned manifest, one entry per image.

The form, version 1:

    {"version": 1, "rule": "primary_attribute",
     "categories": {"juice_bottle": {"test/good/000.png": {"subtype": "cherry", "rule": "nearest centroid"}}},
     "how": {"juice_bottle": {"region": [...], "centroids": {...}, ...}}}

An entry may add `"ambiguous": true` (the rule hardly decides), `"margin"` (0 undecided, 1 certain) and
`"nearest_gap"` (the type of the nearest training image in pooled features of a frozen network). Two plain
forms are read as well: `{"juice_bottle/test/good/000.png": "cherry"}` and `{category: {image: type}}`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, final

from harness.data.samples import Sample
from harness.errors import DataError
from harness.whole import whole

VERSION = 1
FILE = "subtypes.json"
SubtypeRule = Literal["primary_attribute", "nearest_gap", "drop_ambiguous"]


@final
@dataclass(frozen=True)
class Entry:
    """The product type of one image.

    Attributes:
        subtype: its name.
        rule: how it was decided, in words.
        ambiguous: whether the rule hardly decided.
        margin: 0 undecided, 1 certain; None if unknown.
        nearest_gap: the type by nearest training image in pooled frozen features, if that was computed.
    """

    subtype: str
    rule: str = ""
    ambiguous: bool = False
    margin: float | None = None
    nearest_gap: str | None = None


@final
@dataclass(frozen=True)
class Manifest:
    """Product types by category and image id.

    Attributes:
        path: where it was read; names the place in messages.
        categories: category -> image id -> entry.
        how: category -> how its entries were derived; for people.
    """

    path: Path
    categories: Mapping[str, Mapping[str, Entry]] = field(default_factory=dict)
    how: Mapping[str, Any] = field(default_factory=dict)

    def subtypes(self, category: str) -> list[str]:
        """Names of the product types of a category, sorted; empty if it has none."""
        return sorted({entry.subtype for entry in self.categories.get(category, {}).values()})


def read_manifest(path: Path, category: str | None = None) -> Manifest:
    """A sub-type manifest from a JSON file, in any of the forms above.

    Args:
        path: the file.
        category: the category of a plain file that lies inside one category folder.

    Raises:
        DataError: unreadable, another version, or an entry of another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable sub-type manifest ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: a sub-type manifest is a JSON object, not a {type(content).__name__}")
    if "version" not in content:
        return Manifest(path, _entries(path, _plain(path, content, category)))
    if content["version"] != VERSION:
        raise DataError(
            f"{path}: sub-type manifest of version {content['version']!r}; version {VERSION} is read"
        )
    categories = content.get("categories")
    if not isinstance(categories, dict):
        raise DataError(f"{path}: 'categories' must map categories to images")
    return Manifest(path, _entries(path, categories), content.get("how", {}))


def _plain(path: Path, content: Mapping[str, Any], category: str | None) -> Mapping[str, Any]:
    if all(isinstance(value, dict) for value in content.values()):
        return content
    if category is not None:
        return {category: content}
    found: dict[str, dict[str, Any]] = {}
    for name, value in content.items():
        first, slash, image = name.partition("/")
        if not slash:
            raise DataError(f"{path}: {name!r} must be written category/split/folder/file")
        found.setdefault(first, {})[image] = value
    return found


def _entries(path: Path, categories: Mapping[str, Any]) -> dict[str, dict[str, Entry]]:
    for category, images in categories.items():
        if not isinstance(images, dict):
            raise DataError(f"{path}: {category}: must map images to sub-types")
    return {c: {i: _entry(path, c, i, e) for i, e in images.items()} for c, images in categories.items()}


def _entry(path: Path, category: str, image: str, value: Any) -> Entry:
    fields: Any = {"subtype": value} if isinstance(value, str) else value
    kinds = {"subtype": str, "rule": str, "ambiguous": bool, "margin": (int, float), "nearest_gap": str}
    fits = isinstance(fields, dict) and set(fields) <= set(kinds) and "subtype" in fields
    if not fits or not all(isinstance(field, kinds[name]) for name, field in fields.items()):
        raise DataError(
            f"{path}: {category}: {image}: must be the name of a sub-type or an object with 'subtype' "
            f"(and perhaps {', '.join(list(kinds)[1:])}), not {value!r}"
        )
    if not fields["subtype"] or "/" in fields["subtype"]:
        raise DataError(f"{path}: {category}: {image}: {fields['subtype']!r} is no name of a sub-type")
    return Entry(**fields)


def write_manifest(manifest: Manifest) -> None:
    """Write a manifest to its path, atomically; other categories already in that file are kept.

    Raises:
        DataError: the file cannot be written, or what lies there is no manifest.
    """
    path = manifest.path
    old = read_manifest(path) if path.exists() else Manifest(path)
    categories = {**old.categories, **manifest.categories}
    content = {
        "version": VERSION,
        "rule": "primary_attribute",
        "categories": {c: {i: _plain_entry(e) for i, e in sorted(x.items())} for c, x in categories.items()},
        "how": {**old.how, **manifest.how},
    }
    _replace(path, json.dumps(content, indent=1))


def _plain_entry(entry: Entry) -> dict[str, Any]:
    return {k: v for k in Entry.__dataclass_fields__ if (v := getattr(entry, k)) not in (None, False, "")}


def _replace(path: Path, text: str) -> None:
    try:
        with whole(path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def with_subtypes(
    samples: Iterable[Sample], manifest: Manifest, category: str, rule: SubtypeRule
) -> tuple[Sample, ...]:
    """The samples with their product type filled in; an image that is not listed keeps None."""
    entries = manifest.categories.get(category, {})
    return tuple(replace(s, subtype=_decided(entries[s.id], rule)) if s.id in entries else s for s in samples)


def _decided(entry: Entry, rule: SubtypeRule) -> str | None:
    if rule == "drop_ambiguous" and entry.ambiguous:
        return None
    if rule == "nearest_gap" and entry.ambiguous and entry.nearest_gap:
        return entry.nearest_gap
    return entry.subtype


def subtype_problems(
    samples: Sequence[Sample], manifest: Manifest, category: str, rule: SubtypeRule
) -> list[str]:
    """Images that the manifest does not list, and ambiguous ones for which it lacks what the rule needs."""
    entries = manifest.categories.get(category, {})
    missing = [s.path for s in samples if s.id not in entries]
    problems = [f"{manifest.path}: {category}: no entry for {path}" for path in missing]
    if rule == "nearest_gap":
        problems += [
            f"{manifest.path}: {category}: {s.id} is ambiguous and has no 'nearest_gap', which the rule needs"
            for s in samples
            if s.id in entries and entries[s.id].ambiguous and not entries[s.id].nearest_gap
        ]
    return problems
