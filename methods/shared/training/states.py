"""Files from which a stopped training goes on: written whole, read with care.

A file that cannot be read, is damaged, or belongs to another network is set aside under another name, and
the training starts again; the row of its trial says so. Without that, one bad file would end every later
try of a trial.
"""

import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch

from harness.errors import HarnessError
from harness.notes import note
from harness.whole import whole

DAMAGED = ".damaged"  # end of the name under which a file is set aside
T = TypeVar("T")


class Unfit(HarnessError):
    """A state that is readable and not of this training; says what differs."""


def keep(content: Mapping[str, Any], path: Path) -> None:
    """Write a state: tensors, numbers and texts, in dicts and lists.

    Raises:
        OSError: it cannot be written; an older state stays as it was.
    """
    with whole(path) as partial:
        torch.save(dict(content), partial)


def restored(path: Path | None, take: Callable[[Any], T]) -> T | None:
    """What `take` makes of a state; None where there is none to go on from.

    Args:
        path: file that `keep` wrote, or None.
        take: gets the content, tensors on the CPU. It looks before it takes: where it raises, the file is
            set aside, and nothing may have changed.
    """
    if path is None or not path.exists():
        return None
    try:
        return take(_content(path))
    except (MemoryError, torch.OutOfMemoryError):
        raise  # the fault of this machine at this moment, not of the file
    except Exception as error:  # noqa: BLE001 - bytes that anything may have happened to fail in any way
        set_aside(path, str(error).partition("\n")[0] or type(error).__name__)
        return None


def set_aside(path: Path, why: str) -> None:
    """Give a file or folder another name, in place of what was set aside there before, and leave a note.

    Raises:
        HarnessError: it cannot be renamed either.
    """
    other = path.with_name(path.name + DAMAGED)
    try:
        if other.is_dir():
            shutil.rmtree(other)
        with suppress(FileNotFoundError):  # another process was faster
            os.replace(path, other)
    except OSError as error:
        raise HarnessError(f"{path}: {why}; and it cannot be set aside: {error.strerror}") from error
    note(f"{path}: no state to go on from ({why}); set aside as {other.name}, the training starts again")


def _content(path: Path) -> Any:
    # torch.save writes a CRC of every part, which torch.load does not look at
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise Unfit(f"{damaged} is damaged")
    return torch.load(path, map_location="cpu", weights_only=True)


def check_shapes(name: str, wanted: Mapping[Any, Any], found: Any) -> None:
    """Hold tensors by name against those that are to take their values.

    Raises:
        Unfit: other names, or another shape.
    """
    if not isinstance(found, Mapping) or wanted.keys() != found.keys():
        raise Unfit(f"{name} has other parts")
    for key, tensor in wanted.items():
        if isinstance(tensor, torch.Tensor) and tensor.shape != getattr(found[key], "shape", None):
            raise Unfit(f"{name}: {key} has another shape")


def check_optimiser(optimiser: torch.optim.Optimizer, found: Any) -> None:
    """Hold the state of an optimiser against its parameters: torch takes over moments of any shape.

    Raises:
        Unfit: other groups, or moments of another shape.
    """
    sizes = [len(group["params"]) for group in optimiser.param_groups]
    if sizes != [len(group["params"]) for group in found["param_groups"]]:
        raise Unfit("the optimiser has other groups of parameters")
    shapes = [p.shape for group in optimiser.param_groups for p in group["params"]]
    for index, moments in found["state"].items():
        for name, value in moments.items():
            if isinstance(value, torch.Tensor) and value.numel() > 1 and value.shape != shapes[index]:
                raise Unfit(f"the optimiser's {name} of parameter {index} has another shape")
