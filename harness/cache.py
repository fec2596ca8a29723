"""Where Ladder keeps what it can compute again."""

import os
from pathlib import Path


def cache_root() -> Path:
    """The cache folder: $LADDER_CACHE, or ~/.cache/ladder."""
    return Path(os.environ.get("LADDER_CACHE") or Path.home() / ".cache" / "ladder").expanduser()
