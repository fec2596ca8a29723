"""Nodes, and the account of what has been given out on each."""

import math
from dataclasses import dataclass, field
from typing import final

from harness.method import Resources
from sweeps.plan import WorkUnit

DUST = 1e-6  # sums of shares: ten tenths are not 1


@final
@dataclass(frozen=True)
class Node:
    """A machine of the cluster that is alive; its totals, whoever uses them.

    Attributes:
        id: unique while the cluster lives.
        host: its name, for people.
        cpus: cores; 0 for a head that is to do no work.
        gpus: cards.
        gpu_mib: memory of each card; empty if unknown.
    """

    id: str
    host: str
    cpus: float
    gpus: float = 0.0
    gpu_mib: tuple[int, ...] = ()

    @property
    def card_mib(self) -> float | None:
        """Memory that every card has; None if unknown. Which card a trial gets is not decided here."""
        return min(self.gpu_mib) if self.gpu_mib and self.gpus else None

    def __str__(self) -> str:
        memory = f" of {self.card_mib:.0f} MiB" if self.card_mib else ""
        return f"{self.host} has {self.cpus:g} CPUs and {self.gpus:g} GPUs{memory}"


@final
@dataclass(frozen=True)
class Assignment:
    """Trials that start now.

    Attributes:
        unit: the trials, in the order in which they run; its resources are what is really given. An id comes
            again only when the same trials do, after they were given back.
        node: id of the node.
        resources: cores and GPUs to reserve there; the same as the unit's.
    """

    unit: WorkUnit
    node: str
    resources: Resources


@final
@dataclass
class Place:
    """What is free on a node.

    Attributes:
        node: its totals.
        cpus: free cores; below 0 where more is held back than there is.
        cards: free part of each card.
    """

    node: Node
    cpus: float = field(init=False)
    cards: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.cpus = self.node.cpus
        self.cards = self._whole

    def fits(self, wanted: Resources) -> bool:
        """Whether a trial has room now."""
        return wanted.cpus <= self.cpus + DUST and self._chosen(wanted.gpus) is not None

    def take(self, wanted: Resources) -> tuple[int, ...]:
        """Account for a trial that fits; the cards that it is thought to be on."""
        chosen = self._chosen(wanted.gpus)
        assert chosen is not None, "asked for what does not fit"
        self.cpus -= wanted.cpus
        for card in chosen:
            self.cards[card] -= min(wanted.gpus, 1.0)
        return chosen

    def took(self, wanted: Resources, chosen: tuple[int, ...]) -> None:
        """Account for a trial that runs already."""
        self.cpus -= wanted.cpus
        # a node that came back under its id may have fewer
        for card in chosen:
            if card < len(self.cards):
                self.cards[card] -= min(wanted.gpus, 1.0)

    def hold(self, wanted: Resources) -> None:
        """Keep room for a trial that does not fit yet: nothing else begins where it is to go."""
        self.cpus -= wanted.cpus
        emptiest = sorted(range(len(self.cards)), key=lambda card: -self.cards[card])
        for card in emptiest[: math.ceil(wanted.gpus)]:
            self.cards[card] = 0.0

    def room(self, wanted: Resources) -> int:
        """How many such trials an empty node runs at a time."""
        rooms = [int((self.node.cpus + DUST) // max(wanted.cpus, DUST))]
        if wanted.gpus > 1:
            rooms.append(int(self.node.gpus // wanted.gpus))
        elif wanted.gpus:
            rooms.append(sum(int((card + DUST) // wanted.gpus) for card in self._whole))
        return min(rooms)

    @property
    def _whole(self) -> list[float]:
        # a node may offer half a card
        return [min(1.0, self.node.gpus - n) for n in range(math.ceil(self.node.gpus))]

    def _chosen(self, gpus: float) -> tuple[int, ...] | None:
        """Cards for so many GPUs, as Ray picks them: whole ones, or the fullest that still has room."""
        if not gpus:
            return ()
        if gpus > 1:
            whole = [card for card, free in enumerate(self.cards) if free > 1 - DUST]
            return tuple(whole[: int(gpus)]) if len(whole) >= gpus else None
        room = [(free, card) for card, free in enumerate(self.cards) if free > gpus - DUST]
        return (min(room)[1],) if room else None
