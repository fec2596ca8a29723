"""`python -m harness.doctor [--config CONFIG]`: is this machine fit for a sweep, and if not, what to mend.

The first command of a new user and of an administrator, on any node. One line per finding; exit codes: 0
nothing is red, 1 something is, 2 the command line itself is wrong. A front door: what it does is in
`sweeps.doctor`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from harness.addresses import local
from harness.console import leave, show
from sweeps.doctor.examine import Asked, Machine, differences, examine
from sweeps.doctor.finding import Finding, Level

COLOURS = {Level.GREEN: "green", Level.AMBER: "yellow", Level.RED: "bold red"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        ConfigError: the cluster cannot be reached.
    """
    options = parser().parse_args(arguments)
    asked = Asked(options.config, options.out, options.cache, not options.quick)
    machines = _machines(options, asked)
    if options.json:
        print(json.dumps(_plain(machines), indent=2))
    else:
        show(_closing(machines))
    return 0 if all(machine.fit for machine in machines.values()) else 1


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.doctor",
        description="Is this machine fit for a sweep, and what is to be mended?",
    )
    parser.add_argument("--config", type=local, metavar="CONFIG", help="can every trial of it run here?")
    parser.add_argument("--out", type=local, metavar="DIR", help="where results will go (default runs)")
    parser.add_argument("--cache", type=local, metavar="DIR", help="the cache folder (default $LADDER_CACHE)")
    parser.add_argument("--address", metavar="ADDR", help="look at every node of this Ray cluster (auto)")
    parser.add_argument("--quick", action="store_true", help="do not try what the device computes")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _machines(options: argparse.Namespace, asked: Asked) -> Mapping[str, Machine]:
    if options.address:
        from sweeps.ray_doctor import examine_cluster  # Ray is imported when it is needed

        found = examine_cluster(options.address, asked)
        if not options.json:
            for host, machine in found.items():
                lines = [_line(finding) for finding in machine.findings if not _dull(finding)]
                show([Text(host, style="bold"), *lines])
        return found
    machine = examine(
        asked, lambda finding: None if options.json or _dull(finding) else show([_line(finding)])
    )
    return {machine.host: machine}


def _dull(finding: Finding) -> bool:
    """Two dozen packages as they should be are one line at the end."""
    return finding.topic == "software" and finding.level is Level.GREEN


def _line(finding: Finding) -> Text:
    text = Text.assemble((f"{finding.level:<6}", COLOURS[finding.level]), f"{finding.topic:<9}{finding.said}")
    return text.append(f"\n      → {finding.mend}") if finding.mend else text


def _closing(machines: Mapping[str, Machine]) -> list[Text]:
    lines = [
        Text(
            f"{what}: {fact} differs: " + ", ".join(f"{host} {value}" for host, value in values.items()),
            "yellow",
        )
        for what, fact, values in differences(machines)
    ]
    counts = [finding.level for machine in machines.values() for finding in machine.findings]
    said = ", ".join(f"{counts.count(level)} {level}" for level in Level)
    fit = "fit" if Level.RED not in counts else "not fit: mend what is red, from the top"
    first = next(iter(machines.values()))
    packages = sum(_dull(finding) for finding in first.findings)
    return [*lines, Text(f"{packages} packages are as Ladder asks"), Text(f"{said}: {fit}", "bold")]


def _plain(machines: Mapping[str, Machine]) -> dict[str, Any]:
    return {
        "machines": {h: [asdict(finding) for finding in m.findings] for h, m in machines.items()},
        "differences": [
            {"what": what, "fact": fact, "values": dict(values)}
            for what, fact, values in differences(machines)
        ],
        "fit": all(machine.fit for machine in machines.values()),
    }


if __name__ == "__main__":
    sys.exit(leave(main))
