"""Typed hyper-parameters: the fields of a method, or of a data set's options, checked and completed."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from harness.errors import nearest

LARGEST = 2**63 - 1  # what numpy, torch and Parquet take for an integer
SHOWN = 80  # characters of a wrong value in a message


class Problem(Exception):
    """Values that do not fit; `lines` has one (key path, sentence) per problem."""

    def __init__(self, lines: list[tuple[str, str]]):
        super().__init__("; ".join(f"{key}: {text}" for key, text in lines))
        self.lines = lines


def resolve(owner: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Complete JSON-able values for every field of a dataclass except `context`.

    Args:
        owner: a method class, or any dataclass of options.
        given: some of its values, as read from YAML.

    Raises:
        Problem: unknown names, wrong types, values out of range; all of them.
    """
    values = validate(model_of(owner), given).model_dump(mode="json")
    if beyond := [(key, n) for key, value in values.items() for n in _integers(value) if abs(n) > LARGEST]:
        raise Problem([(key, f"is beyond what 64 bits hold (got {n})") for key, n in beyond])
    return values


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _integers(inner)


def instance(owner: type, values: Mapping[str, Any]) -> Any:
    """An object of a dataclass of options from what `resolve` gives, nested ones included.

    Raises:
        Problem: its `__post_init__` refuses values that are fine one by one.
    """
    try:
        return _adapter(owner).validate_python(dict(values))
    except ValidationError as error:
        raise Problem(_lines(model_of(owner), values, error.errors())) from None


@lru_cache(maxsize=256)
def _adapter(owner: type) -> "TypeAdapter[Any]":
    return TypeAdapter(owner)  # 10 ms, and several for every sweep that is planned


@lru_cache(maxsize=256)
def model_of(owner: type) -> type[BaseModel]:
    """A strict pydantic model with one entry per hyper-parameter of `owner`."""
    hints = get_type_hints(owner, include_extras=True)
    entries: dict[str, Any] = {
        f.name: (hints[f.name], _default(f)) for f in fields(owner) if f.name != "context" and f.init
    }
    strict = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
    return create_model(owner.__name__, __config__=strict, **entries)


def _default(field: "Field[Any]") -> Any:
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    return ...


def validate(model: type[BaseModel], given: Any) -> BaseModel:
    """An instance of `model`.

    Values are taken as JSON and strictly: a list may become a tuple, but `"1"` and `true` are no numbers,
    1.0 is no whole one and `yes` is no truth value.

    Raises:
        Problem: everything that pydantic refuses, in sentences with the allowed values.
    """
    try:
        return model.model_validate_json(json.dumps(given, default=str), strict=True)
    except ValidationError as error:
        raise Problem(_lines(model, given, error.errors())) from None


def _lines(model: type[BaseModel], given: Any, errors: Sequence[Any]) -> list[tuple[str, str]]:
    """One line per place; of a place that allows several kinds of value, pydantic complains once per kind."""
    places: dict[tuple[Any, ...], list[Any]] = {}
    for error in errors:
        places.setdefault(_place(given, error["loc"], error["type"] == "missing"), []).append(error)
    inner = {place[:n] for place in places for n in range(len(place))}  # what is wrong inside says it better
    return [
        (
            ".".join(str(step)[:SHOWN] for step in place),
            _sentence(model, found[0]) if len(found) == 1 else _alternatives(found),
        )
        for place, found in places.items()
        if place not in inner
    ]


def _place(given: Any, steps: Sequence[int | str], absent: bool) -> tuple[int | str, ...]:
    """The steps that exist in the input (pydantic adds names of alternatives), and one absent at its end."""
    if not steps:
        return ()
    here, rest = steps[0], steps[1:]
    if isinstance(given, Mapping) and (here in given or (absent and not rest)):
        return here, *_place(given.get(here), rest, absent)
    if isinstance(given, list | tuple) and isinstance(here, int) and here < len(given):
        return here, *_place(given[here], rest, absent)
    return _place(given, rest, absent)


