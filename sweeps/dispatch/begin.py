"""A dispatcher with what is known before anything runs."""

from collections.abc import Sequence
from pathlib import Path

from methods import METHODS
from sweeps.dispatch.costs import Costs
from sweeps.dispatch.dispatcher import GPU_SECONDS, Dispatcher
from sweeps.dispatch.memory import Kinds
from sweeps.dispatch.shares import Shares
from sweeps.plan import WorkUnit


def dispatcher_for(
    units: Sequence[WorkUnit],
    *,
    folder: Path | None,
    most: int | None = None,
    patience: float = GPU_SECONDS,
) -> Dispatcher:
    """A dispatcher of these units.

    Args:
        units: what to run.
        folder: of `costs.json` and `packing.json` (`harness.cache.cache_root()`); None keeps nothing.
        most: trials of a unit at most (`unit_trials` of the sweep file).
        patience: see `Dispatcher`; 0 where the cluster is this machine.
    """
    kinds = Kinds(trial for unit in units for trial in unit.trials)
    costs = Costs(kinds, folder, lambda method: METHODS.load(method).card.seconds)
    return Dispatcher(
        units,
        kinds=kinds,
        costs=costs,
        shares=Shares(folder),
        most=most,
        patience=patience,
    )
