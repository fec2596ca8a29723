"""A seat: a supervisor on one node, and what its workers do."""

from dataclasses import dataclass, field
from typing import NamedTuple, final

from harness.method import Resources
from harness.trial import Trial
from sweeps.dispatch import Assignment
from sweeps.plan import WorkUnit


class Step(NamedTuple):
    """What a seat does next.

    Attributes:
        stays: whether it goes on at all.
        unit: what to begin; where it stays and there is none, it goes on with what it has.
        drains: it has no unit any more, and metrics under way.
    """

    stays: bool
    unit: WorkUnit | None = None
    drains: bool = False


@final
@dataclass
class Seat:
    """A place on a node that a supervisor holds.

    Attributes:
        id: as Tune knows it.
        node, resources: where, and what it holds.
        given: what runs in it; None while only metrics are under way.
        next: number of the trial that the worker has.
        measuring: trial id -> id of its unit, of those whose metrics are under way.
        again: trials of the unit that are to run again elsewhere.
        up: whether its supervisor has ever answered.
    """

    id: str
    node: str
    resources: Resources
    given: Assignment | None = None
    next: int = 0
    measuring: dict[str, str] = field(default_factory=dict)
    again: list[Trial] = field(default_factory=list)
    up: bool = False

    @property
    def unit(self) -> WorkUnit | None:
        """The unit that runs in it."""
        return self.given.unit if self.given else None

    @property
    def unit_id(self) -> str:
        """Its id, or ""."""
        return self.given.unit.id if self.given else ""

    @property
    def current(self) -> tuple[Trial, ...]:
        """The trial that its worker has, if any."""
        return self.given.unit.trials[self.next : self.next + 1] if self.given and self.up else ()

    def sits(self, given: Assignment) -> bool:
        """Whether an assignment can be begun here."""
        mine, theirs = self.resources, given.resources
        return given.node == self.node and (mine.cpus, mine.gpus) == (theirs.cpus, theirs.gpus)