def _sentence(model: type[BaseModel], error: Any) -> str:
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # of a model, of a dataclass
        allowed = sorted(_names_at(model, error["loc"][:-1]))
        return f"unknown key{nearest(str(error['loc'][-1]), allowed)}; allowed: {', '.join(allowed)}"
    if error["type"] == "missing":
        return "is required"
    if error["type"] == "literal_error":
        words = error["ctx"]["expected"]
        return f"{_shown(error['input'])} is not allowed{_nearest_word([error])}; allowed: {words}"
    message = _words(error)
    return message[:1].lower() + message[1:] + _got(error)


def _alternatives(errors: Sequence[Any]) -> str:
    wanted = [_words(e).removeprefix("Input should be ").partition(",")[0] for e in errors]
    number = next((e for e in errors if e["type"] != "literal_error"), errors[0])  # has advice to give
    return f"must be {' or '.join(dict.fromkeys(wanted))}{_nearest_word(errors)}{_got(number)}"


def _words(error: Any) -> str:
    """Pydantic's sentence in the words of YAML instead of JSON's."""
    text = error["msg"].removeprefix("Value error, ")
    for word, ours in _OURS.items():
        text = text.replace(word, ours)
    return text


_OURS = {
    "valid array": "valid list",
    "an object": "a mapping of keys",
    "a valid boolean": "true or false",
    "List should": "a list should",
    "Value should": "value should",
    " after validation": "",
}


def _nearest_word(errors: Sequence[Any]) -> str:
    expected = [e["ctx"]["expected"] for e in errors if e["type"] == "literal_error"]
    words = [w.strip("' ") for text in expected for w in text.replace(" or ", ", ").split(",")]
    return nearest(str(errors[0]["input"]), words)


def _got(error: Any) -> str:
    value, kind = error["input"], error["type"]
    if isinstance(value, dict | list):
        what = "a list" if isinstance(value, list) else "a mapping of keys"
        return f" (got {what})" if kind.endswith("_type") else ""
    return f" (got {_shown(value)}{_advice(kind, value)})"


def _shown(value: Any) -> str:
    """A value as YAML writes it, cut where it is long."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=repr)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


_TIME = re.compile(r"[0-9]+(:[0-9]+)+(\.[0-9]*)?")
_BOOL_WORDS = {"yes": True, "on": True, "y": True, "no": False, "off": False, "n": False}


def _advice(kind: str, value: Any) -> str:
    """How to write what was meant, where YAML 1.1 or a looser reader would have guessed it."""
    if kind == "string_type" and isinstance(value, bool | int | float | None):
        return f'; a text is wanted: write "{_shown(value)}" in quotes'
    if isinstance(value, bool):
        return "; true and false are no numbers"
    if not isinstance(value, str):
        return ""
    if kind == "bool_type" and value.lower() in _BOOL_WORDS:
        return f"; write {str(_BOOL_WORDS[value.lower()]).lower()}"
    if kind not in ("int_type", "float_type"):
        return ""
    if _TIME.fullmatch(value):
        return "; a time is no number"
    return "; a number stands without quotes, leading zeros and underscores" if _numeric(value) else ""


def _numeric(text: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9_]+(\.[0-9_]*)?([eE][-+]?[0-9]+)?", text) is not None


def _names_at(model: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    """Names allowed where an unknown key was met; walks lists and unions of models on the way."""
    here: set[type] = {model}
    for step in path:
        if isinstance(step, str):
            found = {m for owner in here for m in _models_of(_entries(owner).get(step))}
            here = found or here
    return {name for owner in here for name in _entries(owner)}


def _entries(owner: type) -> dict[str, Any]:
    """Names of the keys of a model or dataclass, each with its type."""
    if issubclass(owner, BaseModel):
        return {name: field.annotation for name, field in owner.model_fields.items()}
    hints = get_type_hints(owner)
    return {field.name: hints[field.name] for field in fields(owner)}


def _models_of(annotation: Any) -> set[type]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return {annotation}
    return {m for part in getattr(annotation, "__args__", ()) for m in _models_of(part)}
