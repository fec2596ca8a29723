"""How long what waits and what runs may take, as it looks at one moment."""

from collections.abc import Iterable
from typing import final

from sweeps.dispatch.costs import Costs, Expected
from sweeps.dispatch.lanes import Lane
from sweeps.dispatch.rooms import Rooms
from sweeps.dispatch.running import Given

UNHEARD = (2.0, 1.5, 1.2, 1.0)  # by trust: what is not known may be long, and is begun earlier


@final
class Forecast:
    """Expectations, those that time has overtaken corrected.

    Args:
        costs, rooms: what is known.
        running: units that hold a place.
        now: seconds of the clock by which they began.
    """

    def __init__(self, costs: Costs, rooms: Rooms, running: Iterable[Given], now: float):
        self._costs, self._rooms, self._now = costs, rooms, now
        self._running = list(running)
        # method, and kind -> seconds per image that a trial has run without an end: a first trial teaches
        # while it runs, for hours perhaps. In the middle of a unit nobody knows when the present one began.
        self._overdue: dict[str, float] = {}
        for given in self._running:
            if not given.ended:
                self._note(given)

    def _note(self, given: Given) -> None:
        sample = given.lane.sample
        rate = (self._now - given.began) / max(sample.images, 1)
        for name in (sample.method, given.lane.kind):
            self._overdue[name] = max(self._overdue.get(name, 0.0), rate)

    def expected(self, lane: Lane) -> Expected:
        """Of one trial of a lane."""
        found = self._costs.expected(lane.sample, self._rooms.on_card(lane))
        if found.trust == 3:
            return found
        of = lane.kind if found.trust else lane.sample.method
        least = self._overdue.get(of, 0.0) * max(lane.sample.images, 1)
        return Expected(max(found.seconds, least), found.trust)

    def seconds(self, lane: Lane) -> float:
        """Of one trial of a lane."""
        return self.expected(lane).seconds

    def again(self, lane: Lane) -> float:
        """Of a trial where its arrays are not: what that takes in addition."""
        return self._costs.again(lane.sample, lane.arrays, self._rooms.on_card(lane))

    def order(self, lanes: Iterable[Lane]) -> list[Lane]:
        """Lanes, those that want a card before those that could run elsewhere, and the longest first."""
        return sorted(lanes, key=lambda lane: (not self._rooms.on_card(lane), -self._weight(lane)))

    def _weight(self, lane: Lane) -> float:
        expected = self.expected(lane)
        return expected.seconds * UNHEARD[expected.trust] * len(lane.blocks[0])

    def left(self) -> Iterable[tuple[Lane, str, float]]:
        """Lane, node and seconds that it still takes, of everything that runs."""
        for given in self._running:
            total = len(given.left) * self.seconds(given.lane)
            yield given.lane, given.assignment.node, max(total - (self._now - given.began), 0.0)
