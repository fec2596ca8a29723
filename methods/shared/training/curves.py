"""Losses of every step: as a file beside the results, and as the error of a training that diverged."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError


def write_curve(path: Path, terms: Sequence[str], losses: NDArray[np.float32]) -> None:
    """Write the losses of all steps so far, as CSV with a header.

    NaN is left empty: a step may lack a term.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("step", *terms))
        rows.writerows((step, *map(_told, row)) for step, row in enumerate(losses))


def _told(value: np.float32) -> str:
    return "" if np.isnan(value) else str(value)


def diverged(
    step: int, terms: Sequence[str], losses: Sequence[float], what: str = "training"
) -> HarnessError:
    """The error of a training whose loss is not finite any more.

    Args:
        step: before which that was found, counted from 0.
        terms: of the loss.
        losses: of that step, one per term.
        what: is trained.
    """
    told = ", ".join(f"{name} {value:g}" for name, value in zip(terms, losses, strict=True))
    return HarnessError(f"{what} diverged at step {step}: {told}; try a smaller learning_rate")
