"""One row of a table for people and for JSON: no NaN, no arrays, no pandas types."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from math import isnan
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from harness.results.schema import SCHEMAS

JSON_COLUMNS = ("params", "artifacts", "versions")
WHOLE = {f.name for schema in SCHEMAS.values() for f in schema if pa.types.is_integer(f.type)}


def plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row as JSON-able values: null for what is missing, objects for columns that hold JSON."""
    values = {str(name): _plain(value) for name, value in row.items()}
    values |= {n: int(values[n]) for n in WHOLE if values.get(n) is not None}  # pandas: floats beside a NaN
    return values | {n: json.loads(values[n]) for n in JSON_COLUMNS if isinstance(values.get(n), str)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if value is None or value is pd.NaT or (isinstance(value, float) and isnan(value)):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value


def title(row: Mapping[str, Any]) -> str:
    """What a plain row of `trials/` or of the plan is about: "patchcore/juice_bottle/4-shot/seed 1"."""
    seeds = dict.fromkeys(str(s) for s in (row["split_seed"], row["run_seed"]) if s is not None)
    seed = f"/seed {'+'.join(seeds)}" if seeds else ""
    return f"{row['method']}/{row['category']}/{shots_word(row['shots'])}{seed}"


def shots_word(shots: int | None) -> str:
    """The number of shots in words: "4-shot", "full" or, where the method ignores them, "any shots"."""
    if shots is None:
        return "full"
    return f"{shots}-shot" if shots else "any shots"


def duration(seconds: float) -> str:
    """Seconds in at most two units: "1h05m", "3m20s", "12s", "4.2s", "0.03s"."""
    if seconds < 10:
        return f"{seconds:.2f}s" if seconds < 1 else f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def first_line(text: Any) -> str:
    """The first line of a reason, for lists."""
    lines = text.strip().splitlines() if isinstance(text, str) else []
    return lines[0][:200] if lines else "no reason given"


def cause(reason: Any) -> str:
    """The first line of a reason without its numbers: what failures of one cause have in common.

    Eight trials that fail for three reasons are three lines; the same one at step 7 and at step 9 is one.
    """
    return re.sub(r"\d+", "#", first_line(reason))
