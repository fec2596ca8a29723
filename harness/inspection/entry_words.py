"""Entries of a registry in words: what `harness.list` prints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.inspection.describe import word


def overview(entries: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    """One line per entry."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column == "name")
    for entry in entries:
        table.add_row(*(Text(_word(entry[column])) for column in columns))
    return table


def card(entry: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Everything about one entry."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), show_edge=False)
    for key, value in entry.items():
        if key not in ("parameters", "counts", "layout", *_LISTED) and value not in ("", [], None):
            # sources have commas of their own
            table.add_row(key, Text("\n".join(value) if key == "sources" else _word(value)))
    yield table
    for key, heading in _LISTED.items():
        if entry.get(key):
            yield Text(f"\n{heading}")
            yield _pairs(entry[key])
    if entry.get("layout"):
        yield Text("\n".join(["\nlayout, for example", *(f"  {line}" for line in entry["layout"])]))
    if entry.get("counts"):
        yield from _counts(entry["counts"])
    if entry.get("parameters"):
        yield Text(f"\n{'parameters' if 'resources' in entry else 'options, written beside name and root'}")
        yield _parameters(entry["parameters"])


# parts of a protocol that are tables of their own
_LISTED = {
    "params": "hyper-parameters that it fixes",
    "names": "categories that it means",
    "said": "where the source says so",
    "unknown": "what the source does not say, and what is taken",
}


def _pairs(values: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), show_edge=False)
    for key, value in values.items():
        pairs = isinstance(value, Mapping)
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if pairs else _word(value)
        table.add_row(key, Text(shown))
    return table


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k.removesuffix('_minutes')} {_amount(k, v)}" for k, v in value.items() if v)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _amount(key: str, value: float) -> str:
    return f"{value:g} min" if key.endswith("_minutes") else f"{value:g}"


def _counts(counts: Mapping[str, Mapping[str, int]]) -> Iterator[RenderableType]:
    if not any(counts.values()):
        yield Text(f"\ncategories of the official archive: {', '.join(counts)}")
        return
    yield Text("\nimages in the official archive")
    table = Table(box=None, padding=(0, 2, 0, 2), show_edge=False)
    splits = list(next(iter(counts.values())))
    for column in ("category", *splits):
        table.add_column(column, justify="left" if column == "category" else "right")
    for category, numbers in counts.items():
        table.add_row(category, *(str(numbers[split]) for split in splits))
    yield table


def _parameters(parameters: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), show_edge=False)
    for column in ("name", "type", "default", "allowed", "meaning"):
        table.add_column(column, no_wrap=column == "name")
    for p in parameters:
        default = "required" if p["required"] else word(p["default"])
        table.add_row(*map(Text, (p["name"], p["type"], default, p["allowed"], p["summary"])))
    return table
