"""Trained weights through the artifact store: trials that differ only in how maps are read train once.

The key is the training's identity. Losses of every step are stored likewise, and lie as `losses.csv` in
the scratch folder of every trial.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from harness import gpu
from harness.failures import status_of
from harness.notes import note
from harness.trial import Status
from methods.efficientad.task import Task

WEIGHTS, LOSSES = "efficientad_weights", "efficientad_losses"


def trained(task: Task) -> NDArray[np.float32]:
    """The weights of a training, from the store, from a finished checkpoint, or trained now.

    Raises:
        HarnessError: a loss is not finite; names the step.
    """
    store = task.context.artifacts
    weights = store.get(task.op(WEIGHTS), task.inputs, lambda: _alone(task))
    losses = store.read(task.op(LOSSES), task.op(LOSSES).key(*task.inputs))
    if losses is not None and task.curve is not None and not task.curve.is_file():
        from methods.efficientad.train import write_curve  # which imports torch

        write_curve(task, losses)
    return weights


def train_together(tasks: Sequence[Task]) -> None:
    """Train what is neither stored nor finished of `tasks`, as one network, and store it.

    Members that stopped at different steps before go on apart from each other. One whose loss ceases to
    be finite is left out; its own `trained` will say so. Too many for the memory go on in halves.

    Args:
        tasks: with recipes that are equal but for the constraint.

    Raises:
        Exception: of a training; one for which memory does not even suffice alone, among them.
    """
    from methods.efficientad.train import steps_done

    missing = {task.key: task for task in tasks if not _stored(task)}
    done = {key: steps_done(task) for key, task in missing.items()}
    for _, keys in groupby(sorted(missing, key=done.__getitem__), key=done.__getitem__):
        _train([missing[key] for key in keys])


def _train(members: Sequence[Task]) -> None:
    """Train members that stand at one step; halves of them where all are too many."""
    if _trained(members):
        return
    gpu.release()  # here, where no frame of the failed training is alive
    half = len(members) // 2
    note(f"{len(members)} members are too many for the memory to be trained together: halves of them were")
    # each half's checkpoints may stand elsewhere by now
    train_together(members[:half])
    train_together(members[half:])


def _trained(members: Sequence[Task]) -> bool:
    """Whether there was room to train them together; they are stored then."""
    from methods.efficientad.train import train

    try:
        outcomes = train(members)
    except Exception as error:
        if len(members) == 1 or status_of(error) is not Status.OOM:
            raise
        return False
    for task, outcome in zip(members, outcomes, strict=True):
        if outcome.weights is not None:
            _store(task, outcome.weights, outcome.losses)
    return True


def _alone(task: Task) -> NDArray[np.float32]:
    from methods.efficientad.train import diverged, train, write_curve

    (outcome,) = train([task])
    write_curve(task, outcome.losses)
    if outcome.weights is None:
        raise diverged(outcome)
    task.context.artifacts.get(task.op(LOSSES), task.inputs, lambda: outcome.losses)
    return outcome.weights


def _store(task: Task, weights: NDArray[np.float32], losses: NDArray[np.float32]) -> None:
    store = task.context.artifacts
    store.get(task.op(WEIGHTS), task.inputs, lambda: weights)
    store.get(task.op(LOSSES), task.inputs, lambda: losses)


def _stored(task: Task) -> bool:
    op = task.op(WEIGHTS)
    return task.context.artifacts.read(op, op.key(*task.inputs)) is not None
