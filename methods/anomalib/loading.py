"""How anomalib's models come by their weights here: from files that were found while planning, and offline.

anomalib calls timm and open_clip by their module's name; for as long as a model is built or trained,
functions of ours stand there. A download that nobody has foreseen is refused as a need that is not met.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from harness.errors import NeedNotMet, WeightsError
from methods.shared.checkpoints import in_order, read
from methods.shared.openclip.spec import find_clip
from methods.shared.weight_files import unwrapped
from methods.shared.weights import DEMO, Weights, find

COUNTER = "num_batches_tracked"
Create = Callable[..., Any]


@contextmanager
def offline(weights: str | None) -> Iterator[None]:
    """Weights come from `weights` or from the libraries' caches, and nothing is downloaded."""
    timm, open_clip = import_module("timm"), import_module("open_clip")
    stand_ins = {
        ("timm", "create_model"): _from_timm(timm.create_model, weights),
        ("open_clip", "create_model_and_transforms"): _from_clip(
            open_clip.create_model_and_transforms, weights
        ),
        ("huggingface_hub.constants", "HF_HUB_OFFLINE"): True,
        ("torch.hub", "download_url_to_file"): _refused,
        ("anomalib.data.utils.download", "urlretrieve"): _refused,
    }
    with replaced(stand_ins):
        yield


@contextmanager
def replaced(stand_ins: Mapping[tuple[str, str], Any]) -> Iterator[None]:
    """Attributes of modules for a while."""
    modules = {name: import_module(name) for name, _ in stand_ins}
    kept = {(name, key): getattr(modules[name], key) for name, key in stand_ins}
    try:
        for (name, key), value in stand_ins.items():
            setattr(modules[name], key, value)
        yield
    finally:
        for (name, key), value in kept.items():
            setattr(modules[name], key, value)


def _refused(url: str, *args: object, **options: object) -> None:
    raise NeedNotMet(f"{url} would have to be downloaded, and nothing is while a trial runs")


def _from_timm(plain: Create, weights: str | None) -> Create:
    def create(model_name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        if weights == DEMO:  # its architecture stands in, pretrained or not: a student looks like its teacher
            file = _found(model_name, weights)
            model_name, options = file.backbone, dict(file.options) | options
        if not pretrained:
            return plain(model_name, pretrained=False, **options)
        return _filled(plain, _found(model_name, weights), options)

    return create


def _found(name: str, weights: str | None) -> Weights:
    try:
        return find(name, weights)
    except WeightsError as error:
        raise NeedNotMet(str(error)) from error


def _filled(plain: Create, file: Weights, options: dict[str, Any]) -> nn.Module:
    """A network of timm with the tensors of a file.

    Raises:
        WeightsError: the file has others, or fewer.
    """
    if file.own:
        return plain(
            file.backbone, pretrained=True, **options | {"pretrained_cfg_overlay": {"file": str(file.path)}}
        )
    what = f"{file.path} does not fit the backbone {file.backbone!r}"
    state = _state(plain(file.backbone, pretrained=False, **dict(file.options)), file, what)
    options |= {"pretrained_cfg_overlay": {"state_dict": dict(state)}, "pretrained_strict": False}
    network = plain(file.backbone, pretrained=True, **options)
    for config in ("pretrained_cfg", "default_cfg"):  # or the tensors would be pickled twice
        getattr(network, config, {}).pop("state_dict", None)
    head = str(getattr(network, "pretrained_cfg", {}).get("classifier") or "-") + "."
    lacking = [k for k in network.state_dict() if k not in state and not k.startswith(head)]
    if lacking := [key for key in lacking if not key.endswith(COUNTER)]:
        raise WeightsError(f"{what}: it lacks {len(lacking)} of its tensors, {', '.join(lacking[:3])}, …")
    return network


def _state(model: nn.Module, file: Weights, what: str) -> Mapping[str, Tensor]:
    """The tensors of a file under the names that timm has for them."""
    state, own = read(file.path), model.state_dict()
    found = in_order(state, model, what) if file.in_order else unwrapped(state, own)
    if strange := sorted(found.keys() - own.keys()):
        raise WeightsError(
            f"{what}: it has {len(strange)} tensors of other names, {', '.join(strange[:3])}, …"
        )
    return found


def _from_clip(plain: Create, weights: str | None) -> Create:
    def create(model_name: str, pretrained: str | None = None, **options: Any) -> Any:
        try:
            file = find_clip(model_name, pretrained, weights)
        except WeightsError as error:
            raise NeedNotMet(str(error)) from error
        return plain(model_name, pretrained=str(file.path), **options)

    return create


def own_file(module: Any, file: Path) -> None:
    """Let a model that fetches weights when its training starts take them from a file.

    EfficientAd loads its teacher, DSR names the file of its codebook.
    """

    def teacher() -> None:
        try:
            module.model.teacher.load_state_dict(_numbered(read(file)))
        except RuntimeError as error:  # torch's word for other names or shapes
            raise WeightsError(f"{file} does not fit EfficientAd's teacher: {error}") from error

    module.prepare_pretrained_model = teacher if hasattr(module.model, "teacher") else lambda: file


def _numbered(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A teacher's tensors as anomalib names them, `conv1` to `conv4`; the authors' file counts layers."""
    layers = sorted(
        {key.rpartition(".")[0] for key in state}, key=lambda name: int(re.sub(r"\D", "", name) or 0)
    )
    return {
        f"conv{1 + layers.index(layer)}.{what}": value
        for (layer, _, what), value in ((key.rpartition("."), value) for key, value in state.items())
    }
