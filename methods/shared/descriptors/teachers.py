"""Which teachers describe patches, and where they lie (no torch in here, but where one is loaded)."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.digest import file_digest
from harness.errors import WeightsError
from harness.method import Asset
from methods.shared.descriptors.plans import kernels
from methods.shared.weight_files import shapes_of

if TYPE_CHECKING:
    from methods.shared.descriptors.networks import Descriptor

RANDOM = "random"
RANDOM_SEED = 20  # of teachers that are not trained: the same for all trials
MARK = "random teachers"
COMMAND = "python -m methods.shared.descriptors.distill"


def file_of(folder: str, field: int) -> Path:
    """Where the teacher of a field lies in a folder."""
    return Path(folder).expanduser() / f"p{field}.safetensors"


def assets(params: Mapping[str, Any], category: str) -> tuple[Asset, ...]:
    """The files of a method with parameters `teachers`, `fields` and `width`.

    Raises:
        WeightsError: one is missing, or holds something else.
    """
    del category  # the same for all
    if params["teachers"] == RANDOM:
        told = f"{RANDOM_SEED} {params['width']}"
        return (Asset("random teachers", hashlib.sha256(told.encode()).hexdigest(), marks=(MARK,)),)
    files = {field: file_of(params["teachers"], field) for field in params["fields"]}
    for field, file in files.items():
        _check(file, field)
    return tuple(Asset(f"teacher p{field}", file_digest(f), str(f)) for field, f in files.items())


def digests(params: Mapping[str, Any], field: int) -> dict[str, str]:
    """What decides what the teacher of one field says: the same whichever other fields a trial has."""
    return {asset.name: asset.sha256 for asset in assets({**params, "fields": (field,)}, "")}


def unmet(params: Mapping[str, Any], task: Any) -> str | None:
    """Why a method cannot run: no teachers are named."""
    del task
    if params["teachers"]:
        return None
    return (
        f"no teachers: `teachers:` takes the folder that `{COMMAND}` makes (one is distilled for each field "
        f"of view, once for all categories), or `{RANDOM}`"
    )


def _check(file: Path, field: int) -> None:
    if not file.is_file():
        raise WeightsError(
            f"{file}: not there; make it with `{COMMAND} --fields {field} --out {file.parent}`"
        )
    shapes = shapes_of(file) or {}
    found = [shape[2] for key, shape in sorted(shapes.items()) if key.endswith("weight")]
    if found != kernels(field):
        raise WeightsError(f"{file}: kernels {found}; a teacher of field {field} has {kernels(field)}")


def loaded(teachers: str, field: int, width: float, device: str) -> "Descriptor":
    """A frozen teacher.

    Args:
        teachers: folder, or "random".
        field: of view.
        width: of random ones; that of others is their file's.
        device: torch device name.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    from methods.shared.descriptors.networks import Descriptor
    from methods.shared.training import draws

    if teachers == RANDOM:
        with draws.seeded(RANDOM_SEED, field):
            network = Descriptor(field, width)
    else:
        file = file_of(teachers, field)
        with safe_open(file, "pt") as opened:
            said = (opened.metadata() or {}).get("width", "1")  # the paper's, where a file does not say
        network = Descriptor(field, float(said))
        network.load_state_dict(load_file(file))
    return network.eval().requires_grad_(False).to(device)


def fields_of(fields: Sequence[int]) -> tuple[int, ...]:
    """Fields of view, each once, the smallest first."""
    return tuple(sorted(set(fields)))
