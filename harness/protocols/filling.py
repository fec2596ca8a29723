"""A sweep file under a protocol: what it does not give is the protocol's, and what it does is told."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from harness.protocols.preset import KEYS, Preset

ALL = ("protocol", "protocols", "why")  # keys that name protocols
SHOWN = 3  # values of a list in a label
# of keys that a protocol does not mention
DEFAULTS: Mapping[str, Any] = {
    "support": {"rule": "nested"},
    "validation": "official",
    "number": {"metric": "auroc", "subset": "all"},
}


@final
@dataclass(frozen=True)
class Part:
    """One protocol of a sweep file, or one step between two.

    Attributes:
        label: what tables call it: "clip_lad", "clip_lad, with seeds 10"; "" for a file that names none.
        raw: the sweep file with everything filled in, its `protocol` aside naming none.
        protocol: the name; "" for a step between two.
        changed: what the sweep file has otherwise, in words.
        step: what `harness.protocols.why` says of it; empty elsewhere.
    """

    label: str
    raw: dict[str, Any]
    protocol: str = ""
    changed: tuple[str, ...] = ()
    step: Mapping[str, Any] = field(default_factory=dict)


def under(raw: Mapping[str, Any], found: Preset) -> Part:
    """The sweep file under one protocol."""
    whole = filled(raw, found)
    changed = tuple(_changes(whole, found))
    return Part(labelled(found.name, changed), whole, found.name, changed)


def filled(raw: Mapping[str, Any], found: Preset) -> dict[str, Any]:
    """A valid sweep file in which every key and hyper-parameter that a protocol fixes has a value."""
    given = {key: value for key, value in raw.items() if key not in ALL and value is not None}
    own_input = not same("input", given.get("input"), found.keys.get("input"))
    # a size that the sweep file gives is meant for all methods
    dropped = {"image_size"} if given.get("input") and own_input else set()
    entries = [_entry(entry, found, dropped) for entry in raw["methods"]]
    if isinstance(given.get("number"), Mapping):  # some of it; the rest is the protocol's
        given["number"] = {**DEFAULTS["number"], **found.keys.get("number", {}), **given["number"]}
    named = {"protocol": found.name} if found.name else {}
    return {**named, **found.keys, **given, "methods": entries}


def _entry(entry: Mapping[str, Any], found: Preset, dropped: set[str]) -> dict[str, Any]:
    varied = {*(entry.get("grid") or {}), *(entry.get("zip") or {}), *dropped}
    fixed = {name: value for name, value in found.fixed(entry["name"]).items() if name not in varied}
    return {**entry, "params": {**fixed, **(entry.get("params") or {})}}


def labelled(name: str, changed: Sequence[str]) -> str:
    """`clip_lad, with shots 1 and seeds 10`."""
    if not changed:
        return name
    *first, last = changed
    return f"{name}, with " + (f"{', '.join(first)} and {last}" if first else last)


def _changes(raw: Mapping[str, Any], found: Preset) -> Iterator[str]:
    """What a filled sweep file has otherwise than its protocol, in the order of `KEYS`."""
    if raw["dataset"]["name"] not in found.dataset:
        yield f"dataset {raw['dataset']['name']}"
    whole = found.names.get(raw["dataset"]["name"])
    for key in KEYS[1:-1]:
        # all of them by name are what the word means
        spelt = key == "categories" and isinstance(raw[key], list) and whole and {*raw[key]} == {*whole}
        if not spelt and not same(key, raw.get(key), found.keys.get(key)):
            yield f"{key} {words(key, raw.get(key))}"
    if lacking := [m for m in found.keys.get("metrics") or () if m not in raw["metrics"]]:
        yield f"no {' nor '.join(lacking)}"
    for entry in raw["methods"]:
        yield from _other_params(entry, found)


def _other_params(entry: Mapping[str, Any], found: Preset) -> Iterator[str]:
    params, varied = entry.get("params") or {}, {**(entry.get("grid") or {}), **(entry.get("zip") or {})}
    for name, value in found.fixed(entry["name"]).items():
        if name in varied:
            yield f"{entry['name']}.{name} varied"
        elif params.get(name, value) != value:  # without any it is the size of `input`, which is told
            yield f"{entry['name']}.{name} {params[name]}"


def same(key: str, one: Any, other: Any) -> bool:
    return _plain(key, one) == _plain(key, other)


def _plain(key: str, value: Any) -> Any:
    """A value in one spelling: `seeds: 2` is `[0, 1]`, `shots: 1` is `[1]`, what is not set is left out."""
    value = DEFAULTS.get(key) if value is None else value
    if key == "seeds" and isinstance(value, list):
        return len(value) if value == list(range(len(value))) else value
    if key == "shots":
        return value if isinstance(value, list) else [value]
    if isinstance(value, Mapping):
        return {k: v for k, v in value.items() if v not in (None, 0, {}, [])}
    return value or {}


def words(key: str, value: Any) -> str:
    """A value of a key in a few words."""
    value = _plain(key, value)
    if key == "support":
        return value["rule"] + (f" from {value['offset']}" if value.get("offset") else "")
    if key == "number":
        of = {"all": "pooled", "mean": "mean of logical and structural"}.get(value["subset"], value["subset"])
        return f"{value['metric']} {of}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "each method's own"
    if isinstance(value, list):
        more = f" and {len(value) - SHOWN} more" if len(value) > SHOWN + 1 else ""
        return ", ".join(map(str, value[:SHOWN] if more else value)) + more
    return str(value)
