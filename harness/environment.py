"""`${NAME}` and `${NAME:-default}` in the texts of a sweep file."""

import os
import re
from typing import Any

from harness.errors import nearest
from harness.overrides import Problems

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def resolved(value: Any, key: str, problems: Problems) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every string below `value`."""
    if isinstance(value, dict):
        return {k: resolved(v, f"{key}.{k}".strip("."), problems) for k, v in value.items()}
    if isinstance(value, list):
        return [resolved(v, f"{key}.{i}", problems) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name, default in _VARIABLE.findall(value):
        if not os.environ.get(name) and not default:
            problems.append((key, f"environment variable {name} is {_unset(name)}"))
    text = _VARIABLE.sub(lambda m: os.environ.get(m[1]) or m[2] or m[0], value)
    if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text):
        return text
    problems.append((key, f"{ascii(text)[:100]} is not UTF-8; give the file or folder another name"))
    return "not-utf-8"


def _unset(name: str) -> str:
    return "empty" if name in os.environ else f"not set{nearest(name, os.environ)}"
