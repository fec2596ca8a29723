"""The hyper-parameter `norm_source`: whose scores set a scale, and whether there are enough of them."""

from collections.abc import Mapping
from typing import Any

from harness.method import Task

LEFT_OUT = 2  # training images, of which one can be left out


def too_few(source: str, n_train: int, n_validation: int, least: int = 1) -> str | None:
    """Why normal images cannot set a scale, or None.

    Args:
        source: "validation" images, training images that are left out in turn ("support_loo"), or another
            word, which wants none.
        n_train: how many training images there are.
        n_validation: how many validation images there are.
        least: how many validation images are wanted.
    """
    if source == "validation" and n_validation < least:
        wanted = f"{least} or more validation images" if least > 1 else "a validation image"
        return f"norm_source: validation needs {wanted}, {_here(n_validation)}"
    if source == "support_loo" and n_train < LEFT_OUT:
        return f"norm_source: support_loo needs {LEFT_OUT} or more training images, {_here(n_train)}"
    return None


def _here(number: int) -> str:
    return f"here are {number}" if number else "here is none"


def unmet(params: Mapping[str, Any], task: Task) -> str | None:
    """For `Card.unmet` of a method that wants nothing else."""
    return too_few(params["norm_source"], task.n_train, task.n_validation)
