"""What can be said against a sweep file before it is even valid: names and parameters of its parts.

Each check looks at the raw mapping and keeps quiet about what the schema will refuse anyway.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from harness.config import Problems
from harness.datasets import DATASETS
from harness.errors import HarnessError, nearest
from harness.metrics import METRICS
from harness.params import Problem, resolve
from harness.registry import Registry
from methods import METHODS


def method_problems(raw: Mapping[str, Any]) -> Problems:
    """Unknown methods, unknown or ill-typed hyper-parameters, in every combination of the grids."""
    methods = raw.get("methods")
    found: Problems = []
    for i, entry in enumerate(methods if isinstance(methods, list) else []):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            found += [(f"methods.{i}.{key}", text) for key, text in _entry_problems(entry)]
    return found


def _entry_problems(entry: Mapping[str, Any]) -> Problems:
    if entry["name"] not in METHODS:
        return [("name", METHODS.unknown(entry["name"]))]
    parts = [entry.get(k) or {} for k in ("params", "grid", "zip")]
    if not all(isinstance(part, dict) for part in parts):
        return []
    owner = METHODS.load(entry["name"])
    # first the shape of the grids: combinations of a wrong one would be refused for another's fault
    found = _clashes(*parts) + _uneven(parts[2])
    if not found:
        found = [p for given in combinations(*parts) for p in _refused(owner, given, *parts)]
    # every combination of a grid repeats what is wrong with one value
    return list(dict.fromkeys(found))


def _clashes(params: Mapping[str, Any], grid: Mapping[str, Any], zipped: Mapping[str, Any]) -> Problems:
    twice = sorted((set(params) & set(grid)) | (set(params) & set(zipped)) | (set(grid) & set(zipped)))
    return [("params", f"{name!r} is given in more than one of params, grid and zip") for name in twice]


def _uneven(zipped: Mapping[str, Any]) -> Problems:
    lengths = {k: len(v) for k, v in zipped.items() if isinstance(v, list)}
    if len(set(lengths.values())) <= 1:
        return []
    return [("zip", f"lists that change together must be equally long, these are {lengths}")]


def _refused(owner: type, given: Mapping[str, Any], *parts: Mapping[str, Any]) -> Problems:
    try:
        resolve(owner, given)
    except Problem as error:
        # where the value was written, not where it ended up
        place = dict.fromkeys(parts[1], "grid") | dict.fromkeys(parts[2], "zip")
        return [(f"{place.get(k.split('.')[0], 'params')}.{k}", text) for k, text in error.lines]
    return []


def combinations(
    params: Mapping[str, Any], grid: Mapping[str, Any], zipped: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Every combination of hyper-parameters: the product of `grid`, times the rows of `zipped`."""
    # uneven lists are refused elsewhere, and must not stop the other checks
    rows = list(zip(*(_values(v) for v in zipped.values()), strict=False)) or [()]
    for values in product(*(_values(v) for v in grid.values())):
        for row in rows:
            yield dict(params) | dict(zip(grid, values, strict=True)) | dict(zip(zipped, row, strict=False))


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def dataset_problems(raw: Mapping[str, Any]) -> Problems:
    """Unknown data set, unknown options of it."""
    given = raw.get("dataset")
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        return []
    if given["name"] not in DATASETS:
        return [("dataset.name", DATASETS.unknown(given["name"]))]
    options = {k: v for k, v in given.items() if k not in ("name", "root")}
    try:
        resolve(DATASETS.load(given["name"]).Options, options)
    except Problem as error:
        return [(f"dataset.{key}", text) for key, text in error.lines]
    return []


def metric_problems(raw: Mapping[str, Any]) -> Problems:
    """Unknown metrics."""
    names = raw.get("metrics", [])
    return _unknown("metrics", names, METRICS)


def _unknown(key: str, names: Any, table: Registry | Mapping[str, Any]) -> Problems:
    if not isinstance(names, list):
        return []
    known = sorted(table)
    return [
        (f"{key}.{i}", f"unknown metric {n!r}{nearest(str(n), known)}; known: {', '.join(known)}")
        for i, n in enumerate(names)
        if n not in known
    ]


def category_problems(raw: Mapping[str, Any]) -> Problems:
    """Categories that the data set does not have; silent where its root is wrong, which is said elsewhere."""
    given, names = raw.get("dataset"), raw.get("categories")
    if not isinstance(given, dict) or not isinstance(names, list) or dataset_problems(raw):
        return []
    try:
        known = known_categories(given)
    except HarnessError:
        return []
    return [
        (f"categories.{i}", _no_category(str(name), known, given))
        for i, name in enumerate(names)
        if name not in known
    ]


def _no_category(name: str, known: Sequence[str], given: Mapping[str, Any]) -> str:
    whole = name.partition("/")[0]
    if whole != name and whole in known and not any(k.startswith(f"{whole}/") for k in known):
        root = given["root"]
        return (
            f"no category {name!r}: nothing says which images of {whole} are which; make a manifest with "
            f"python -m harness.data subtypes {root} --category {whole} --out {root}/subtypes.json"
        )
    return f"no category {name!r}{nearest(name, known)} in {given['root']}; there: {', '.join(known)}"


def known_categories(given: Mapping[str, Any]) -> list[str]:
    """The categories of a raw `dataset` entry."""
    dataset = DATASETS.load(given["name"])
    options = {k: v for k, v in given.items() if k not in ("name", "root")}
    # raw values: nothing is validated yet
    root = Path(str(given.get("root", ""))).expanduser()
    return list(dataset.known_categories(root, dataset.Options(**resolve(dataset.Options, options))))


CHECKS = (dataset_problems, category_problems, method_problems, metric_problems)
