"""What a sweep waits for is said, and ends where waiting is in vain."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import final

from harness.method import Resources
from sweeps.dispatch import Node
from sweeps.dispatch.places import Place
from sweeps.plan import WorkUnit
from sweeps.ray.board import Board
from sweeps.ray.nodes import autoscales, demand

LOOK_SECONDS = 1.0
DEMAND_SECONDS = 10.0  # an autoscaler takes a minute for a node
SAY_SECONDS = 60.0


@final
class Waiting:
    """Looks at what cannot start; of the thread that asks the board.

    Args:
        board: whose dispatcher knows what waits.
        units: all of the sweep.
        grows: nodes may join: the cluster is not of this process alone.
    """

    def __init__(self, board: Board, units: Sequence[WorkUnit], grows: bool):
        self._board, self._units, self._grows = board, units, grows
        self._looked = self._demanded = self._said = float("-inf")

    def look(self) -> None:
        """Called often; looks once a second."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        nodes, dispatcher = self._board.nodes.now(), self._board.dispatcher
        if line := dispatcher.without_gpus(nodes, pending=autoscales()):
            self._board.ledger.say(line)
        if self._grows and now - self._demanded > DEMAND_SECONDS:
            self._demanded = now
            demand(self._wanted())
        if lines := dispatcher.stuck(nodes):
            self._stuck(nodes, lines, now)

    def _wanted(self) -> list[dict[str, float]]:
        """A bundle for every trial that is left."""
        ended = self._board.ledger.ended_ids
        return [
            {"CPU": unit.resources.cpus, **({"GPU": unit.resources.gpus} if unit.resources.gpus else {})}
            for unit in self._units
            for trial in unit.trials
            if trial.id not in ended
        ]

    def _stuck(self, nodes: Sequence[Node], lines: Sequence[str], now: float) -> None:
        board = self._board
        if self._may_come(nodes):
            if now - self._said > SAY_SECONDS:
                self._said = now
                board.ledger.say(f"waiting for nodes: {'; '.join(lines)}")
        elif board.begun:
            board.give_up(board.dispatcher.give_up(nodes), "; ".join(lines))
        else:
            board.refusal = list(lines)

    def _may_come(self, nodes: Sequence[Node]) -> bool:
        """Whether what is lacking may join; a cluster that has not been given a working node yet waits."""
        idle = all(node.cpus <= 0 for node in nodes)
        return self._grows and (autoscales() or idle)


def headline(nodes: Sequence[Node], units: Sequence[WorkUnit]) -> str:
    """What there is, before anything starts: "4 nodes, 8 GPUs, 64 CPUs: 8 to 32 trials at a time"."""
    gpus, cpus = sum(n.gpus for n in nodes), sum(n.cpus for n in nodes)
    # methods differ in what they ask for
    rooms = [sum(_room(node, wanted, bool(gpus)) for node in nodes) for wanted in _kinds(units)] or [0]
    many = f"{min(rooms)} to {max(rooms)}" if min(rooms) != max(rooms) else f"{rooms[0]}"
    plural = "" if len(nodes) == 1 else "s"
    return f"{len(nodes)} node{plural}, {gpus:g} GPUs, {cpus:g} CPUs: {many} trials at a time"


def _kinds(units: Sequence[WorkUnit]) -> list[Resources]:
    return list(Counter(unit.resources for unit in units))


def _room(node: Node, wanted: Resources, cards: bool) -> int:
    cpus = min(wanted.cpus, node.cpus)
    if not cpus:
        return 0
    return Place(node).room(Resources(gpus=wanted.gpus if cards else 0.0, cpus=cpus))
