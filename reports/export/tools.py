"""Tools that a run can be told to: imported when they are asked for, and missed in one sentence."""

import importlib
import re
from typing import Any

from harness.errors import ConfigError

_PLAIN = re.compile(r"[^\w .:/-]")  # what MLflow and W&B take in names


def tool(module: str, extra: str) -> Any:
    """An optional package.

    Args:
        module: to be imported.
        extra: of Ladder's package, that brings it.

    Raises:
        ConfigError: it is not there, or does not run here.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        how = f"python -m pip install 'ladder-bench[{extra}]'"
        raise ConfigError(f"--to {extra} needs {module.partition('.')[0]} ({error}): {how}") from None


def plain(names: list[str]) -> dict[str, str]:
    """Names as tools take them; different ones stay different."""
    found: dict[str, str] = {}
    for name in names:
        made = _PLAIN.sub("_", name)
        while made in found.values():
            made += "_"
        found[name] = made
    return found
