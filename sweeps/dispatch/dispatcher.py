"""Which trials start next: the longest first, where they have room, near their arrays.

Nothing here waits or looks at a cluster: it is told what there is, and what has ended.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from harness.method import Resources
from harness.trial import Status, Trial
from sweeps.dispatch.costs import Costs
from sweeps.dispatch.lanes import Lane, Lanes, unit_of
from sweeps.dispatch.memory import Kinds
from sweeps.dispatch.places import Assignment, Node, Place
from sweeps.dispatch.shares import Shares
from sweeps.plan import MOST_UNITS, UNIT_TRIALS, WorkUnit

PORTIONS = 4  # of a slot's part of what is left: units get shorter towards the end
SHORTEST = 2.0  # seconds of a unit at least, where its trials are short: to start one costs Tune 30 ms
PATIENCE = 8  # starts that may overtake a trial for which there is no room; then room is kept for it
UNHEARD = (2.0, 1.5, 1.2, 1.0)  # by trust: what is not known may be long, and is begun earlier
SAVE_SECONDS = 30.0
GPU_SECONDS = (
    60.0  # that a cluster of several machines is given to show its first card, or a node that is lacking
)


@final
@dataclass
class _Given:
    """A unit that runs: where, on which cards, and what of it has ended."""

    assignment: Assignment
    wanted: Resources
    kind: str
    cards: tuple[int, ...]
    card_mib: float | None
    began: float
    ended: set[str] = field(default_factory=set)
    stale: bool = False

    @property
    def left(self) -> list[Trial]:
        return [trial for trial in self.assignment.unit.trials if trial.id not in self.ended]


@final
class Dispatcher:
    """Keeps what waits, what runs where, and what was learned of it. Not thread-safe: one thread asks.

    A unit of the plan is not sacred: it is divided so that the last hour is nobody's alone, and every unit
    that is handed out is made anew, with a hash of its trials as its id.

    Args:
        units: what to run.
        kinds, costs, shares: made of the sweep's trials (`known`).
        most: trials of a unit at most; None decides by their number.
        shared_store: every node sees the same arrays, so that it does not matter where a category runs.
        patience: seconds until a cluster without any card is believed to have none, and without a node for
            a trial too; 0 for one's own machine.
        clock: seconds.
    """

    def __init__(
        self,
        units: Iterable[WorkUnit],
        *,
        kinds: Kinds,
        costs: Costs,
        shares: Shares,
        most: int | None = None,
        shared_store: bool = False,
        patience: float = GPU_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._lanes = Lanes(units, kinds)
        self._kinds, self._costs, self._shares, self._clock = kinds, costs, shares, clock
        self._most = most or max(UNIT_TRIALS, -(-len(self._lanes) // MOST_UNITS))
        self._shared_store, self._patience = shared_store, patience
        self._given: dict[str, _Given] = {}
        self._past: dict[str, _Given] = {}  # units that have ended, apart from metrics of their trials
        self._aside: dict[str, str] = {}
        self._homes: dict[object, set[str]] = {}
        self._nodes: tuple[Node, ...] = ()
        self._cards_seen = self._cpu_instead = self._idle = False
        self._no_card_since: float | None = None
        self._no_room_since: dict[str, float] = {}
        self._saved = clock()

    # What waits and what runs

    @property
    def waiting(self) -> int:
        """Trials that are not given out."""
        return len(self._lanes)

    @property
    def running(self) -> Mapping[str, Assignment]:
        """Unit id -> what is given out and has not ended."""
        return {unit: given.assignment for unit, given in self._given.items()}

    @property
    def done(self) -> bool:
        """Nothing waits and nothing runs."""
        return not self._given and not self._past and not self.waiting

    # What to start

    def next(self, nodes: Sequence[Node]) -> Assignment | None:
        """Trials that have room on a node now, or None.

        What is answered counts as running until `unit_ended`. None is no end (see `done`): ask again when
        something has ended or a node has come.

        Args:
            nodes: that are alive. Those that come later are used, and what runs on one that is gone is
                to be ended by whoever notices.
        """
        self._look(nodes)
        places = self._places()
        overtaken: list[Lane] = []
        for lane in self._order():
            place = self._place_for(lane, places)
            if place:
                self._idle = False
                for other in overtaken:
                    other.passed += 1
                return self._start(lane, place)
            possible = [p for p in places.values() if self._possible(lane, p.node)]
            if possible and not any(p.fits(self._resources(lane, p.node)) for p in possible):
                if lane.passed >= PATIENCE and not any(o.passed >= PATIENCE for o in overtaken):
                    emptiest = max(possible, key=lambda p: (max(p.cards, default=0.0), p.cpus))
                    emptiest.hold(self._resources(lane, emptiest.node))
                overtaken.append(lane)
        self._idle = True
        return None

    def _look(self, nodes: Sequence[Node]) -> None:
        self._nodes = tuple(nodes)
        if any(node.gpus for node in nodes):
            # from now on what wants a card gets one or waits
            self._cards_seen, self._cpu_instead = True, False

    def _places(self) -> dict[str, Place]:
        """What is free, by node."""
        places = {node.id: Place(node) for node in self._nodes if self._usable(node)}
        for given in self._given.values():
            if given.assignment.node in places:
                places[given.assignment.node].took(given.assignment.resources, given.cards)
        return places

    def _usable(self, node: Node) -> bool:
        # a head without CPUs is to do no work
        return node.id not in self._aside and node.cpus > 0

    def _order(self) -> list[Lane]:
        """Lanes, those that want a card before those that could run elsewhere, and the longest first."""
        return sorted(self._lanes, key=lambda lane: (not self._on_card(lane), -self._weight(lane)))

    def _weight(self, lane: Lane) -> float:
        expected = self._costs.expected(lane.first, self._on_card(lane))
        return expected.seconds * UNHEARD[expected.trust] * len(lane.blocks[0])

    def _on_card(self, lane: Lane) -> bool:
        return lane.wanted.gpus > 0 and not self._cpu_instead

    def _resources(self, lane: Lane, node: Node) -> Resources:
        """What a trial would get of a node."""
        gpus = self._shares.share(lane.kind, lane.wanted, node.card_mib) if self._on_card(lane) else 0.0
        return replace(lane.wanted, cpus=min(lane.wanted.cpus, node.cpus), gpus=gpus)

    def _possible(self, lane: Lane, node: Node) -> bool:
        """Whether an empty node would hold it."""
        if not Place(node).room(self._resources(lane, node)):
            return False
        # what has been seen to need more than this card goes to larger ones, if there are any
        need, card = self._shares.need(lane.kind), node.card_mib
        largest = max((n.card_mib or 0.0 for n in self._nodes if self._usable(n)), default=0.0)
        return not (self._on_card(lane) and lane.wanted.auto and need and card and card < min(need, largest))

    def _place_for(self, lane: Lane, places: Mapping[str, Place]) -> Place | None:
        """Where the first block of a lane has room, at home if it can be."""
        fitting = [
            place
            for place in places.values()
            if self._possible(lane, place.node) and place.fits(self._resources(lane, place.node))
        ]
        homes = self._homes.get(lane.arrays, set())

        def rank(place: Place) -> tuple[bool, bool, float]:
            idle_card = bool(place.node.gpus) and not self._on_card(lane)
            return place.node.id not in homes, idle_card, -place.cpus / place.node.cpus

        return min(fitting, key=rank, default=None)

    def _start(self, lane: Lane, place: Place) -> Assignment:
        wanted, resources = lane.wanted, self._resources(lane, place.node)
        trials = lane.cut(self._portion(lane))
        lane.passed = 0
        cards = place.take(resources)
        assignment = Assignment(
            unit_of(trials, resources),
            place.node.id,
            resources,
            without_gpu=wanted.gpus > 0 and self._cpu_instead,
        )
        given = _Given(assignment, wanted, lane.kind, cards, place.node.card_mib, self._clock())
        self._given[assignment.unit.id] = given
        self._homes.setdefault(lane.arrays, set()).add(place.node.id)
        return assignment

    def _portion(self, lane: Lane) -> int:
        """How many trials the next unit of a lane has."""
        expected = self._costs.expected(lane.first, self._on_card(lane))
        if not expected.trust:
            return 1  # it may take two hours
        target = max(self._ahead() / PORTIONS, SHORTEST)
        return max(1, min(self._most, int(target / max(expected.seconds, 1e-3))))

    def _ahead(self) -> float:
        """Seconds in which the cluster works off what waits."""
        total = 0.0
        for lane in self._lanes:
            slots = sum(
                Place(node).room(self._resources(lane, node)) for node in self._nodes if self._usable(node)
            )
            seconds = self._costs.expected(lane.first, self._on_card(lane)).seconds
            total += seconds * sum(len(block) for block in lane.blocks) / max(slots, 1)
        return total

    # What has ended

    def trial_ended(self, unit_id: str, row: Mapping[str, Any]) -> None:
        """A trial of a running unit has its row; what it took is remembered."""
        given = self._of(unit_id)
        given.ended.add(row["trial_id"])
        trial = next(t for t in given.assignment.unit.trials if t.id == row["trial_id"])
        if row["status"] == Status.OK and row.get("total_seconds") is not None:
            card = given.assignment.resources.gpus > 0
            computed = bool(row.get("artifact_computes"))
            self._costs.learn(trial, row["total_seconds"], card=card, computed=computed)
            if card:
                self._shares.learn(given.kind, row.get("peak_gpu_mib"))
        self._settle(unit_id)
        if self._clock() - self._saved > SAVE_SECONDS:
            self.save()

    def _of(self, unit_id: str) -> _Given:
        return self._given.get(unit_id) or self._past[unit_id]

    def oom(self, unit_id: str, row: Mapping[str, Any]) -> bool:
        """Ask instead of `trial_ended` where a row says `oom`.

        Returns:
            True: it ran out of its share of a card; it will be given out again with twice as much and the
            row is not to be kept. End the unit (`go_on` says so too). False: there is no more to give, or
            it was the machine's memory; the row stands, and `trial_ended` is to be called.
        """
        given = self._given[unit_id]
        share, wanted = given.assignment.resources.gpus, given.wanted
        on_card = str(row.get("device") or "").startswith("cuda")
        if not (on_card and wanted.auto and 0 < wanted.gpus <= 1):
            return False
        largest = max((node.card_mib or 0.0 for node in self._nodes), default=0.0)
        self._shares.short(given.kind, share, given.card_mib)
        given.stale = share < 1 or (given.card_mib or 0.0) < largest
        return given.stale

    def go_on(self, unit_id: str) -> bool:
        """Whether a unit keeps the trials that it has not begun; else end it and give them back.

        To be asked after each of its trials: slots may be idle that could take half of the rest.
        """
        given = self._given[unit_id]
        if given.stale:
            return False
        left, card = given.left, given.assignment.resources.gpus > 0
        if given.assignment.unit.together or len(left) < 2 or not self._idle:
            return True
        # less would come back as one portion
        if sum(self._costs.expected(trial, card).seconds for trial in left) < 2 * SHORTEST:
            return True
        return not any(place.fits(given.assignment.resources) for place in self._places().values())

    def unit_ended(self, unit_id: str, left: Iterable[Trial] | None = None) -> None:
        """A unit has ended, by itself or with its node: what it had is free, what it left is queued again.

        Args:
            unit_id: of an assignment; one that has ended already is passed over.
            left: its trials that are to run again; None for all that have not ended here. Of others the
                metrics are under way: `trial_ended` or `give_back` will say what becomes of them.
        """
        given = self._given.pop(unit_id, None)
        if given is None:
            return
        self._past[unit_id] = given
        self.give_back(unit_id, given.left if left is None else left)

    def give_back(self, unit_id: str, trials: Iterable[Trial]) -> None:
        """Trials of a unit are to run again; they come first."""
        given, again = self._of(unit_id), tuple(trials)
        given.ended |= {trial.id for trial in again}
        self._settle(unit_id)
        if again:
            self._lanes.add(unit_of(again, given.wanted), again=True)

    def _settle(self, unit_id: str) -> None:
        if unit_id in self._past and not self._past[unit_id].left:
            del self._past[unit_id]

    def put_aside(self, node_id: str, why: str) -> None:
        """A node gets nothing any more; what runs there is left to end."""
        self._aside.setdefault(node_id, why)

    @property
    def aside(self) -> Mapping[str, str]:
        """Node id -> why it was put aside."""
        return self._aside

    def save(self) -> None:
        """Keep what was learned for the next sweep; also called from time to time."""
        self._saved = self._clock()
        self._costs.save()
        self._shares.save()

    # What cannot run

    def without_gpus(self, nodes: Sequence[Node], *, pending: bool = False) -> str | None:
        """Whether trials that want a GPU run on CPUs from now on; to be asked while nodes come and go.

        Only where no node has ever had a card, none is on its way, and that has been so for a while. It ends
        when one comes.

        Args:
            nodes: that are alive.
            pending: whether an autoscaler has been asked for nodes that are not there yet.

        Returns:
            The line to print, once, when it is decided; None otherwise.
        """
        self._look(nodes)
        wanting = sorted({lane.first.method for lane in self._lanes if lane.wanted.gpus})
        if (
            self._cards_seen
            or self._cpu_instead
            or pending
            or not wanting
            or not any(map(self._usable, nodes))
        ):
            self._no_card_since = None
            return None
        self._no_card_since = self._clock() if self._no_card_since is None else self._no_card_since
        if self._clock() - self._no_card_since < self._patience:
            return None
        self._cpu_instead = True
        return f"no GPU in the cluster: {', '.join(wanting)} run on CPUs (gpus: 0 says that it is meant)"

    def stuck(self, nodes: Sequence[Node], now: float | None = None) -> list[str]:
        """What no node can hold, after it has been so for a minute: what is asked, what each node has."""
        self._look(nodes)
        now = self._clock() if now is None else now
        lacking = {self._asked(lane): lane for lane in self._lanes if not self._placeable(lane)}
        self._no_room_since = {asked: self._no_room_since.get(asked, now) for asked in lacking}
        late = [asked for asked, since in self._no_room_since.items() if now - since >= self._patience]
        return [*late, *self._said_of_nodes()] if late else []

    def give_up(self, nodes: Sequence[Node]) -> list[WorkUnit]:
        """Take out what no node can hold; whoever asks makes rows of it."""
        self._look(nodes)
        units = []
        for lane in [lane for lane in self._lanes if not self._placeable(lane)]:
            units += [unit_of(block, lane.wanted) for block in lane.blocks]
            lane.blocks.clear()
        return units

    def rest(self) -> list[WorkUnit]:
        """Take out all that waits; whoever asks makes rows of it."""
        units = [unit_of(block, lane.wanted) for lane in self._lanes for block in lane.blocks]
        for lane in list(self._lanes):
            lane.blocks.clear()
        return units

    def _placeable(self, lane: Lane) -> bool:
        if self._on_card(lane) and not self._cards_seen:
            # `without_gpus` is still to decide
            return True
        return any(self._possible(lane, node) for node in self._nodes if self._usable(node))

    def _asked(self, lane: Lane) -> str:
        gpus = f" and {lane.wanted.gpus:g} GPUs" if self._on_card(lane) else ""
        return (
            f"no node can hold {lane.first.method}: it asks for {lane.wanted.cpus:g} CPUs{gpus} of one node"
        )

    def _said_of_nodes(self) -> list[str]:
        if not self._nodes:
            return ["there is no node"]
        return [
            f"{n}{f', put aside: {self._aside[n.id]}' if n.id in self._aside else ''}" for n in self._nodes
        ]
