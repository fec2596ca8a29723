"""The token that Ray gives to a cluster of our own: whoever can read it can run code as its owner.

Ray writes it where it does not find one, readable for everybody who may look into the home directory.
"""

import os
from contextlib import suppress
from pathlib import Path

PLACE = "RAY_AUTH_TOKEN_PATH"  # of somebody who has settled this already


def close_token(home: Path | None = None) -> None:
    """Make Ray's default token file readable for its owner alone; others' files are left as they are.

    Args:
        home: the home directory; by default that of this user.
    """
    if os.environ.get(PLACE):
        return
    with suppress(OSError, RuntimeError):  # no home, no file, not ours: nothing of ours to close
        path = (home or Path.home()) / ".ray" / "auth_token"
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
