"""The nodes of the cluster as they are now, and what of each may be used."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import ray
from ray.autoscaler.sdk import request_resources

from sweeps.dispatch import Node
from sweeps.ray.cards import Cards

LOOK_SECONDS = 1.0  # between looks: GCS is asked by every driver of the cluster
MOST_DEMANDED = 1000  # bundles that an autoscaler is asked for; it has a limit of its own


@final
class Nodes:
    """Nodes that are alive, in the dispatcher's words.

    Args:
        cards: who knows whether the cards of a node work.
        say: takes a line for people.
    """

    def __init__(self, cards: Cards, say: Callable[[str], None]):
        self._cards, self._say = cards, say
        self._nodes: list[Node] = []
        self._looked = 0.0
        self._parked: Counter[str] = Counter()
        self.hosts: dict[str, str] = {}

    def now(self, fresh: bool = False) -> Sequence[Node]:
        """Nodes that may be used; those whose cards have not been tried yet have none."""
        if fresh or time.monotonic() - self._looked > LOOK_SECONDS:
            there = alive()
            for line in self._cards.look(there):
                self._say(line)
            self._nodes = [self._node(node) for node in there]
            self.hosts |= {node.id: node.host for node in self._nodes}
            self._looked = time.monotonic()
        return self._nodes

    def alive(self) -> set[str]:
        """Ids of nodes that are alive."""
        return {node.id for node in self.now()}

    def park(self, node: str, gpus: float) -> None:
        """So much of a node's cards is held for good, because it is broken."""
        self._parked[node] += gpus  # pyright: ignore[reportArgumentType] - a Counter counts shares too
        self._looked = 0.0

    def _node(self, node: Mapping[str, Any]) -> Node:
        has, found = node["Resources"], self._cards.found(node["NodeID"])
        gpus = max(has.get("GPU", 0.0) - self._parked[node["NodeID"]], 0.0) if found is not None else 0.0
        return Node(node["NodeID"], node["NodeManagerHostname"], has.get("CPU", 0.0), gpus, found or ())


def alive() -> list[dict[str, Any]]:
    """Nodes that live, in Ray's words."""
    return [node for node in ray.nodes() if node["Alive"]]


def demand(bundles: Sequence[Mapping[str, float]]) -> None:
    """Tell an autoscaler, if there is one, what the sweep could use at a time; it forgets with `[]`."""
    request_resources(bundles=[dict(bundle) for bundle in bundles[:MOST_DEMANDED]])


def autoscales() -> bool:
    """Whether this cluster gets nodes by itself: KubeRay says so in its heads, `ray up` leaves a file."""
    return (
        "KUBERAY_GEN_RAY_START_CMD" in os.environ or Path("~/ray_bootstrap_config.yaml").expanduser().exists()
    )
