"""What has been given out, until each of its trials has its row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import final

from harness.trial import Trial
from sweeps.dispatch.lanes import Lane
from sweeps.dispatch.places import Assignment, Place


@final
@dataclass
class Given:
    """A unit that runs: where, on which cards, and what of it has ended.

    Attributes:
        assignment: the unit and its node.
        lane: that it was cut from.
        cards: of the node, which it is thought to be on.
        card_mib: memory of such a card; None if unknown.
        began: seconds of the dispatcher's clock.
        ended: ids of its trials that have a row, or were given back.
        stale: it is to end; its share was too small.
    """

    assignment: Assignment
    lane: Lane
    cards: tuple[int, ...]
    card_mib: float | None
    began: float
    ended: set[str] = field(default_factory=set)
    stale: bool = False

    @property
    def left(self) -> list[Trial]:
        """Trials without a row."""
        return [trial for trial in self.assignment.unit.trials if trial.id not in self.ended]

    def trial(self, trial_id: str) -> Trial:
        """One of its trials."""
        return next(trial for trial in self.assignment.unit.trials if trial.id == trial_id)


@final
class Running:
    """Units that hold a place, and those that have let go of it while metrics of their trials are under way.

    Attributes:
        now: unit id -> those that hold a place.
    """

    def __init__(self) -> None:
        self.now: dict[str, Given] = {}
        self._past: dict[str, Given] = {}

    def __len__(self) -> int:
        return len(self.now) + len(self._past)

    def begin(self, given: Given) -> None:
        """A unit takes its place."""
        self.now[given.assignment.unit.id] = given

    def of(self, unit_id: str) -> Given:
        """A unit of which not every trial has its row."""
        return self.now.get(unit_id) or self._past[unit_id]

    def leave(self, unit_id: str) -> Given | None:
        """A unit lets go of its place; None where it has done so before."""
        given = self.now.pop(unit_id, None)
        if given is not None:
            self._past[unit_id] = given
        return given

    def ended(self, unit_id: str, trial_ids: Iterable[str]) -> Given:
        """Nothing more is to come of these trials."""
        given = self.of(unit_id)
        given.ended.update(trial_ids)
        if unit_id in self._past and not given.left:
            del self._past[unit_id]
        return given

    def take_from(self, places: Mapping[str, Place]) -> None:
        """Account for what runs."""
        for given in self.now.values():
            if given.assignment.node in places:
                places[given.assignment.node].took(given.assignment.resources, given.cards)
