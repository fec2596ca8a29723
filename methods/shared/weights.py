"""Which file holds the weights of a backbone; found without importing torch wherever possible.

A backbone is named as its library names it: `wide_resnet50_2.tv_in1k` is timm's,
`torchvision:squeezenet1_1` torchvision's, both with an optional `.tag` for one of several sets of
pretrained weights. `weights` says where its values come from:

- None: the library's own pretrained weights, from the local cache or else downloaded;
- a path: a `.safetensors`, `.pth`, `.pt` or `.bin` file with the key names of that library;
- "demo": small weights that ship with Ladder. `methods/demo_weights/manifest.json` says for each
  backbone, by a pattern of its name, which architecture stands in for it; `*` is every other backbone;
- "lite0": ImageNet weights of `tf_efficientnet_lite0` that install as a package (`methods.shared.installed`).
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, final
from urllib.parse import urlparse

from harness.data.digest import file_digest
from harness.errors import ConfigError, DataError, WeightsError, nearest
from harness.method import Asset
from methods.shared.installed import INSTALLED, of_backbone
from methods.shared.weight_files import shapes_of

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent.parent / "demo_weights"
TORCHVISION = "torchvision:"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@final
@dataclass(frozen=True)
class Weights:
    """A weights file and the architecture it belongs to.

    Attributes:
        backbone: name of the architecture; another one than was asked for if demo weights stand in.
        path: the file.
        own: whether they are the library's own pretrained weights, to be loaded the library's way.
        mean, std: per-channel normalisation of [0, 1] images, or None for the library's.
        marks: what tables must say of numbers made with them.
        options: of the architecture, where it is not built as its name says.
        in_order: whether its tensors are the architecture's by their order, and not by their names.
    """

    backbone: str
    path: Path
    own: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    marks: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    in_order: bool = False

    @property
    def sha256(self) -> str:
        """Content hash of the file.

        Raises:
            WeightsError: it cannot be read.
        """
        try:
            return file_digest(self.path)
        except DataError as error:
            raise WeightsError(str(error)) from error


def find(backbone: str, weights: str | None) -> Weights:
    """The weights file of a backbone.

    Raises:
        ConfigError: the library does not know the backbone or its tag.
        WeightsError: there is no such file, there are no demo weights for it, or it can be neither
            found in the local cache nor downloaded, or is not installed.
    """
    if weights == DEMO:
        return demo(backbone)
    if weights is not None and weights in INSTALLED:
        return Weights(backbone, of_backbone(weights, backbone), in_order=True)
    if weights is not None:
        return Weights(backbone, _existing(Path(weights).expanduser()))
    return Weights(backbone, _own(backbone), own=True)


def assets(params: Mapping[str, Any], category: str = "") -> tuple[Asset, ...]:
    """The weights file of a method whose parameters are called `backbone` and `weights`; for `Card.assets`.

    Raises:
        ConfigError, WeightsError: see `find`.
    """
    del category  # one backbone for all
    found = find(params["backbone"], params["weights"])
    return (Asset(found.backbone, found.sha256, str(found.path), found.marks),)


def _existing(path: Path) -> Path:
    if path.is_file() and path.suffix in SUFFIXES:
        shapes_of(path)
        return path.absolute()
    if path.is_file():
        raise WeightsError(f"weights: {path} ends in none of {', '.join(SUFFIXES)}")
    there = [p.name for p in path.parent.glob("*") if p.suffix in SUFFIXES] if path.parent.is_dir() else []
    raise WeightsError(f"weights: no file {path}{nearest(path.name, [*there, DEMO, *INSTALLED])}")


def demo(name: str, kind: str = "backbones") -> Weights:
    """The demo weights that stand in for a model.

    Args:
        name: of the model, with or without a tag.
        kind: "backbones" (of timm and torchvision), "image_text" (see `open_clip_name`) or
            "teachers" (of EfficientAD, see `methods.shared.training.pdn`).

    Raises:
        WeightsError: there are none, or the file is not the one that the manifest describes.
    """
    manifest = DEMO_FOLDER / "manifest.json"
    entries = json.loads(manifest.read_text()).get(kind, {}) if manifest.is_file() else {}
    entry = _entry(entries, name.partition(".")[0])
    if entry is None:
        what = _KINDS[kind]
        raise WeightsError(f"weights: demo: no demo weights for the {what} {name!r}; {_listed(entries)}")
    path = DEMO_FOLDER / entry["file"]
    if not path.is_file() or file_digest(path) != entry["sha256"]:
        raise WeightsError(f"weights: demo: {path} is missing or not the file its manifest describes")
    mean, std = _triple(entry, "mean"), _triple(entry, "std")
    options = tuple(sorted(entry.get("options", {}).items()))
    return Weights(entry["architecture"], path, False, mean, std, ("demo weights",), options)


def _entry(entries: Mapping[str, Any], name: str) -> Any:
    """What stands in for a name: of the patterns that fit, the one that says most."""
    fitting = [pattern for pattern in entries if fnmatchcase(name, pattern)]
    return entries[max(fitting, key=len)] if fitting else None


_KINDS = {"backbones": "backbone", "image_text": "image–text model", "teachers": "teacher"}


def open_clip_name(weights: Weights) -> str:
    """What `open_clip.create_model_and_transforms` and `get_tokenizer` take for demo weights.

    The folder of the file also holds `open_clip_config.json`.
    """
    return f"local-dir:{weights.path.parent}"


def _listed(entries: Mapping[str, Any]) -> str:
    return f"there are some for: {', '.join(sorted(entries))}" if entries else "none ship with this version"


def _triple(entry: Mapping[str, Any], key: str) -> tuple[float, ...] | None:
    return tuple(entry[key]) if key in entry else None


def _own(backbone: str) -> Path:
    if backbone.startswith(TORCHVISION):
        return _by_url(backbone, torchvision_weights(backbone).url)
    return _cached_timm(backbone) or _timm(backbone)


def _cached_timm(backbone: str) -> Path | None:
    """A fully named file in the Hugging Face cache, which needs neither timm nor a network."""
    from huggingface_hub import try_to_load_from_cache

    if "." not in backbone:
        return None
    found = try_to_load_from_cache(f"timm/{backbone}", "model.safetensors")
    return Path(found) if isinstance(found, str) else None


def _timm(backbone: str) -> Path:
    config = timm_config(backbone)
    if config.get("hf_hub_id"):
        return _from_hub(backbone, config["hf_hub_id"])
    if config.get("url"):
        return _by_url(backbone, config["url"])
    raise WeightsError(f"backbone {backbone!r} has no pretrained weights in timm; {ALTERNATIVES}")


ALTERNATIVES = "give `weights: PATH` (a local file) or `weights: demo`"


def _from_hub(backbone: str, repository: str) -> Path:
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    found = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(found, str):
        return Path(found)
    if constants.HF_HUB_OFFLINE or not reachable(constants.ENDPOINT):
        raise unavailable(backbone, repository)
    try:
        return Path(hf_hub_download(repository, "model.safetensors"))
    except OSError as error:  # every error of the hub and of the network below it
        raise unavailable(backbone, repository) from error


def _by_url(backbone: str, url: str) -> Path:
    from torch import hub

    path = Path(hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if path.is_file():
        return path
    if not reachable(url):
        raise unavailable(backbone, url)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        hub.download_url_to_file(url, str(path), progress=False)
    except (OSError, RuntimeError) as error:
        raise unavailable(backbone, url) from error
    return path


def unavailable(backbone: str, source: str) -> WeightsError:
    """The error for weights that are neither cached nor to be had from `source`."""
    return WeightsError(
        f"the weights of {backbone!r} are not in the local cache and {source} cannot be reached; "
        f"{ALTERNATIVES}"
    )


def reachable(url: str) -> bool:
    """Whether the host has an address: without one, the libraries would retry for half a minute."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    try:
        return bool(socket.getaddrinfo(urlparse(url).hostname, 443))
    except OSError:
        return False


