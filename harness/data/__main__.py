"""The front door `python -m harness.data demo|sketch|check|…`; the work is in `harness.curate`."""

from harness.console import leave
from harness.curate.command import main
from methods import METHODS

if __name__ == "__main__":
    leave(lambda: main(segmenters=METHODS))
