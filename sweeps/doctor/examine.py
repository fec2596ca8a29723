"""Every look at one machine, in the order in which a person would mend what they find."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

from sweeps.doctor.cards import cards
from sweeps.doctor.finding import Finding, Level, Look, looked
from sweeps.doctor.inputs import data_sets, decoding, weights
from sweeps.doctor.machine import disks, machine
from sweeps.doctor.numerics import numerics
from sweeps.doctor.plan import planned
from sweeps.doctor.ports import ray_here
from sweeps.doctor.software import software
from sweeps.worker import gpus_here


@final
@dataclass(frozen=True)
class Asked:
    """What is looked at besides the machine itself; plain data, sent to other nodes as it is.

    Attributes:
        config: a sweep file, or None.
        run: the folder results go to, or None for ./runs.
        cache: the cache folder, or None for the default.
        numbers: whether the device is tried (torch is imported, in a process of its own).
    """

    config: Path | None = None
    run: Path | None = None
    cache: Path | None = None
    numbers: bool = True


@final
@dataclass(frozen=True)
class Machine:
    """One machine and what was found on it."""

    host: str
    findings: tuple[Finding, ...]

    @property
    def fit(self) -> bool:
        """Whether nothing is red."""
        return all(finding.level is not Level.RED for finding in self.findings)


def examine(asked: Asked, told: Callable[[Finding], None] = lambda finding: None) -> Machine:
    """Look at everything on this machine.

    Args:
        asked: what to look at.
        told: hears every finding as it is made.
    """
    found = []
    for finding in _all(asked):
        told(finding)
        found.append(finding)
    return Machine(socket.gethostname(), tuple(found))


def _all(asked: Asked) -> Iterator[Finding]:
    for topic, look in _looks(asked).items():
        yield from looked(topic, look)


def _looks(asked: Asked) -> Mapping[str, Look]:
    looks: dict[str, Look] = {
        "software": software,
        "machine": machine,
        "disk": partial(disks, asked.run, asked.cache),
        "ray": ray_here,
        "gpu": cards,
        "data": data_sets,
        "decoding": decoding,
        "weights": weights,
    }
    if asked.numbers:
        looks["numbers"] = partial(numerics, "cuda:0" if gpus_here() else "cpu")
    if asked.config:
        looks["sweep"] = partial(planned, asked.config, os.cpu_count() or 1, gpus_here())
    return looks


def differences(machines: Mapping[str, Machine]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(what, fact, host -> value) wherever two machines of a cluster do not agree."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for host, one in machines.items():
        for finding in one.findings:
            for fact, value in finding.facts.items():
                if fact in COMPARED:
                    seen.setdefault((f"{finding.topic} {finding.name}", fact), {})[host] = value
    return [
        (what, fact, {host: values.get(host, "–") for host in machines})
        for (what, fact), values in seen.items()
        if len({str(values.get(host, "–")) for host in machines}) > 1
    ]


COMPARED = ("version", "torch", "sha256", "images", "dataset", "driver", "model", "scores")  # decide numbers
