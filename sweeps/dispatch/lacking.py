"""What a cluster lacks, and since when: nothing waits without a reason that is said."""

from collections.abc import Iterable, Mapping, Sequence
from typing import final

from sweeps.dispatch.lanes import Lane
from sweeps.dispatch.places import Node
from sweeps.dispatch.rooms import Rooms


@final
class Lacking:
    """Remembers since when there is no card, and no room for some method.

    Args:
        patience: seconds until a cluster is believed to have nothing else.
    """

    def __init__(self, patience: float):
        self._patience = patience
        self._cards: float | None = None
        self._room: dict[str, float] = {}

    def cards(self, lacking: bool, now: float) -> bool:
        """Whether cards have been lacking for long enough; to be asked again and again."""
        self._cards = (now if self._cards is None else self._cards) if lacking else None
        return self._cards is not None and now - self._cards >= self._patience

    def room(self, lanes: Iterable[Lane], rooms: Rooms, now: float) -> list[str]:
        """What has been without any node that could hold it for long enough."""
        asked = dict.fromkeys(_asked(lane, rooms) for lane in lanes)
        self._room = {words: self._room.get(words, now) for words in asked}
        return [words for words, since in self._room.items() if now - since >= self._patience]


def described(nodes: Sequence[Node], aside: Mapping[str, str]) -> list[str]:
    """What each node has, and why one is not used."""
    why = {node.id: f", put aside: {aside[node.id]}" for node in nodes if node.id in aside}
    return [f"{node}{why.get(node.id, '')}" for node in nodes] or ["there is no node"]


def _asked(lane: Lane, rooms: Rooms) -> str:
    gpus = f" and {lane.wanted.gpus:g} GPUs" if rooms.on_card(lane) else ""
    asks = f"it asks for {lane.wanted.cpus:g} CPUs{gpus} of one node"
    if lane.barred:
        why = "; ".join(dict.fromkeys(lane.barred.values()))
        return f"no healthy node is left for {lane.sample.method} ({asks}): {why}"
    return f"no node can hold {lane.sample.method}: {asks}"


def without_cards(where: str, methods: Iterable[str]) -> str:
    """The line that says that methods run without the cards that they are made for."""
    return f"no GPU {where}: {', '.join(sorted(methods))} run on CPUs (gpus: 0 says that it is meant)"
