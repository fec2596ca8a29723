"""Typed hyper-parameters and options in words: what `harness.list` prints of a dataclass."""

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from harness.params import model_of

TYPES = {
    "integer": "int",
    "number": "float",
    "string": "str",
    "boolean": "bool",
    "null": "none",
    "object": "mapping",
}
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {} values",
    "maxItems": "at most {} values",
    "pattern": "matches {}",
}


@final
@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter or option.

    Attributes:
        name: key in the sweep file.
        type: of its value, in words.
        default: JSON-able; None also where there is none.
        required: whether it has no default.
        allowed: values or bounds, empty where the type says it all.
        summary: from the docstring of its class.
    """

    name: str
    type: str
    default: Any
    required: bool
    allowed: str
    summary: str


def parameters_of(owner: type) -> list[Parameter]:
    """The fields of a method or of a data set's options, in order, without the context."""
    schema = model_of(owner).model_json_schema()
    summaries: dict[str, str] = {}
    for cls in reversed(owner.__mro__):  # fields may come from a dataclass that several share
        summaries |= summaries_of(inspect.cleandoc(cls.__doc__ or ""))
    return [
        Parameter(
            name=name,
            type=_type(entry),
            default=entry.get("default"),
            required=name in schema.get("required", ()),
            allowed=_allowed(entry),
            summary=summaries.get(name, ""),
        )
        for name, entry in schema.get("properties", {}).items()
    ]


def _type(entry: Mapping[str, Any]) -> str:
    if "anyOf" in entry:
        return " or ".join(dict.fromkeys(_type(part) for part in entry["anyOf"]))
    if "enum" in entry or "const" in entry:
        return "choice"
    if entry.get("type") == "array":
        return f"list of {_type(entry.get('items', {}))}"
    return TYPES.get(entry.get("type", ""), "any")


def _allowed(entry: Mapping[str, Any]) -> str:
    parts = [entry, *entry.get("anyOf", ())]
    words = [", ".join(map(str, part["enum"])) for part in parts if "enum" in part]
    words += [str(part["const"]) for part in parts if "const" in part]
    exact = [p["minItems"] for p in parts if "minItems" in p and p["minItems"] == p.get("maxItems")]
    if exact:
        return f"{exact[0]} values"
    words += [text.format(part[key]) for part in parts for key, text in BOUNDS.items() if key in part]
    return "; ".join(words)


def summaries_of(docstring: str) -> dict[str, str]:
    r"""Name -> its description in the `Args:` or `Attributes:` section of a docstring.

    >>> summaries_of("Title.\n\nArgs:\n    size, crop: in pixels,\n        both odd.\n    k: shots.")
    {'size': 'in pixels, both odd.', 'crop': 'in pixels, both odd.', 'k': 'shots.'}
    """
    section = re.search(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    text = section[1] if section else ""
    entries = re.findall(r"^    (\w[\w, ]*): ((?:.*\n?)(?:^     +.*\n?)*)", text, re.MULTILINE)
    return {name.strip(): " ".join(text.split()) for names, text in entries for name in names.split(",")}


def word(value: Any) -> str:
    """A default as it would be written in a sweep file."""
    return json.dumps(value, ensure_ascii=False).strip('"') if value is not None else "null"
