"""The extra files of MVTec LOCO AD's layout: defect types, part masks, sub-types."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.samples import DefectType
from harness.data.subtypes import FILE, Manifest, read_manifest
from harness.datasets.splits import Parts
from harness.errors import DataError

DEFECTS = "defects_config.json"
PART_CLASSES = "part_classes.json"
PART_MASKS = "part_masks"


def read_defects(path: Path) -> dict[int, DefectType]:
    """Mask pixel value -> defect type, from a `defects_config.json`.

    Raises:
        DataError: unreadable, or entries that are not what MVTec's evaluation code accepts; all at once.
    """
    content = _json(path)
    if not isinstance(content, list) or not content:
        raise DataError(f"{path}: must be a list of defect types")
    problems = [f"{path}: entry {n}: {p}" for n, entry in enumerate(content) if (p := _wrong(entry))]
    if problems:
        raise DataError("\n".join(problems))
    types = [_defect(entry) for entry in content]
    values = [t.pixel_value for t in types]
    twice = sorted({v for v in values if v is not None and values.count(v) > 1})
    if twice:
        raise DataError(f"{path}: pixel value {twice[0]} stands for two defect types")
    return {t.pixel_value: t for t in types if t.pixel_value is not None}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error


def _wrong(entry: Any) -> str:
    keys = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")
    if not isinstance(entry, dict) or not set(keys) <= set(entry):
        return f"must be an object with {', '.join(keys)}"
    name, value, threshold, relative = (entry[key] for key in keys)
    if not isinstance(name, str) or not name:
        return f"defect_name must be a name, not {name!r}"
    if type(value) is not int or not 1 <= value <= 255:
        return f"pixel_value of {name} must be 1..255, not {value!r}"
    if not isinstance(relative, bool):
        return f"relative_saturation of {name} must be true or false, not {relative!r}"
    return _wrong_threshold(name, threshold, relative)


def _wrong_threshold(name: str, threshold: Any, relative: bool) -> str:
    number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if relative and not (number and 0 < threshold <= 1):
        return f"relative saturation_threshold of {name} must lie in (0, 1], not {threshold!r}"
    if not relative and not (number and threshold >= 1 and threshold == int(threshold)):
        return f"absolute saturation_threshold of {name} must be a whole number of pixels, not {threshold!r}"
    return ""


def _defect(entry: Mapping[str, Any]) -> DefectType:
    return DefectType(
        entry["defect_name"],
        entry["pixel_value"],
        float(entry["saturation_threshold"]),
        entry["relative_saturation"],
    )


def read_parts(folder: Path, ids: Sequence[str]) -> Parts:
    """Part masks below `folder`: `part_masks/<image id as .png>` and `part_classes.json`; often none.

    Raises:
        DataError: unreadable, part masks without class names, or class names of another form.
    """
    root = folder / PART_MASKS
    paths = {sample: (root / sample).with_suffix(".png") for sample in ids}
    try:
        found = {sample: path for sample, path in paths.items() if path.is_file()} if root.is_dir() else {}
    except OSError as error:
        raise DataError(f"{root}: cannot be read ({error.strerror})") from error
    return Parts(found, _classes(folder / PART_CLASSES)) if found else Parts()


def _classes(path: Path) -> tuple[str, ...]:
    content = _json(path)
    if isinstance(content, dict) and all(isinstance(value, int) for value in content.values()):
        content = sorted(content, key=lambda name: content[name])  # name -> index
    if isinstance(content, dict) and all(key.isdigit() for key in content):
        content = [content[key] for key in sorted(content, key=int)]  # index -> name
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise DataError(f"{path}: must be a list of the names of the part labels, background first")
    return tuple(content)


def find_manifest(root: Path, asked: Path | None, categories: Sequence[str]) -> Manifest | None:
    """The sub-type manifest that was asked for, or the one that lies in the data set, or None.

    Args:
        root: of the data set.
        asked: a path; a relative one is looked up from `root`, then from the current folder.
        categories: category folders, which may hold one manifest each.

    Raises:
        DataError: what was asked for is not there, or a manifest is not readable.
    """
    if asked is not None:
        candidates = [root / asked, Path(asked)]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise DataError(f"{asked}: no such sub-type manifest (looked in {root} and {Path.cwd()})")
        return read_manifest(found)
    if _is_file(root / FILE):
        return read_manifest(root / FILE)
    files = {c: root / c / FILE for c in categories}
    inside = [read_manifest(path, c) for c, path in files.items() if _is_file(path)]
    return Manifest(root, {c: e for m in inside for c, e in m.categories.items()}) if inside else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that may not be read, which reading the category reports
        return False
