"""A process beside a supervisor: started when it is needed, asked, and killed when it does not answer."""

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple, final

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, OutOfMemoryError, RayError
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from harness.failures import uncoloured
from harness.method import Resources
from harness.trial import Status

RAISED = re.compile(r"\b(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt)\b: [^\n]+")
LOOSENESS = 0.1  # seconds in which a dying process gives its share of the bundle back


class Broken(NamedTuple):
    """How a process ended that gave no answer."""

    status: Status
    reason: str


@final
class Process:
    """One process of a class in the placement of this supervisor.

    A crash, a hang in C or Ray's memory monitor takes it alone: where the monitor kills a trial of Tune
    itself, the whole experiment ends.
    """

    def __init__(self, kind: type):
        self._kind, self._actor = kind, None

    def warm(self, resources: Resources) -> Any:
        """The actor, started if there is none; its start counts as nobody's time."""
        if self._actor is None:
            group = get_current_placement_group()
            assert group is not None, "Tune starts a supervisor in the placement group of its seat"
            # bundle 0 is the supervisor's own
            place = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=1)
            wanted = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "max_restarts": 0}
            # wrapped here, not decorated there: what the process imports leaves out Tune (1 s)
            remote: Any = ray.remote(self._kind)
            self._actor = remote.options(scheduling_strategy=place, **wanted).remote()
            ray.get(self._actor.ready.remote())
        return self._actor

    def ask(self, resources: Resources, minutes: float | None, question: Callable[[Any], Any]) -> Any:
        """What it answers; or `Broken`, and there is no process any more.

        Raises:
            ConnectionError: the node is gone.
        """
        try:
            return ray.get(question(self.warm(resources)), timeout=minutes and minutes * 60)
        except GetTimeoutError:
            self.kill()
            return Broken(Status.TIMEOUT, f"still running after {minutes:g} minutes")
        except RayError as error:
            self.kill()
            return broken(error)

    def kill(self) -> None:
        """End it, if there is one."""
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None
            time.sleep(LOOSENESS)


def broken(error: RayError) -> Broken:
    """What ended a process that nobody asked to end.

    Ray's text for any dead process speaks of memory and nodes as possible causes; only the phrases that
    it uses when it knows are believed.

    Raises:
        ConnectionError: the node is gone. No row: the trial is not to blame.
    """
    text = str(error)
    if isinstance(error, OutOfMemoryError) or "running low on memory" in text:
        return Broken(Status.OOM, plain(text))
    if isinstance(error, ActorUnavailableError) or "its node has died" in text:
        raise ConnectionError(f"the node of this seat is gone: {plain(text)[:500]}") from error
    return Broken(Status.CRASHED, plain(text))


def plain(text: str) -> str:
    """Ray's text on one line, without colours, what was raised first; cut, for it may hold a whole log."""
    text = uncoloured(text)
    raised = RAISED.findall(text)
    cause = f"{raised[-1].strip()} | " if raised else ""
    return (cause + " ".join(text.split()))[:2000]
