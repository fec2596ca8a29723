"""Columns of a table as small JSON."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from harness.metrics.scale import Scale

DIGITS = 4  # significant ones of a measurement


def words(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Each text once, and the number of its text for every row; what is missing is the empty text."""
    codes, known = pd.factorize(pd.Series(["" if _absent(v) else str(v) for v in values], dtype=object))
    return {"words": [str(word) for word in known], "index": codes.tolist()}


def measurements(values: Iterable[Any]) -> list[float | None]:
    """Numbers with few digits; None where there is none."""
    return [None if _absent(v) else float(f"{v:.{DIGITS}g}") for v in values]


def printed(values: Iterable[float | None], scale: Scale) -> list[float | None]:
    """Values of a metric as they are printed, with a digit more for their means; None where there is none."""
    digits = scale.decimals + 1
    return [None if _absent(v) else round(scale.factor * v, digits) for v in values]  # pyright: ignore[reportOperatorIssue]


def thousandths(values: Iterable[float | None], of: int = 10) -> list[int | None]:
    """Fractions as whole numbers: tenths of a thousandth by default."""
    return [None if _absent(v) else round(1000 * of * v) for v in values]  # pyright: ignore[reportOperatorIssue]


def _absent(value: Any) -> bool:
    return value is None or value != value
