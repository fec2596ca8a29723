"""What can be said against a sweep file before it is even valid: names, parameters and places of its parts.

Each check looks at the raw mapping and keeps quiet about what the schema will refuse anyway.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from harness.addresses import no_path
from harness.config import Problems, SweepConfig
from harness.datasets import DATASETS
from harness.datasets.record import DataSet
from harness.errors import ConfigError, HarnessError, nearest
from harness.method import Card
from harness.metrics import METRICS
from harness.params import Problem, instance, model_of, resolve
from harness.places import too_long, trouble
from methods import METHODS
from sweeps.combine import Parts, completed, refused
from sweeps.locations import NAMED, place_problems

MOST_TRIALS = SweepConfig.model_fields["max_trials"].default


def kinds(raw: Mapping[str, Any], steps: Sequence[str]) -> type[BaseModel] | None:
    """The parameters that a data set or a method takes at a place that the schema leaves open."""
    try:
        match list(steps):
            case ["dataset"]:
                return model_of(DATASETS.load(raw["dataset"]["name"]).Options)
            case ["methods", entry, "params"]:
                return model_of(METHODS.load(_entry(raw, entry)["name"]))
    except (HarnessError, KeyError, TypeError):  # no such name, or none: said when it is checked
        return None
    return None


def _entry(raw: Mapping[str, Any], step: str) -> Mapping[str, Any]:
    entries = dict(_entries(raw))
    named = {entry["name"]: entry for entry in entries.values()}
    return named.get(step) or entries[int(step) if step.isdecimal() else -1]


def _entries(raw: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The entries of `methods` that have a name, with their numbers."""
    methods = raw.get("methods")
    for i, entry in enumerate(methods if isinstance(methods, list) else []):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            yield i, entry


def method_problems(raw: Mapping[str, Any]) -> Problems:
    """Unknown methods, hyper-parameters that are unknown, ill-typed or impossible together."""
    return [
        (f"methods.{i}.{key}", text)
        for i, entry in _entries(raw)
        for key, text in _entry_problems(entry, raw)
    ]


def _entry_problems(entry: Mapping[str, Any], raw: Mapping[str, Any]) -> Problems:
    if entry["name"] not in METHODS:
        return [("name", METHODS.unknown(entry["name"]))]
    try:
        owner = METHODS.load(entry["name"])
    except HarnessError as error:
        return [("name", str(error))]
    parts = parts_of(owner, entry, raw.get("weights"), size_of(raw))
    if parts is None:
        return []
    # first the shape of the grids: combinations of a wrong one would be refused for another's fault
    found = _clashes(parts) + _uneven(parts)
    return found or refused(owner, parts) or _impossible(owner, parts, _most(raw))


def size_of(raw: Mapping[str, Any]) -> Any:
    """The side that a sweep file gives to all methods, if it does."""
    given = raw.get("input")
    return given.get("image_size") if isinstance(given, dict) else None


def parts_of(owner: type, entry: Mapping[str, Any], weights: Any, size: Any = None) -> Parts | None:
    """The hyper-parameters of an entry; None where the schema refuses them.

    Args:
        owner: the method.
        entry: of a sweep file.
        weights: of the sweep, for a method that takes weights and whose entry names none.
        size: side of the images, likewise.
    """
    params, grid, zipped = (entry.get(key) or {} for key in ("params", "grid", "zip"))
    if not all(isinstance(part, dict) for part in (params, grid, zipped)):
        return None
    if not all(isinstance(values, list) and values for values in (*grid.values(), *zipped.values())):
        return None
    usable = isinstance(weights, str) and (weights in NAMED or not trouble(weights))
    common = ({"weights": weights} if usable else {}) | ({"image_size": size} if size else {})
    fields, varied = getattr(owner, "__dataclass_fields__", {}), {**grid, **zipped}
    own = {name: value for name, value in common.items() if name in fields and name not in varied}
    return Parts(own | params, grid, zipped)


def _clashes(parts: Parts) -> Problems:
    params, grid, zipped = map(set, parts)
    twice = sorted((params & grid) | (params & zipped) | (grid & zipped))
    return [("params", f"{name!r} is given in more than one of params, grid and zip") for name in twice]


def _uneven(parts: Parts) -> Problems:
    lengths = {name: len(values) for name, values in parts.zip.items()}
    if len(set(lengths.values())) <= 1:
        return []
    return [("zip", f"lists that change together must be equally long, these are {lengths}")]


def _impossible(owner: type, parts: Parts, most: int) -> Problems:
    """Paths that can be none, and what the method says of values that are fine one by one."""
    if parts.size > most:
        return []  # said by `size_problems`
    found: Problems = []
    for params in completed(owner, parts):
        lines = list(_pathless(owner.card, params)) or _said(owner.card, params)
        found += [(parts.place(key), text) for key, text in lines]
    return list(dict.fromkeys(found))


