"""Which trials start next: the longest first, where they have room, near their arrays.

Nothing here waits or looks at a cluster: it is told what there is, and what has ended.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from harness.trial import Status, Trial
from sweeps.dispatch.choice import Choice
from sweeps.dispatch.costs import Costs, Expected
from sweeps.dispatch.forecast import Forecast
from sweeps.dispatch.homes import Homes, Load
from sweeps.dispatch.lacking import Lacking, described, without_cards
from sweeps.dispatch.lanes import Lane, Lanes, unit_of
from sweeps.dispatch.memory import Kinds
from sweeps.dispatch.places import Assignment, Node, Place
from sweeps.dispatch.rooms import Rooms
from sweeps.dispatch.running import Given, Running
from sweeps.dispatch.shares import Shares
from sweeps.plan import MOST_UNITS, UNIT_TRIALS, WorkUnit

PORTIONS = 4  # of a slot's part of what is left: units get shorter towards the end
SHORTEST = 2.0  # seconds of a unit at least, where its trials are short: to start one costs Tune 30 ms
SAVE_SECONDS = 30.0
# that a cluster of several machines is given to show its first card, or a node for what fits nowhere
GPU_SECONDS = 60.0


@final
class Dispatcher:
    """Keeps what waits, what runs where, and what was learned of it. Not thread-safe: one thread asks.

    A unit of the plan is not sacred: it is divided so that the last hour is nobody's alone, and every unit
    that is handed out is made anew, with a hash of its trials as its id.

    Args:
        units: what to run.
        kinds, costs, shares: made of the sweep's trials (`known`).
        most: trials of a unit at most; None decides by their number.
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
        patience: float = GPU_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._lanes = Lanes(units, kinds)
        self._kinds, self._costs, self._shares, self._clock = kinds, costs, shares, clock
        self._most = most or max(UNIT_TRIALS, -(-len(self._lanes) // MOST_UNITS))
        self._lacking = Lacking(patience)
        self._given = Running()
        self._aside: dict[str, str] = {}
        self._homes, self._rooms = Homes(), Rooms((), shares)
        self._cards_seen = self._cpu_instead = self._idle = False
        self._saved = clock()

    # What waits and what runs

    @property
    def waiting(self) -> int:
        """Trials that are not given out."""
        return len(self._lanes)

    @property
    def running(self) -> Mapping[str, Assignment]:
        """Unit id -> what is given out and has not ended."""
        return {unit: given.assignment for unit, given in self._given.now.items()}

    @property
    def done(self) -> bool:
        """Nothing waits and nothing runs."""
        return not len(self._given) and not self.waiting

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
        self._idle = False
        ahead = Forecast(self._costs, self._rooms, self._given.now.values(), self._clock())
        choice = Choice(
            self._places(),
            self._rooms,
            self._homes,
            lambda: Load(self._lanes, self._rooms, self._homes, ahead),
        )
        found = choice.of(ahead.order(self._lanes))
        if found:
            return self._start(*found, self._portion(ahead.expected(found[0]), choice.load.cluster))
        self._idle = True
        return None

    def _look(self, nodes: Sequence[Node]) -> None:
        if any(node.gpus for node in nodes):
            # from now on what wants a card gets one or waits
            self._cards_seen, self._cpu_instead = True, False
        # a head without CPUs is to do no work
        usable = {node.id: node for node in nodes if node.id not in self._aside and node.cpus > 0}
        if usable != self._rooms.nodes or self._rooms.cards == self._cpu_instead:
            self._rooms = Rooms(usable.values(), self._shares, cards=not self._cpu_instead)

    def _places(self) -> dict[str, Place]:
        """What is free, by node."""
        places = {name: Place(node) for name, node in self._rooms.nodes.items()}
        self._given.take_from(places)
        return places

    def _start(self, lane: Lane, place: Place, portion: int) -> Assignment:
        resources = self._rooms.offers(lane)[place.node.id]
        trials = lane.cut(portion)
        lane.passed = 0
        assignment = Assignment(unit_of(trials, resources), place.node.id, resources)
        cards = place.take(resources)
        self._given.begin(Given(assignment, lane, cards, place.node.card_mib, self._clock()))
        self._homes.add(lane.arrays, place.node.id)
        return assignment

    def _portion(self, expected: Expected, cluster: float) -> int:
        """How many trials the next unit has, of those that are left for so many seconds of the cluster."""
        if not expected.trust:
            return 1  # it may take two hours
        target = max(cluster / PORTIONS, SHORTEST)
        return max(1, min(self._most, int(target / max(expected.seconds, 1e-3))))

    # What has ended

    def trial_ended(self, unit_id: str, row: Mapping[str, Any]) -> None:
        """A trial of a running unit has its row; what it took is remembered."""
        given = self._given.ended(unit_id, [row["trial_id"]])
        trial = given.trial(row["trial_id"])
        if row["status"] == Status.OK and row.get("total_seconds") is not None:
            card = given.assignment.resources.gpus > 0
            computed = bool(row.get("artifact_computes"))
            self._costs.learn(
                trial, row["total_seconds"], arrays=given.lane.arrays, card=card, computed=computed
            )
            if card:
                self._shares.learn(given.lane.kind, row.get("peak_gpu_mib"))
                self._rooms.forget(given.lane.kind)
        if self._clock() - self._saved > SAVE_SECONDS:
            self.save()

    def oom(self, unit_id: str, row: Mapping[str, Any]) -> bool:
        """Ask instead of `trial_ended` where a row says `oom`.

        Returns:
            True: it ran out of its share of a card; it will be given out again with twice as much and the
            row is not to be kept. End the unit (`go_on` says so too). False: there is no more to give, or
            it was the machine's memory; the row stands, and `trial_ended` is to be called.
        """
        given = self._given.now[unit_id]
        share, wanted = given.assignment.resources.gpus, given.lane.wanted
        on_card = str(row.get("device") or "").startswith("cuda")
        if not (on_card and wanted.auto and 0 < wanted.gpus <= 1):
            return False
        self._shares.short(given.lane.kind, share, given.card_mib)
        self._rooms.forget(given.lane.kind)
        given.stale = share < 1 or (given.card_mib or 0.0) < self._rooms.largest
        return given.stale

    def go_on(self, unit_id: str) -> bool:
        """Whether a unit keeps the trials that it has not begun; else end it and give them back.

        To be asked after each of its trials: slots may be idle that could take half of the rest.
        """
        given = self._given.now[unit_id]
        if given.stale or given.assignment.node in given.lane.barred:
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
        if given := self._given.leave(unit_id):
            self.give_back(unit_id, given.left if left is None else left)

    def give_back(self, unit_id: str, trials: Iterable[Trial]) -> None:
        """Trials of a unit are to run again; they come first."""
        again = tuple(trials)
        given = self._given.ended(unit_id, [trial.id for trial in again])
        if again:
            self._lanes.add(unit_of(again, given.lane.wanted), again=True)

    def put_aside(self, node_id: str, why: str) -> None:
        """A node gets nothing any more; what runs there is left to end."""
        self._aside.setdefault(node_id, why)

    def bar(self, unit_id: str, why: str) -> None:
        """What is like a unit's trials gets no more of its node, which runs others: it waits for another."""
        given = self._given.of(unit_id)
        given.lane.barred.setdefault(given.assignment.node, why)

    def shares_store(self, node_id: str) -> None:
        """A node sees the arrays that the driver sees: where among such nodes a trial runs is all one."""
        self._homes.share(node_id)

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
        wanting = {lane.sample.method for lane in self._lanes if lane.wanted.gpus}
        decided = self._cards_seen or self._cpu_instead
        lacking = bool(wanting and self._rooms.nodes) and not (decided or pending)
        if not self._lacking.cards(lacking, self._clock()):
            return None
        self._cpu_instead = True
        return without_cards("in the cluster", wanting)

    def stuck(self, nodes: Sequence[Node], now: float | None = None) -> list[str]:
        """What no node can hold, after it has been so for a minute: what is asked, what each node has."""
        self._look(nodes)
        said = self._lacking.room(self._homeless(), self._rooms, self._clock() if now is None else now)
        return [*said, *described(nodes, self._aside)] if said else []

    def give_up(self, nodes: Sequence[Node]) -> list[WorkUnit]:
        """Take out what no node can hold; whoever asks makes rows of it."""
        self._look(nodes)
        lanes = self._homeless()
        units = [unit_of(block, lane.wanted) for lane in lanes for block in lane.blocks]
        for lane in lanes:
            lane.blocks.clear()
        return units

    def rest(self) -> list[WorkUnit]:
        """Take out all that waits; whoever asks makes rows of it."""
        units = [unit_of(block, lane.wanted) for lane in self._lanes for block in lane.blocks]
        for lane in list(self._lanes):
            lane.blocks.clear()
        return units

    def _homeless(self) -> list[Lane]:
        """Lanes that no node can hold; of those that want a card only after one was seen (`without_gpus`)."""
        decided = [lane for lane in self._lanes if self._cards_seen or not self._rooms.on_card(lane)]
        return [lane for lane in decided if not self._rooms.offers(lane)]
