"""`python -m harness.show RUN TRIAL`: everything that a run knows of one trial.

TRIAL is an id, or enough of its first characters. With `--image ID` it draws how the method saw that test
image: from the views that the sweep kept (`keep_maps: true`), else by fitting again, for which this module
may look upwards; nobody imports it. Exit codes: 0 the trial is ok or skipped, 1 it is not or has not run,
2 no such run, trial or image.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.addresses import local
from harness.console import leave, show
from harness.data import Sample, Split
from harness.inspection.picture import picture
from harness.inspection.record import record_of
from harness.inspection.record_words import parts
from harness.inspection.state import FINE
from harness.views import View


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        DataError: no such run, no such trial, or several that begin like that.
    """
    options = parser().parse_args(arguments)
    record = record_of(options.run, options.trial)
    if options.image:
        print(f"written: {picture(options.run, record, options.image, options.out, _explain)}")
    elif options.json:
        print(json.dumps(asdict(record), indent=2))
    else:
        show(parts(record))
    return 0 if record.trial["status"] in FINE else 1


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.show", description="Everything that a run knows of one trial."
    )
    parser.add_argument("run", type=local, metavar="RUN", help="a run directory, e.g. runs/fewshot")
    parser.add_argument("trial", metavar="TRIAL", help="id of a trial, or its first characters")
    parser.add_argument("--json", action="store_true", help="print JSON, with the scores of all images")
    parser.add_argument(
        "--image", metavar="ID", help="draw how the method saw this test image, or the end of its name"
    )
    parser.add_argument(
        "--out",
        type=local,
        metavar="FILE",
        help="of the drawing (.png, .pdf, .svg); default: TRIAL_IMAGE.png here",
    )
    return parser


def _explain(
    config: Mapping[str, Any], trial: Mapping[str, Any], split: Split, sample: Sample
) -> tuple[View, ...]:
    from sweeps.explain import explain

    return explain(config, trial, split, sample)


if __name__ == "__main__":
    leave(main)