def _pathless(card: Card, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in card.paths:
        value = params.get(key)
        if isinstance(value, str) and value not in ("", *NAMED) and (text := trouble(value)):
            yield key, text


def _said(card: Card, params: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    try:
        return card.problems(params)
    except HarnessError as error:
        return [(next(iter(sorted(card.paths)), ""), str(error))]


def size_problems(raw: Mapping[str, Any]) -> Problems:
    """More seeds or combinations of hyper-parameters than `max_trials`; counted, not built."""
    most, sizes = _most(raw), _sizes(raw)
    found: Problems = []
    given = {"seeds": raw.get("seeds")} | {f"methods.{i}.seeds": e.get("seeds") for i, e in _entries(raw)}
    for key, seeds in given.items():
        if isinstance(seeds, int) and seeds > most:
            text = f"{_amount(seeds)} seeds {_more(most)}; a certain seed is written as a list: [{seeds}]"
            found.append((key, text))
    for i, size in sizes.items():
        if size > most:
            found.append((f"methods.{i}", f"{_amount(size)} combinations of hyper-parameters {_more(most)}"))
    if (size := sum(sizes.values())) > most and not any(key.startswith("methods") for key, _ in found):
        found.append(("methods", f"{_amount(size)} combinations of hyper-parameters {_more(most)}"))
    return found


def _amount(number: int) -> str:
    return f"{number:,}" if number < 10**15 else f"about 2^{number.bit_length() - 1}"


def _sizes(raw: Mapping[str, Any]) -> dict[int, int]:
    """Number of an entry -> its combinations."""
    parts = {i: parts_of(object, entry, None) for i, entry in _entries(raw)}
    return {i: part.size for i, part in parts.items() if part is not None}


def _most(raw: Mapping[str, Any]) -> int:
    most = raw.get("max_trials")
    return most if isinstance(most, int) and most > 0 else MOST_TRIALS


def _more(most: int) -> str:
    return f"are more than max_trials: {most:,} allows"


def dataset_problems(raw: Mapping[str, Any]) -> Problems:
    """Unknown data set, unknown options of it."""
    given = raw.get("dataset")
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        return []
    if given["name"] not in DATASETS:
        return [("dataset.name", DATASETS.unknown(given["name"]))]
    try:
        owner = DATASETS.load(given["name"]).Options
        options = resolve(owner, _options(given))
        instance(owner, options)
    except Problem as error:
        return [(f"dataset.{key}".rstrip("."), text) for key, text in error.lines]
    except HarnessError as error:
        return [("dataset.name", str(error))]
    return [(f"dataset.{key}", text) for key, value in options.items() for text in _overlong(value)]


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in given.items() if k not in ("name", "root")}


def _overlong(value: Any) -> Iterator[str]:
    """Any text of an option may become part of a path."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    texts = [text for text in inner if isinstance(text, str)]
    yield from filter(None, (no_path(text) or too_long(text.encode()) for text in texts))


def metric_problems(raw: Mapping[str, Any]) -> Problems:
    """Unknown metrics, and those of installed packages that cannot be used."""
    names, number = raw.get("metrics"), raw.get("number")
    listed = {f"metrics.{i}": name for i, name in enumerate(names if isinstance(names, list) else [])}
    measure = number.get("metric") if isinstance(number, dict) else None
    listed |= {"number.metric": measure.partition("@")[0]} if isinstance(measure, str) else {}
    given = [(key, name) for key, name in listed.items() if isinstance(name, str)]
    return [(key, text) for key, name in given if (text := _refused_metric(name))]


def _refused_metric(name: str) -> str:
    try:
        METRICS.load(name)
    except ConfigError as error:
        return str(error)
    return ""


def category_problems(raw: Mapping[str, Any]) -> Problems:
    """A root without the data set, and categories that it does not have."""
    found = _readable(raw)
    if found is None:
        return []
    dataset, root, options = found
    try:
        known = dataset.known_categories(root, options)
    except (HarnessError, OSError) as error:
        return [("dataset.root", str(error))]
    names = raw.get("categories")
    return [
        (f"categories.{i}", _no_category(name, known, root))
        for i, name in enumerate(names if isinstance(names, list) else [])
        if isinstance(name, str) and name not in known
    ]


def _readable(raw: Mapping[str, Any]) -> tuple[DataSet, Path, Any] | None:
    """The data set, its root and options, if nothing else is wrong with what the sweep file says of them."""
    given = raw.get("dataset")
    if not isinstance(given, dict) or not isinstance(given.get("name"), str) or dataset_problems(raw):
        return None
    root = given.get("root")
    if not isinstance(root, str) or "${" in root or trouble(root):
        return None
    dataset = DATASETS.load(given["name"])
    options = instance(dataset.Options, resolve(dataset.Options, _options(given)))
    return dataset, Path(root).expanduser(), options


def _no_category(name: str, known: Sequence[str], root: Path) -> str:
    whole = name.partition("/")[0]
    if whole != name and whole in known and not any(k.startswith(f"{whole}/") for k in known):
        command = ["python", "-m", "harness.data", "subtypes", str(root), "--category", whole]
        command += ["--out", str(root / "subtypes.json")]
        return (
            f"no category {name!r}: nothing says which images of {whole} are which; "
            f"make a manifest with {shlex.join(command)}"
        )
    return f"no category {name[:80]!r}{nearest(name, known)} in {root}; there: {', '.join(known)}"


CHECKS = (
    dataset_problems,
    category_problems,
    method_problems,
    size_problems,
    metric_problems,
    place_problems,
)
