"""The doctor on every node of a Ray cluster: what each has, where they differ, how far clocks are apart."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.errors import ConfigError
from sweeps.doctor.examine import Asked, Machine, examine
from sweeps.doctor.finding import Finding, amber, green, red

SECONDS = 180  # for all nodes, which are looked at at the same time
# Ray says no more than "failed to connect" to whoever has no token, or another
TOKEN = (
    "Does it run, and is its port reachable from here? If “Unauthenticated” stands above: "
    "export RAY_AUTH_MODE=token, and copy the head's ~/.ray/auth_token here (mode 600)"
)
APART = 2.0  # seconds between clocks from which rows of two nodes stand in a wrong order


def examine_cluster(address: str, asked: Asked) -> dict[str, Machine]:
    """Host (numbered where two nodes share one) -> what was found there.

    Raises:
        ConfigError: the cluster cannot be reached.
    """
    with _joined(address):
        jobs = {_node_name(node): _on(node).remote(asked) for node in ray.nodes() if node["Alive"]}
        return {name: _answer(name, job) for name, job in jobs.items()}


@contextmanager
def _joined(address: str) -> Iterator[None]:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises a dozen types, plain ones too
        said = " ".join(str(error).split())[:300].rstrip(".")
        raise ConfigError(f"--address {address}: {said}. {TOKEN}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _node_name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} {node['NodeID'][:6]}"


def _on(node: Mapping[str, Any]) -> Any:
    # hard: a node that cannot take it must say so, and not be replaced by a healthy one
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    # no core, no card: the doctor has to get in while a sweep runs
    return ray.remote(_look).options(scheduling_strategy=strategy, num_cpus=0, max_retries=0)


def _look(asked: Asked) -> tuple[Machine, float]:
    return examine(asked), time.time()


def _answer(name: str, job: Any) -> Machine:
    try:
        machine, there = ray.get(job, timeout=SECONDS)
    except Exception as error:  # noqa: BLE001 - a node may die, lack Ladder, or hang; each is a finding
        said = " ".join(str(error).split())[-300:]
        mend = "install the same Ladder there, and look at that node's Ray log"
        return Machine(name, (red("node", "answer", f"no answer: {said}", mend),))
    return Machine(name, (*machine.findings, _clock(there)))


def _clock(there: float) -> Finding:
    """Against this machine's, to within the time that the answer took: it can only seem late."""
    apart = there - time.time()
    said = f"its clock is {apart:+.1f} s from this machine's"
    if apart > APART or apart < -SECONDS:
        return amber("node", "clock", said, "run an NTP client (chrony) on every node")
    return green("node", "clock", said)