def timm_config(backbone: str) -> dict[str, Any]:
    """What timm says of a model: source of its weights, mean, std, input size.

    Raises:
        ConfigError: timm knows no such model, or no such tag of it.
    """
    from timm.models import get_pretrained_cfg, is_model, list_models, list_pretrained

    plain = backbone.partition(".")[0]
    if not is_model(plain):
        hint = nearest(plain, list_models())
        raise ConfigError(
            f"{backbone!r} is not a model of timm{hint}; write torchvision's `torchvision:NAME`"
        )
    try:
        config = get_pretrained_cfg(backbone)
    except RuntimeError as error:  # timm's word for an unknown tag
        tags = ", ".join(list_pretrained(f"{plain}.*"))
        raise ConfigError(
            f"backbone {backbone!r}: timm has no such weights of {plain!r}; it has: {tags}"
        ) from error
    return config.to_dict() if config else {}


def torchvision_weights(backbone: str) -> Any:
    """The entry of torchvision (url, mean, std) for "torchvision:name" or "torchvision:name.TAG".

    Raises:
        ConfigError: torchvision knows no such model, or no such tag of it.
    """
    from torchvision.models import get_model_weights, list_models

    name, _, tag = backbone.removeprefix(TORCHVISION).partition(".")
    if name not in list_models():
        raise ConfigError(
            f"backbone {backbone!r} is not a model of torchvision{nearest(name, list_models())}"
        )
    known = get_model_weights(name)
    if tag and tag not in known.__members__:
        tags = ", ".join(known.__members__)
        raise ConfigError(f"backbone {backbone!r}: torchvision has of {name!r}: {tags}")
    return known[tag or "DEFAULT"]
