"""`python -m harness.rescore RUN`: metrics anew from what a run has kept, without a model.

Image metrics come from the stored scores, pixel metrics from kept maps (`keep_maps: true`). Rows of other
metrics, and pixel metrics of trials without maps, stay as they are. Trials that have lost their metrics get
all of them back where that is possible. `--intervals` adds 95 % intervals of a
bootstrap over the test images (`harness.inspection.intervals`); without it, rows that are computed anew
have none.
"""

import argparse
import sys
from collections.abc import Sequence

from harness.addresses import local
from harness.console import leave
from harness.errors import HarnessError
from harness.inspection.rescoring import rescore


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    about = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m harness.rescore", description=about)
    parser.add_argument("run", type=local, help="a run directory")
    parser.add_argument("--metrics", default="", metavar="NAME,…", help="default: those of the sweep file")
    parser.add_argument("--intervals", action="store_true", help="also 95 %% intervals over test images")
    parser.add_argument("--resamples", type=int, default=2000, metavar="N", help="default: %(default)s")
    options = parser.parse_args(arguments)
    names = [name for name in options.metrics.split(",") if name]
    try:
        print(rescore(options.run, names, options.resamples if options.intervals else 0))
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    leave(main)
