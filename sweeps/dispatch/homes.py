"""Where a category's arrays are, and whether it is worth to compute them a second time elsewhere."""

from collections import Counter
from collections.abc import Iterable
from typing import final

from sweeps.dispatch.forecast import Forecast
from sweeps.dispatch.lanes import Arrays, Lane
from sweeps.dispatch.rooms import Rooms

SOON = 2.0  # times what is ahead: a trial that is longer cannot be put off


@final
class Homes:
    """Nodes on which trials with certain arrays have been, and those that see one and the same store."""

    def __init__(self) -> None:
        self._nodes: dict[Arrays, set[str]] = {}
        self._sharing: set[str] = set()

    def add(self, arrays: Arrays, node: str) -> None:
        """They are computed there now."""
        self._nodes.setdefault(arrays, set()).add(node)

    def share(self, node: str) -> None:
        """A node keeps its arrays on the disk on which the driver does."""
        self._sharing.add(node)

    def of(self, arrays: Arrays, alive: Iterable[str]) -> set[str]:
        """The nodes that have them, of those that can be used; none where it does not matter."""
        there, usable = self._nodes.get(arrays, set()), set(alive)
        if not there & self._sharing:
            return there & usable
        # on a shared disk they outlive the node that computed them
        return set() if usable <= self._sharing else (there | self._sharing) & usable


@final
class Load:
    """How long each node, and the cluster, is busy with what runs and what waits.

    Args:
        lanes: that wait; each at its home, if it has one.
        rooms, homes, ahead: what is known.

    Attributes:
        nodes: node -> seconds.
        cluster: seconds, if everybody could take everything.
        waiting: arrays -> seconds of all trials that wait and use them.
    """

    def __init__(
        self,
        lanes: Iterable[Lane],
        rooms: Rooms,
        homes: Homes,
        ahead: Forecast,
    ):
        self.nodes, self.cluster = dict.fromkeys(rooms.nodes, 0.0), 0.0
        self._rooms, self._homes, self._ahead = rooms, homes, ahead
        self.waiting = Counter[Arrays]()
        for lane, name, seconds in ahead.left():
            self._add(lane, {name}, seconds)
        for lane in lanes:
            work = lane.waiting * ahead.seconds(lane)
            self.waiting[lane.arrays] += work  # pyright: ignore[reportArgumentType]
            self._add(lane, homes.of(lane.arrays, rooms.nodes), work)

    def _add(self, lane: Lane, homes: set[str], seconds: float) -> None:
        slots = self._rooms.slots(lane)
        self.cluster += seconds / max(sum(slots.values()), 1)
        there = sum(slots.get(name, 0) for name in homes)
        for name in homes & slots.keys():
            self.nodes[name] += seconds / there

    def pressing(self, lane: Lane) -> bool:
        """Whether a trial is too long to be put off."""
        return self._ahead.seconds(lane) > SOON * self.cluster

    def bears(self, lane: Lane, node: str) -> bool:
        """Whether a node can take all that needs the lane's arrays and not be the last to end."""
        more = self.waiting[lane.arrays] / max(self._rooms.slots(lane)[node], 1)
        return self.nodes[node] + more <= self.cluster

    def behind(self, homes: set[str]) -> bool:
        """Whether these nodes are busier than the cluster."""
        return min(self.nodes[name] for name in homes) > self.cluster

    def elsewhere(self, lane: Lane, homes: set[str]) -> bool:
        """Whether an idle slot away from a lane's homes had better compute its arrays once more.

        Else it waits: for no longer than that takes.
        """
        slots = max(sum(self._rooms.slots(lane).get(name, 0) for name in homes), 1)
        free = min(self.nodes[name] for name in homes) - self._ahead.seconds(lane) / slots
        return free > self._ahead.again(lane)
