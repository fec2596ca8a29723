"""`--on-end 'CMD'`: a command of the user's that is told how a sweep has ended."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from harness.errors import HarnessError
from harness.inspection.state import MISSING, state_of
from harness.trial import Status

STATES = {0: "finished", 1: "incomplete", 2: "refused"}  # by exit code; any other is "interrupted"


def tell(command: str, run: Path | None, code: int) -> None:
    """Run the command in a shell; what becomes of it is a line at most, and never the sweep's exit code.

    Args:
        command: for the shell, with LADDER_STATE, LADDER_RUN and counts in its environment.
        run: the run directory; None where the sweep file was refused before it was known.
        code: the sweep's exit code.
    """
    sys.stdout.flush()
    try:
        done = subprocess.run(command, shell=True, env={**os.environ, **facts(run, code)}, check=False)
        failed = f"ended with code {done.returncode}" if done.returncode else ""
    except OSError as error:
        failed = f"could not be started ({error.strerror})"
    except (KeyboardInterrupt, SystemExit):
        failed = "was broken off"
    if failed:
        print(f"--on-end {failed}: {command}", file=sys.stderr)


def facts(run: Path | None, code: int) -> Mapping[str, str]:
    """How a sweep has ended, as environment variables: the state, the folder, trials by status."""
    counts: Mapping[str, int] = {}
    with suppress(HarnessError, OSError):  # nothing was started, or nothing of it can be read
        counts = state_of(run).counts if run else {}
    numbers = {f"LADDER_{word.upper()}": str(counts.get(word, 0)) for word in (*Status, MISSING)}
    place = str(run.absolute()) if run else ""
    return {
        "LADDER_STATE": STATES.get(code, "interrupted"),
        "LADDER_RUN": place,
        "LADDER_CODE": str(code),
        **numbers,
    }
