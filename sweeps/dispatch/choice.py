"""Which lane is begun where, among those that have room."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import final

from sweeps.dispatch.homes import Homes, Load
from sweeps.dispatch.lanes import Lane
from sweeps.dispatch.places import Place
from sweeps.dispatch.rooms import Rooms

OWN, SHARED, AWAY = 0, 1, 2
PATIENCE = 8  # starts that may overtake a trial for which there is no room; then room is kept for it


@final
class Choice:
    """One decision.

    Args:
        places: node -> what is free there.
        rooms: what nodes would give.
        homes: where arrays are.
        load: how busy nodes are.
    """

    def __init__(self, places: Mapping[str, Place], rooms: Rooms, homes: Homes, load: Callable[[], Load]):
        self._places, self._rooms, self._homes, self._load = places, rooms, homes, load

    @cached_property
    def load(self) -> Load:
        """Asked for only where something has room."""
        return self._load()

    def of(self, order: Sequence[Lane]) -> tuple[Lane, Place] | None:
        """The first lane that has room at a place that is good for it, and the place.

        Those that are passed over for want of room remember it, and after a while room is kept for one.
        """
        overtaken: list[Lane] = []
        later: list[Lane] = []
        for lane in order:
            fitting = self._fitting(lane)
            if not fitting:
                self._overtake(lane, overtaken)
            elif good := self._of_tier(lane, fitting, OWN):
                return self._begun(lane, good, overtaken)
            else:
                later.append(lane)
        # asked again: room may have been kept for somebody meanwhile
        left = [(lane, fitting) for lane in later if (fitting := self._fitting(lane))]
        for lane, fitting in left:
            if good := self._of_tier(lane, fitting, SHARED):
                return self._begun(lane, good, overtaken)
        pressing = [pair for pair in left if self.load.elsewhere(pair[0], self._at_home(pair[0]))]
        if not pressing:
            return None
        # with its arrays comes all that needs them: one more pass for as much work as possible
        return self._begun(*max(pressing, key=lambda pair: self._brings(pair[0])), overtaken)

    def _brings(self, lane: Lane) -> float:
        """Seconds of work that a node has for itself when it takes over a lane."""
        return self.load.waiting[lane.arrays] / (1 + len(self._at_home(lane)))

    def _at_home(self, lane: Lane) -> set[str]:
        return self._homes.of(lane.arrays, self._rooms.offers(lane))

    def _of_tier(self, lane: Lane, fitting: Iterable[Place], most: int) -> list[Place]:
        homes = self._at_home(lane)
        soon = self.load.pressing(lane)
        return [p for p in fitting if self._tier(lane, p.node.id, homes, soon) <= most]

    def _tier(self, lane: Lane, node: str, homes: set[str], soon: bool) -> int:
        """How much a node is the right one for arrays that are at home there, elsewhere, or nowhere."""
        if not homes:
            # a node that has enough to do leaves what is new to others
            return OWN if soon or self.load.bears(lane, node) else SHARED
        if node in homes:
            # who came to help has nothing else
            return OWN if soon or len(homes) == 1 else SHARED
        # too long to be begun when a node has done its own
        return OWN if soon and self.load.behind(homes) else AWAY

    def _begun(self, lane: Lane, places: Iterable[Place], overtaken: Iterable[Lane]) -> tuple[Lane, Place]:
        for other in overtaken:
            other.passed += 1
        return lane, min(places, key=lambda place: self._rank(lane, place))

    def _fitting(self, lane: Lane) -> list[Place]:
        offers = self._rooms.offers(lane)
        return [self._places[name] for name, offer in offers.items() if self._places[name].fits(offer)]

    def _overtake(self, lane: Lane, overtaken: list[Lane]) -> None:
        offers = self._rooms.offers(lane)
        if not offers:
            return
        if lane.passed >= PATIENCE and not any(other.passed >= PATIENCE for other in overtaken):
            emptiest = max((self._places[name] for name in offers), key=_emptiness)
            emptiest.hold(offers[emptiest.node.id])
        overtaken.append(lane)

    def _rank(self, lane: Lane, place: Place) -> tuple[bool, float, float]:
        # cores beside a card are for those that use it
        spares = bool(place.node.gpus) and not self._rooms.on_card(lane)
        return spares, self.load.nodes[place.node.id], -place.cpus / place.node.cpus


def _emptiness(place: Place) -> tuple[float, float]:
    return max(place.cards, default=0.0), place.cpus
