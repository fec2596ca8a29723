"""The plain loop: one trial after the other in this process; for tests and debugging."""

import pdb
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.method import Resources
from sweeps.dispatch.lacking import without_cards
from sweeps.ledger import Ledger
from sweeps.plan import WorkUnit
from sweeps.together import train
from sweeps.worker import Setting, execute, gpus_here


def run_serial(
    units: Sequence[WorkUnit],
    setting: Setting,
    ledger: Ledger,
    watch: Callable[[], None],
    *,
    debug: bool = False,
) -> None:
    """Run every trial of every unit, in order. Timeouts need the Ray backend: nobody watches here.

    Args:
        units: what to run.
        setting: what the trials share.
        ledger: where results go, each durable before the next trial begins.
        watch: called after every trial.
        debug: stop in the debugger where a trial fails.
    """
    on_failure = _post_mortem if debug else None
    wanting = {unit.trials[0].method for unit in units if unit.resources.gpus}
    if wanting and not gpus_here():
        ledger.say(without_cards("here", wanting))
    for planned in units:
        unit = replace(planned, resources=_here(planned.resources))
        shared = train(unit, setting, on_failure) if unit.together else None
        for trial in unit.trials:
            ledger.started(trial.id)
            result = execute(trial, setting, unit.resources, unit=unit.id, on_failure=on_failure)
            # at once: Ctrl-C in the next trial loses that one alone
            ledger.finished(shared.told(result) if shared else result)
            watch()


def _here(wanted: Resources) -> Resources:
    """What a trial gets where it is alone."""
    if not gpus_here():
        # as the Ray backend does where the cluster has no GPU: the same file runs on a laptop
        return replace(wanted, gpus=0.0)
    return replace(wanted, gpus=1.0) if wanted.auto and 0 < wanted.gpus < 1 else wanted


def _post_mortem(error: Exception) -> None:
    traceback.print_exception(error)
    pdb.post_mortem(error.__traceback__)
