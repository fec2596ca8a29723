"""A cluster of several raylets on this machine, with nodes of the test's choice."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sweeps.ray import cards  # isort: skip - sets what Ray reads while it is imported
import ray
from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[2]
STORE = 80 << 20  # bytes of shared memory per node


@contextmanager
def raylets(patch: pytest.MonkeyPatch, **head: Any) -> Iterator[Cluster]:
    """A cluster with its head; `add(cluster, num_cpus=…, num_gpus=…)` adds others, with cards on paper."""
    # a token that lies in this home is not for the test
    patch.setenv("RAY_AUTH_MODE", "disabled")
    places = [str(ROOT), str(ROOT / "tests" / "plugin"), os.environ.get("PYTHONPATH", "")]
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    # a raylet that is gone is noticed after five of these; one that answers late is not taken for gone
    patch.setenv("RAY_health_check_period_ms", "500")
    # nodes come from threads too, where Python lets nobody set one
    patch.setattr(ray._private.utils, "set_sigterm_handler", lambda handler: None)
    # a lambda travels by value, and says of cards on paper that they compute
    patch.setattr(cards, "first_use", lambda: cards.Tried(None, (24_000,)))
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_gpus": 0, "object_store_memory": STORE, "include_dashboard": False, **head},
    )
    try:
        yield cluster
    finally:
        cluster.shutdown()


def add(cluster: Cluster, **node: Any) -> Any:
    """One more node."""
    return cluster.add_node(object_store_memory=STORE, **node)


def kill(cluster: Cluster, node: Any) -> None:
    """A node is gone at once, with everything on it: without its raylet a worker may live on for a while."""
    processes = children(node)
    cluster.remove_node(node, allow_graceful=False)
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def children(node: Any) -> list[int]:
    """Ids of the processes that a raylet has started."""
    raylet = node.all_processes["raylet"][0].process.pid
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _parent(path) == raylet]


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
