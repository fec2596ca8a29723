"""`key=value` words of the command line, put into the content of a sweep file."""

import re
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from harness.document import NotYaml, parse, scalar

Problems = list[tuple[str, str]]  # (key path, sentence)
Kinds = Callable[[Mapping[str, Any], Sequence[str]], type[BaseModel] | None]
MOST_STEPS = 20  # of a dotted key; every step that is not there yet is made

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"")
_OPENS = ("[", "{", "'", '"', "&", "*", "!", "|", ">")  # what makes of a word more than a word


def apply(raw: dict[str, Any], word: str, model: type[BaseModel], kinds: Kinds) -> Problems:
    """Put one `key=value` in; what it puts in is validated with the rest.

    The value of a key that takes nothing but text is the text as the shell hands it over, without a look
    at `#`, `:` or digits in it (quotes around the whole are taken off, as in a sweep file). Every other
    value is read as YAML.

    Args:
        raw: the content of the sweep file; changed in place.
        word: dotted path = value; entries of a list go by index, or by name where one has it.
        model: of the sweep file.
        kinds: (raw, steps) -> the model of what lies at a place that `model` leaves open, or None.
    """
    key, sign, text = word.partition("=")
    steps = key.split(".")
    if not sign or not key:
        return [("", f"{word[:200]!r} on the command line is not key=value")]
    if len(steps) > MOST_STEPS:
        return [(key[:80], f"{len(steps)} steps on the command line lead nowhere in a sweep file")]
    try:
        value = _value(text, _field(raw, steps, model, kinds))
    except NotYaml as error:
        return [(key, f"{text[:200]!r} on the command line is not valid YAML ({error})")]
    return _put(raw, steps, value)


def _value(text: str, annotation: Any) -> Any:
    taken = _taken(annotation)
    if "text" not in taken or taken - {"text", "null"}:
        text = text.strip()
        return parse(text) if text.startswith(_OPENS) else scalar(text)
    if _QUOTED.fullmatch(text):
        return parse(text)
    return scalar(text) if "null" in taken and text in ("", "~", "null") else text


def _field(raw: dict[str, Any], steps: Sequence[str], model: type[BaseModel], kinds: Kinds) -> Any:
    """The annotation of the field at a place; None where nobody knows."""
    here: Any = model
    for i, step in enumerate(steps):
        found = [f for m in _models(here) if (f := m.model_fields.get(step))]
        if found:
            here = found[0].annotation
        elif inner := _items(here):
            here = inner  # by index or by name
        else:
            opened = kinds(raw, steps[:i])
            here = opened.model_fields[step].annotation if opened and step in opened.model_fields else None
    return here


def _parts(annotation: Any) -> list[Any]:
    """The alternatives of a union, without what is annotated to them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _parts(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [part for one in get_args(annotation) for part in _parts(one)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [p for p in _parts(annotation) if isinstance(p, type) and issubclass(p, BaseModel)]


def _items(annotation: Any) -> Any:
    """What a list or tuple holds."""
    return next((get_args(p)[0] for p in _parts(annotation) if get_origin(p) in (list, tuple)), None)


def _taken(annotation: Any) -> set[str]:
    """Which of text, null and anything else a field takes."""
    return {_kind(part) for part in _parts(annotation)}


def _kind(part: Any) -> str:
    if part is type(None):
        return "null"
    words = get_origin(part) is Literal and all(isinstance(word, str) for word in get_args(part))
    return "text" if part in (str, Path) or words else "other"


def _put(raw: dict[str, Any], steps: Sequence[str], value: Any) -> Problems:
    here: Any = raw
    for step in steps[:-1]:
        place, said = _place(here, step)
        if said:
            return [(".".join(steps), said)]
        if isinstance(here, dict) and here.get(place) is None:
            here[place] = {}  # made where it is missing or null
        here = here[place]
    place, said = _place(here, steps[-1])
    if said:
        return [(".".join(steps), said)]
    here[place] = value
    return []


def _place(here: Any, step: str) -> tuple[Any, str]:
    """The key or index that a step stands for, or what is wrong with it."""
    if isinstance(here, dict):
        return step, ""
    entries = here if isinstance(here, list) else []
    if _number(step) and int(step) < len(entries):
        return int(step), ""
    named = [i for i, entry in enumerate(entries) if isinstance(entry, dict) and entry.get("name") == step]
    if len(named) > 1:  # the first would be changed and the others not, and nothing would say so
        return None, f"{len(named)} entries are called {step!r}; say which by number: {named}"
    return (named[0], "") if named else (None, "no such place in the sweep file to override")


def _number(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) < 10  # "²" is a digit as well, and no number
