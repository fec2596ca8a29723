"""Where Ladder keeps what it can compute again."""

import os
from pathlib import Path

from harness.addresses import no_path
from harness.errors import ConfigError


def cache_root() -> Path:
    """The cache folder: $LADDER_CACHE, or ~/.cache/ladder.

    Raises:
        ConfigError: there is no such home, as in containers that run under a user id of their own;
            or it is an address, and no folder.
    """
    given = os.environ.get("LADDER_CACHE")
    if given and (said := no_path(given)):
        raise ConfigError(f"LADDER_CACHE: {said}")
    try:
        return Path(given or "~/.cache/ladder").expanduser()
    except RuntimeError:
        raise ConfigError(f"LADDER_CACHE: no home for {given or '~/.cache/ladder'}; name a folder") from None
