"""`python -m harness.verify RUN`: what of a run is whole, and what mends the rest.

Every part of the tables, the plan, `sweep.json`, journals, kept maps and views are read and compared with the
digests that they were written with; ok trials are held against their metrics and scores. Nothing is changed.
Exit codes: 0 everything is whole, 1 something is not, 2 no such run.
"""

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from harness.addresses import local
from harness.console import leave, show
from harness.inspection.wholeness import BARE, DAMAGED, KINDS, Finding, Wholeness, wholeness
from harness.results import read_driver
from harness.results.standing import UNMEASURED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        DataError: no such run.
    """
    options = parser().parse_args(arguments)
    found = wholeness(options.run)
    if options.json:
        print(json.dumps(as_json(found), indent=2))
    else:
        show(map(Text, _lines(found)))
    return 0 if found.whole else 1


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.verify", description="What of a run is whole, and what mends the rest."
    )
    parser.add_argument("run", type=local, metavar="RUN", help="a run directory, e.g. runs/fewshot")
    parser.add_argument("--json", action="store_true", help="print JSON, with every file")
    return parser


def as_json(found: Wholeness) -> dict[str, Any]:
    """Everything known, as JSON-able values."""
    files = [{"path": str(f.path), "state": f.state, "why": f.why} for f in found.files]
    told = {"lacking": dict(found.lacking), "notes": list(found.notes), "mend": mends(found)}
    return {"run": str(found.run), "whole": found.whole, "ended": found.ended, "files": files} | told


def _lines(found: Wholeness) -> Iterator[str]:
    counts = ", ".join(f"{n} {state}" for state, n in sorted(found.counts.items()))
    what = "whole" if found.whole else "not whole"
    yield f"{found.run}: {what}; files: {counts}; trials with their numbers: {found.ended}"
    yield from (f"  {problem}" for problem in found.problems)
    yield from (f"  note: {note}" for note in found.notes)
    if found.counts.get(BARE):
        yield "  note: files without a digest can be read; what is written again gets one"
    yield from (f"mend: {step}" for step in mends(found))


def mends(found: Wholeness) -> list[str]:
    """Commands, in the order in which they are worth trying."""
    if found.whole:
        return []
    driver, run = read_driver(found.run), shlex.quote(str(found.run))
    again = (driver and driver.again) or "python -m harness.sweep CONFIG"
    kept = [f for f in found.files if f.bad and f.path.parent.name in KINDS]
    others = [f for f in found.files if f.bad and f not in kept]
    steps = [f"make {shlex.quote(str(f.path))} readable, if it is whole" for f in others if _closed(f)]
    if set(found.lacking.values()) == {UNMEASURED}:
        steps.append(f"python -m harness.rescore {run}   (metrics anew from the stored scores)")
    if others or found.lacking:
        steps.append(f"{again}   (sets aside what is damaged, and runs it again)")
    if kept:
        ids = "|".join(dict.fromkeys(f.trial_id for f in kept))
        steps.append(f"{again} --retry ok --only {shlex.quote(f'id={ids}')}   (makes maps and views again)")
    return steps


def _closed(finding: Finding) -> bool:
    return finding.state == DAMAGED and "(Permission denied)" in finding.why


if __name__ == "__main__":
    leave(main)
