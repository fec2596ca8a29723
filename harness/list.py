"""`python -m harness.list methods|datasets|metrics [NAME]`: what there is to choose from.

Without NAME a table, with it everything known about one entry. Beside `harness.sweep` this is the only
module of `harness` that looks upwards, to the table of methods; nobody imports it. Exit codes: 0, or 2
for an unknown name.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.console import leave, show
from harness.datasets import DATASETS
from harness.inspection.describe import parameters_of, word
from harness.metrics import METRICS
from methods import METHODS

CARD = ("title", "summary", "version", "paper", "url", "licence")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        ConfigError: unknown name.
    """
    options = parser().parse_args(arguments)
    names, describe, columns = KINDS[options.kind]
    if options.name:
        entry = describe(options.name)
        print(json.dumps(entry, indent=2, ensure_ascii=False)) if options.json else show(_card(entry))
        return 0
    entries = [describe(name) for name in names()]
    if options.json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        show([_table(entries, columns), Text(f"more: python -m harness.list {options.kind} NAME")])
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.list", description="The methods, data sets and metrics there are."
    )
    parser.add_argument("kind", choices=tuple(KINDS), help="what to list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of them: card, parameters, licence")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def method_entry(name: str) -> dict[str, Any]:
    """What a method declares of itself.

    Raises:
        ConfigError: unknown name.
    """
    owner = METHODS.load(name)
    readme = Path(sys.modules[owner.__module__].__file__ or "").with_name("README.md")
    return {
        "name": name,
        **{key: getattr(owner.card, key) for key in CARD},
        "card": str(readme) if readme.is_file() else "",
        "resources": asdict(owner.card.resources),
        "parameters": [asdict(p) for p in parameters_of(owner)],
    }


def dataset_entry(name: str) -> dict[str, Any]:
    """What is known of a data set.

    Raises:
        ConfigError: unknown name.
    """
    dataset = DATASETS.load(name)
    plain = ("title", "summary", "licence", "citation", "url", "archive", "sha256", "counts")
    return {
        "name": name,
        **{key: getattr(dataset, key) for key in plain},
        "parameters": [asdict(p) for p in parameters_of(dataset.Options)],
    }


def metric_entry(name: str) -> dict[str, Any]:
    """What is known of a metric.

    Raises:
        ConfigError: unknown name.
    """
    found = METRICS.load(name)
    hidden = ("function", "paper")
    values = {f.name: getattr(found, f.name) for f in fields(found) if f.name not in hidden}
    return {"name": name} | values | {"limits": list(found.limits), "paper": str(found.paper or "")}


Kind = tuple[Callable[[], Sequence[str]], Callable[[str], dict[str, Any]], tuple[str, ...]]
KINDS: Mapping[str, Kind] = {
    "methods": (METHODS.names, method_entry, ("name", "title", "resources", "licence", "summary")),
    "datasets": (DATASETS.names, dataset_entry, ("name", "title", "licence", "summary")),
    "metrics": (
        METRICS.names,
        metric_entry,
        ("name", "title", "kind", "unit", "limits", "summary"),
    ),
}


def _table(entries: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column == "name")
    for entry in entries:
        table.add_row(*(Text(_word(entry[column])) for column in columns))
    return table


def _card(entry: Mapping[str, Any]) -> Iterator[RenderableType]:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), show_edge=False)
    for key, value in entry.items():
        if key not in ("parameters", "counts") and value not in ("", [], None):
            table.add_row(key, Text(_word(value)))
    yield table
    if entry.get("counts"):
        yield Text("\nimages in the official archive")
        yield _counts(entry["counts"])
    if entry.get("parameters"):
        yield Text(f"\n{'parameters' if 'resources' in entry else 'options, written beside name and root'}")
        yield _parameters(entry["parameters"])


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k.removesuffix('_minutes')} {_amount(k, v)}" for k, v in value.items() if v)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _amount(key: str, value: float) -> str:
    return f"{value:g} min" if key.endswith("_minutes") else f"{value:g}"


def _counts(counts: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), show_edge=False)
    splits = list(next(iter(counts.values())))
    for column in ("category", *splits):
        table.add_column(column, justify="left" if column == "category" else "right")
    for category, numbers in counts.items():
        table.add_row(category, *(str(numbers[split]) for split in splits))
    return table


def _parameters(parameters: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), show_edge=False)
    for column in ("name", "type", "default", "allowed", "meaning"):
        table.add_column(column, no_wrap=column == "name")
    for p in parameters:
        default = "required" if p["required"] else word(p["default"])
        table.add_row(*map(Text, (p["name"], p["type"], default, p["allowed"], p["summary"])))
    return table


if __name__ == "__main__":
    leave(main)
