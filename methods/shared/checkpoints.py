"""Filling a model from a file of weights, strictly as far as the asked layers depend on it."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.errors import WeightsError
from methods.shared import unpickling
from methods.shared.layers import outputs, patch_of
from methods.shared.weight_files import shapes_of, table, unwrapped

PROBE_SIZE = 64  # least side of the image with which the reached parameters are found out
COUNTER = "num_batches_tracked"  # a statistic of training that older files lack and inference ignores


def fill(model: nn.Module, state: Mapping[str, Tensor], layers: Sequence[str], what: str) -> None:
    """Load `state` into the plain model.

    Only parameters that the asked layers do not depend on (a classifier, blocks further up) may be
    absent or of another shape; nothing may be unexpected.

    Args:
        model: to be filled in place; put into evaluation mode.
        state: key -> tensor.
        layers: modules whose outputs will be used.
        what: names the file and the backbone in messages.

    Raises:
        WeightsError: lists the keys that do not fit.
    """
    own = model.state_dict()
    state = unwrapped(state, own)
    shapes = {key for key in own.keys() & state.keys() if own[key].shape != state[key].shape}
    absent = {key for key in own.keys() - state.keys() if not key.endswith(COUNTER)}
    reached = _reached(model, layers) if absent | shapes else set()
    problems = {
        "missing": absent & reached,
        "of another shape": shapes & reached,
        "unexpected": state.keys() - own.keys(),
    }
    if any(problems.values()):
        raise WeightsError(f"{what}, layers {', '.join(layers)}:\n{_listed(problems)}")
    model.load_state_dict({k: v for k, v in state.items() if k not in shapes}, strict=False)


def in_order(state: Mapping[str, Tensor], model: nn.Module, what: str) -> dict[str, Tensor]:
    """Tensors under the names that a model has for them, of a file whose names are another library's.

    Raises:
        WeightsError: there are more or fewer, or one has another shape than the model's at its place.
    """
    own = model.state_dict()
    if [t.shape for t in state.values()] != [t.shape for t in own.values()]:
        raise WeightsError(f"{what}: its {len(state)} tensors are not those of the {len(own)} in their order")
    return dict(zip(own, state.values(), strict=True))


def _listed(problems: Mapping[str, set[str]]) -> str:
    return "\n".join(f"  {what}: {_first(sorted(keys))}" for what, keys in problems.items() if keys)


def _first(keys: Sequence[str], most: int = 8) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


def _reached(model: nn.Module, layers: Sequence[str]) -> set[str]:
    """Keys that the layers depend on: parameters with a gradient, buffers of modules that run."""
    run: set[nn.Module] = set()

    def note(module: nn.Module, arguments: object) -> None:
        del arguments
        run.add(module)

    hooks = [module.register_forward_pre_hook(note) for module in model.modules()]
    try:
        side = -(-PROBE_SIZE // (patch_of(model) or 1)) * (patch_of(model) or 1)
        found = outputs(model.eval(), layers, torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    buffers = {key for key, module in _owners(model).items() if module in run}
    return buffers | _with_gradient(dict(model.named_parameters()), list(found.values()))


def _owners(model: nn.Module) -> dict[str, nn.Module]:
    named = ((prefix, m, b) for prefix, m in model.named_modules() for b, _ in m.named_buffers(recurse=False))
    return {f"{prefix}.{buffer}".lstrip("."): module for prefix, module, buffer in named}


def _with_gradient(parameters: Mapping[str, nn.Parameter], found: Sequence[Tensor]) -> set[str]:
    total = torch.stack([output.sum() for output in found]).sum()
    gradients = torch.autograd.grad(total, tuple(parameters.values()), allow_unused=True)
    return {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}


def read(path: Path) -> dict[str, Tensor]:
    """The table of tensors in a weights file, see `methods.shared.weight_files`.

    Raises:
        WeightsError: unreadable, or something else than such a table.
    """
    from safetensors.torch import load_file

    shapes_of(path)  # refuses in words what the readers below would refuse in theirs
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():  # "source code has changed": of a class that is not even looked up
            warnings.simplefilter("ignore")
            # weights_only knows fewer files; `unpickling` looks up no name that could run anything
            state = torch.load(path, map_location="cpu", weights_only=False, pickle_module=unpickling)
    except Exception as error:  # the two readers raise a dozen unrelated types
        raise WeightsError(f"{path}: not readable as weights ({type(error).__name__})") from error
    return table(state, path, Tensor)
