"""Who sits where: seats on nodes, the units that run in them, and what a broken seat costs."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import final

from harness.run import ended
from harness.trial import Status, Trial, TrialResult
from sweeps.dispatch import Assignment, Dispatcher
from sweeps.health import Health
from sweeps.ledger import Ledger
from sweeps.plan import WorkUnit
from sweeps.ray.nodes import Nodes
from sweeps.ray.seat import Seat, Step
from sweeps.ray.supervisor import Heard
from sweeps.worker import Setting

LOSSES = 3  # a trial that was under way so often when its node, or its supervisor, was lost is given up
STARTS = 3  # seats in a row that never came up on a node: it is used no more,
LAST_STARTS = 9  # or only after so many if it is the last one


@final
class Board:
    """Keeps the seats; outlives any experiment of Tune. One thread asks.

    Args:
        dispatcher: decides what starts.
        nodes: knows what there is.
        ledger: where results go.
        setting: what the trials share.
        units: all of them.
        grows: nodes may join.

    Attributes:
        begun: whether any supervisor has ever come up.
        seats: id -> those that are held.
        parked: ids of seats that are held so that nothing else gets their card.
        refusal: why the sweep is not to run at all.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        nodes: Nodes,
        ledger: Ledger,
        setting: Setting,
        units: Iterable[WorkUnit],
        grows: bool = False,
    ):
        self.dispatcher, self.nodes, self.ledger, self.setting = dispatcher, nodes, ledger, setting
        self.seats: dict[str, Seat] = {}
        self.parked: set[str] = set()
        self.refusal: list[str] = []
        self._trials = {trial.id: trial for unit in units for trial in unit.trials}
        self._numbers = count()
        self._held: deque[Assignment] = deque()
        self._losses: Counter[str] = Counter()
        self._grows, self.begun = grows, False
        self._unborn: Counter[str] = Counter()
        self._said: set[str] = set()
        self.health = Health()

    @property
    def finished(self) -> bool:
        """Nothing waits and nothing runs."""
        return self.dispatcher.done

    def open(self) -> Seat | None:
        """A seat that can be opened now."""
        given = self._held.popleft() if self._held else self.dispatcher.next(self.nodes.now())
        if given is None:
            return None
        seat = Seat(f"seat{next(self._numbers):05d}", given.node, given.resources)
        self._begin(seat, given)
        self.seats[seat.id] = seat
        return seat

    def came_up(self, seat: Seat) -> None:
        """Its supervisor runs: what it was opened for begins."""
        seat.up = self.begun = True
        self._unborn[seat.node] = 0
        self._started(seat)

    def heard(self, seat: Seat, heard: Heard) -> Step:
        """Take in what a supervisor says; what it does next."""
        for result in heard.results:
            self._take(seat, result)
        if heard.shares:
            self.dispatcher.shares_store(seat.node)
        seat.measuring = {trial: seat.measuring.get(trial) or seat.unit_id for trial in heard.measuring}
        if seat.unit:
            seat.next += 1
            if not heard.through and not heard.fault and self._goes_on(seat, seat.unit):
                self._started(seat)
                return Step(stays=True)
            self._through(seat, seat.unit)
        return self._park(seat, heard.fault) if heard.fault else self._another(seat)

    def lost(self, seat: Seat, why: str) -> None:
        """A seat is gone, with what was under way in it."""
        self.seats.pop(seat.id, None)
        self.parked.discard(seat.id)
        under_way = {trial.id: seat.unit_id for trial in seat.current} | seat.measuring
        self.ledger.interrupted(list(under_way))
        for trial, unit in under_way.items():
            self._losses[trial] += 1
            if self._losses[trial] >= LOSSES:
                self._lose(self._trials[trial], unit, seat, why)
            elif unit != seat.unit_id:
                self.dispatcher.give_back(unit, [self._trials[trial]])
        if seat.unit:
            self.dispatcher.unit_ended(seat.unit_id)
        if not seat.up:
            self._never_came(seat, why)

    def all_lost(self, why: str) -> None:
        """Tune is gone, and every seat with it."""
        for seat in list(self.seats.values()):
            self.lost(seat, why)
        for given in self._held:
            self.dispatcher.unit_ended(given.unit.id)
        self._held.clear()

    def give_up(self, units: Sequence[WorkUnit], why: str) -> None:
        """Rows for trials that nothing can run."""
        for unit in units:
            for trial in unit.trials:
                job = replace(self.setting.job, attempt=self._losses[trial.id], unit=unit.id)
                result = ended(trial, job, Status.LOST, why)
                # by this process, which is no host of any trial
                self.ledger.finished(replace(result, trial={**result.trial, "host": None}))

    def stranded(self) -> list[Seat]:
        """Seats that wait for a node that is gone."""
        if all(seat.up for seat in self.seats.values()):
            return []
        alive = self.nodes.alive()
        return [seat for seat in self.seats.values() if not seat.up and seat.node not in alive]

    def _begin(self, seat: Seat, given: Assignment) -> None:
        seat.given, seat.next, seat.again = given, 0, []

    def _started(self, seat: Seat) -> None:
        assert seat.unit
        self.ledger.started(seat.unit.trials[seat.next].id)

    def _take(self, seat: Seat, result: TrialResult) -> None:
        """A trial has ended: its row, or another start elsewhere."""
        trial = self._trials[result.trial["trial_id"]]
        measured, unit = trial.id in seat.measuring, seat.measuring.get(trial.id) or seat.unit_id
        host, others = self._host(seat.node), self._others(seat.node)
        verdict = self.health.judge(result, seat.node, host, others, self._grows)
        if verdict.aside:
            self.put_aside(seat.node, verdict.aside)
        if verdict.waits:
            self._bar(unit, host, trial, verdict.waits)
        if verdict.result is None:
            return self._again(seat, trial, unit)
        result = verdict.result
        # what metrics need is the machine's memory, of which a card gives no more
        if result.trial["status"] == Status.OOM and not measured and self.dispatcher.oom(unit, result.trial):
            return self._again(seat, trial, unit)
        self.ledger.finished(result)
        return self.dispatcher.trial_ended(unit, result.trial)

    def _bar(self, unit: str, host: str, trial: Trial, why: str) -> None:
        """What is like a trial waits for another node than the last one."""
        self.dispatcher.bar(unit, f"{host}: {why}")
        line = f"no healthy node is left for {trial.method}, which waits for one: {host}: {why}"
        if line not in self._said:  # once, not for every category
            self._said.add(line)
            self.ledger.say(line)

    def _again(self, seat: Seat, trial: Trial, unit: str) -> None:
        self.ledger.interrupted([trial.id])
        if unit == seat.unit_id:
            seat.again.append(trial)
        else:
            self.dispatcher.give_back(unit, [trial])

    def _host(self, node: str) -> str:
        return self.nodes.hosts.get(node, node)

    def _others(self, node: str) -> int:
        """Other nodes that do work."""
        return sum(
            n.id != node and n.cpus > 0 and n.id not in self.dispatcher.aside for n in self.nodes.now()
        )

    def _goes_on(self, seat: Seat, unit: WorkUnit) -> bool:
        return seat.node not in self.dispatcher.aside and self.dispatcher.go_on(unit.id)

    def _through(self, seat: Seat, unit: WorkUnit) -> None:
        """The unit of a seat needs its worker no more; what it has not begun is queued again."""
        self.dispatcher.unit_ended(unit.id, [*seat.again, *unit.trials[seat.next :]])
        seat.given = None

    def _another(self, seat: Seat) -> Step:
        """The next unit of a seat, if one fits; what fits elsewhere is kept for seats that will be opened."""
        while (given := self.dispatcher.next(self.nodes.now())) is not None:
            if seat.sits(given):
                self._begin(seat, given)
                self._started(seat)
                return Step(stays=True, unit=given.unit)
            self._held.append(given)
        if seat.measuring:
            return Step(stays=True, drains=True)
        del self.seats[seat.id]
        return Step(stays=False)

    def _park(self, seat: Seat, fault: str) -> Step:
        """Keep a broken card from others: Ray would give it out again at once."""
        if seat.id not in self.parked:
            self.parked.add(seat.id)
            self.nodes.park(seat.node, seat.resources.gpus)
            self.ledger.say(f"{self._host(seat.node)}: a card is not used any more: {fault}")
        return Step(stays=True, drains=bool(seat.measuring))

    def _never_came(self, seat: Seat, why: str) -> None:
        self._unborn[seat.node] += 1
        alive = seat.node in {node.id for node in self.nodes.now(fresh=True)}
        if not alive or self._unborn[seat.node] < STARTS:
            return
        said = f"no supervisor comes up there: {why[:300]}"
        last = self._unborn[seat.node] >= LAST_STARTS
        if self._others(seat.node) or (last and self._grows):
            self.put_aside(seat.node, said)
        elif last:
            self.give_up(self.dispatcher.rest(), f"node {self._host(seat.node)}: {said}")

    def put_aside(self, node: str, why: str) -> None:
        """Nothing more is begun on a node."""
        if node not in self.dispatcher.aside:
            self.dispatcher.put_aside(node, why)
            self.health.put_aside(node, self._host(node), why)
            self.ledger.say(f"{self._host(node)} is put aside: {why}")

    def _lose(self, trial: Trial, unit: str, seat: Seat, why: str) -> None:
        job = replace(self.setting.job, attempt=self._losses[trial.id], unit=unit)
        times = f"started {self._losses[trial.id]} times, each time its node or its supervisor was lost"
        result = ended(trial, job, Status.LOST, f"{times}: {why}"[:2000])
        result = replace(result, trial={**result.trial, "host": self._host(seat.node)})
        self.ledger.finished(result)
        self.dispatcher.trial_ended(unit, result.trial)
