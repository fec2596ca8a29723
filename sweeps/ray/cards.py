"""One use of a card on every node that has some: a fault is one sentence now, not N failed rows later."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, final

import ray
from ray.exceptions import NodeDiedError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.errors import ConfigError

CARD_SECONDS = 120  # torch, CUDA and its kernels are loaded from a network disk
SMI_SECONDS = 20


class Tried(NamedTuple):
    """What the first use of a node's cards has shown.

    Attributes:
        fault: a sentence, and what mends it; None where a card works.
        mib: memory of every card of the node; empty if unknown.
    """

    fault: tuple[str, str] | None
    mib: tuple[int, ...] = ()


def first_use() -> Tried:
    """Use a card, in a process of its own on the node."""
    from sweeps.doctor.numerics import fault_of

    return Tried(fault_of("cuda:0"), _memory())


def _memory() -> tuple[int, ...]:
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=SMI_SECONDS, check=True)
        return tuple(int(line) for line in done.stdout.split())
    return ()


@final
class Cards:
    """Tries the cards of nodes as these come; a node with a fault is used without them.

    Args:
        wanted: whether any trial asks for one; nothing is tried otherwise.
    """

    def __init__(self, wanted: bool):
        self.wanted = wanted
        self._asked: dict[str, tuple[Any, float]] = {}
        self._tried: dict[str, Tried] = {}

    def found(self, node: str) -> tuple[int, ...] | None:
        """Memory of a node's cards; None where they may not be used, or not yet."""
        tried = self._tried.get(node)
        return tried.mib if tried and not tried.fault else None

    def look(self, nodes: Sequence[Mapping[str, Any]]) -> list[str]:
        """Begin to try what is new, take in what has been tried; a line for every fault."""
        if not self.wanted:
            return []
        carded = {
            node["NodeID"]: node["NodeManagerHostname"] for node in nodes if node["Resources"].get("GPU")
        }
        for node in carded.keys() - self._tried.keys() - self._asked.keys():
            self._asked[node] = _use_of(node), time.monotonic()
        return [
            f"{carded.get(n, n)}: {said[0]}; {said[1]}. Its cards are not used" for n, said in self._ended()
        ]

    def _ended(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Faults of nodes whose cards have been tried since."""
        for node, (job, began) in list(self._asked.items()):
            done, _ = ray.wait([job], timeout=0)
            if done or time.monotonic() - began > CARD_SECONDS:
                del self._asked[node]
                if (tried := _said(job)) is None:
                    continue
                self._tried[node] = tried
                if tried.fault:
                    yield node, tried.fault

    def first(self, nodes: Callable[[], Sequence[Mapping[str, Any]]]) -> list[str]:
        """The same for the nodes that are there at the start, waited for.

        Args:
            nodes: those that are alive, when it is asked.

        Raises:
            ConfigError: no card of the cluster can be used; names the nodes and what to mend.
        """
        lines = self.look(nodes())
        while self._asked:
            ray.wait([job for job, _ in self._asked.values()], timeout=1.0)
            lines += self.look(nodes())
        if lines and all(tried.fault for tried in self._tried.values()):
            raise ConfigError([*lines, "or run without: resources: {gpus: 0}"])
        return lines


def _use_of(node: str) -> Any:
    place = NodeAffinitySchedulingStrategy(node, soft=False)
    # the smallest share: it has to get in beside what others of this cluster run
    return ray.remote(first_use).options(scheduling_strategy=place, num_cpus=0, num_gpus=0.01).remote()


def _said(job: Any) -> Tried | None:
    """What came of it; None where the node was gone, which Ray may not have noticed yet."""
    try:
        return ray.get(job, timeout=1.0)
    except (TaskUnschedulableError, NodeDiedError):
        return None
    except Exception as error:  # noqa: BLE001 - a process that dies or hangs at its first use is a fault too
        said = f"the first use of a card failed ({type(error).__name__})"
        return Tried((said, "try `python -m harness.doctor` there"))
