"""Which backbones and layers there are, known while planning, which stays free of torch.

A child process asks timm and torchvision (see `listing`) about a name that was not met before; the answer
is kept in the cache folder for as long as the libraries keep their versions. Where the child fails, nothing
is said: the same name then meets the same library in the worker.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.cache import cache_root
from harness.errors import WeightsError, nearest
from harness.whole import whole
from methods.shared.installed import INSTALLED
from methods.shared.weight_files import shapes_of, unwrapped
from methods.shared.weights import DEMO, demo

SECONDS = 120  # importing timm takes 5, and minutes from a network drive that many nodes read at once
Usual = tuple[str, *tuple[Sequence[str], ...]]  # a backbone, and layers of it


def problems(
    params: Mapping[str, Any],
    usual: Usual,
    keys: Sequence[str] = ("layers",),
    side: str = "image_size",
    step: int = 1,
) -> list[tuple[str, str]]:
    """What is wrong with the hyper-parameters `backbone`, `layers` and `image_size`; for `Card.problems`.

    Args:
        params: complete hyper-parameters, `weights` among them.
        usual: the method's own backbone and layers, which are not asked about.
        keys: the hyper-parameters that name layers, in the order of `usual`.
        side: the hyper-parameter that says how large the shorter side of the network's input is.
        step: multiples of it fit the patches of the usual backbone, and of what stands in for it in the demo.
    """
    own = params["weights"] not in (None, DEMO, *INSTALLED)
    beyond = _beyond(params, keys) if params["weights"] == DEMO else []
    as_usual = (params["backbone"], *(tuple(params[key]) for key in keys)) == usual
    if as_usual and not own and params[side] % step == 0:
        return beyond
    backbone = _architecture(params["backbone"], params["weights"])
    known = facts(backbone)
    if known is None:
        return beyond
    if known["error"]:
        return [("backbone", known["error"])]
    unknown = [(key, layer) for key in keys for layer in params[key] if layer not in known["layers"]]
    found = [(key, no_layer(backbone, layer, known["layers"])) for key, layer in unknown]
    found = found or beyond
    if (patch := known.get("patch")) and params[side] % patch:
        found.append((side, f"{params[side]} {multiple(patch, params[side])} of {backbone!r}"))
    strange = _misfit(params["weights"], backbone, known["keys"]) if own else ""
    return found + ([("weights", strange)] if strange else [])


def _beyond(params: Mapping[str, Any], keys: Sequence[str]) -> list[tuple[str, str]]:
    """Layers above those that the demo weights hold: they are cut off where the demo ends."""
    try:
        file = demo(params["backbone"])
        held = dict.fromkeys(name.partition(".")[0] for name in shapes_of(file.path) or {})
    except WeightsError:  # said where the weights are looked for
        return []
    return [
        (key, f"{layer!r} is not among what the demo weights ({file.backbone}) hold: {', '.join(held)}")
        for key in keys
        for layer in params[key]
        if layer.partition(".")[0] not in held
    ]


def _misfit(weights: str, backbone: str, keys: Sequence[str]) -> str:
    """Why a file cannot hold the weights of a backbone, going by the names in it; empty if it can.

    Whether enough is there for the layers that are read is found out where the network is built.
    """
    try:
        there = shapes_of(Path(weights).expanduser())
    except (WeightsError, OSError):  # said where the weights are looked for
        return ""
    found = unwrapped(there, keys) if there is not None else {}
    strange = sorted(found.keys() - set(keys))
    if not strange:
        return ""
    both = f"{len(found) - len(strange)} of its {len(found)} keys are those of {backbone!r}"
    return f"{weights}: {both}; the others: {_few(strange)}; {backbone!r} has: {_few(keys)}"


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def no_layer(backbone: str, layer: str, known: Sequence[str]) -> str:
    """The sentence for a layer that a backbone lacks; it names the nearest, and those of two levels."""
    shallow = ", ".join(name for name in known if name.count(".") <= 1)
    return f"backbone {backbone!r} has no layer {layer!r}{nearest(layer, known)}; it has: {shallow}"


def multiple(patch: int, side: int) -> str:
    """The sentence for a side in pixels that patches do not fill."""
    below = side // patch * patch
    nearest_ones = " or ".join(str(n) for n in (below, below + patch) if n)
    return f"is no multiple of {patch}, the side of the patches (nearest: {nearest_ones})"


def _architecture(backbone: str, weights: str | None) -> str:
    try:
        return demo(backbone).backbone if weights == DEMO else backbone
    except WeightsError:  # said where the weights are looked for
        return backbone


@lru_cache(maxsize=256)
def facts(backbone: str) -> Mapping[str, Any] | None:
    """`error` (empty if there is such a backbone), `layers`, `keys`, `patch`; None where nobody can say."""
    file = _file(backbone)
    if file is None:
        return None
    with suppress(OSError, ValueError, TypeError, KeyError):  # not there yet, or damaged
        kept = json.loads(file.read_bytes())
        names = {what: [str(name) for name in kept[what]] for what in ("layers", "keys")}
        return {"error": str(kept["error"]), **names, "patch": int(kept["patch"] or 0) or None}
    found = ask(backbone).get(backbone)
    if found is not None:
        with suppress(OSError), whole(file, durable=False) as hidden:  # a full or read-only cache costs time
            hidden.write_text(json.dumps(found))
    return found


def _file(backbone: str) -> Path | None:
    try:
        libraries = [f"{name} {version(name)}" for name in ("timm", "torchvision")]
    except PackageNotFoundError:
        return None
    key = hashlib.sha256(json.dumps([backbone, libraries]).encode()).hexdigest()[:32]
    return cache_root() / "backbones" / f"{key}.json"


def ask(*backbones: str) -> Mapping[str, Any]:
    """Backbone -> its facts, from a child process; empty if it fails, or takes too long."""
    code = "from methods.shared.backbones.listing import main; main()"
    path = os.pathsep.join(filter(None, sys.path))
    # a child that finds no GPU leaves it alone; one thread, for it computes nothing
    quiet = {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *backbones],
            capture_output=True,
            text=True,
            env=os.environ | quiet,
            timeout=SECONDS,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])  # libraries may print before
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {}
