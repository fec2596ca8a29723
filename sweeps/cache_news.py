"""What a trial's counters say of the state of the artifact store, in words for a person."""

import errno
import json
import os
from collections.abc import Mapping

UNKEPT = "unkept."


def cache_news(counters: str | None) -> set[str]:
    """Lines worth one look each; none where all is well.

    Args:
        counters: the column `artifacts` of a trial's row (JSON), or None.
    """
    found: Mapping[str, int] = json.loads(counters or "{}")
    lines = {_unkept(name.removeprefix(UNKEPT)) for name in found if name.startswith(UNKEPT)}
    if "damaged" in found:
        lines.add("cache: stored arrays were damaged; they were removed and computed again")
    return lines


def _unkept(why: str) -> str:
    """`why` is the name of an error number, or of an exception."""
    number = getattr(errno, why, None)
    words = os.strerror(number) if number else "of a type that cannot be stored"
    return f"cache: arrays cannot be kept ({words}); trials take longer, numbers are the same"
