"""What each node would give to a kind of trials, kept until something changes."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar, final

from harness.method import Resources
from sweeps.dispatch.lanes import Lane
from sweeps.dispatch.places import Node, Place
from sweeps.dispatch.shares import Shares

Given = TypeVar("Given")


@final
class Rooms:
    """Answers by kind of trials: most lanes differ in their category alone.

    Args:
        nodes: that may be used.
        shares: of cards; whoever changes what they say calls `forget`.
        cards: False where trials that want a card run without.

    Attributes:
        nodes: by their ids.
        largest: memory of the largest card, MiB.
    """

    def __init__(self, nodes: Iterable[Node], shares: Shares, cards: bool = True):
        self.nodes = {node.id: node for node in nodes}
        self._shares, self.cards = shares, cards
        self.largest = max((node.card_mib or 0.0 for node in self.nodes.values()), default=0.0)
        self._offers: dict[tuple[str, Resources], Mapping[str, Resources]] = {}
        self._slots: dict[tuple[str, Resources], Mapping[str, int]] = {}

    def forget(self, kind: str) -> None:
        """What such trials need is another now."""
        for known in (self._offers, self._slots):
            for key in [key for key in known if key[0] == kind]:
                del known[key]

    def offers(self, lane: Lane) -> Mapping[str, Resources]:
        """Node -> what a trial would get there; only nodes that hold it when they are empty."""
        key = lane.kind, lane.wanted
        if key not in self._offers:
            offers = {name: self._offer(lane, node) for name, node in self.nodes.items()}
            self._offers[key] = {name: r for name, r in offers.items() if self._holds(lane, name, r)}
        return _allowed(self._offers[key], lane)

    def slots(self, lane: Lane) -> Mapping[str, int]:
        """Node -> how many such trials run there at a time."""
        key = lane.kind, lane.wanted
        if key not in self._slots:
            self.offers(lane)
            self._slots[key] = {n: Place(self.nodes[n]).room(r) for n, r in self._offers[key].items()}
        return _allowed(self._slots[key], lane)

    def on_card(self, lane: Lane) -> bool:
        """Whether a trial is to get a card."""
        return lane.wanted.gpus > 0 and self.cards

    def _offer(self, lane: Lane, node: Node) -> Resources:
        gpus = self._shares.share(lane.kind, lane.wanted, node.card_mib) if self.on_card(lane) else 0.0
        return replace(lane.wanted, cpus=min(lane.wanted.cpus, node.cpus), gpus=gpus)

    def _holds(self, lane: Lane, name: str, offered: Resources) -> bool:
        node = self.nodes[name]
        if not Place(node).room(offered):
            return False
        # what has been seen to need more than this card goes to larger ones, if there are any
        need, card = self._shares.need(lane.kind), node.card_mib
        return not (offered.gpus and lane.wanted.auto and need and card and card < min(need, self.largest))


def _allowed(by_node: Mapping[str, Given], lane: Lane) -> Mapping[str, Given]:
    """Without nodes that cannot run this lane, as has been seen; what is kept is of all lanes of a kind."""
    return {n: given for n, given in by_node.items() if n not in lane.barred} if lane.barred else by_node
