"""Vision–language models of open_clip: which one, which file, which tokens (no torch in here).

Any model of open_clip whose image tower is its own vision transformer with a class token is read,
named as open_clip names it (`ViT-L-14` and a tag of pretrained weights). `weights` is what it is for
other backbones (`methods.shared.weights`): None for open_clip's own, a path, or "demo".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

from harness.errors import ConfigError, WeightsError, nearest
from harness.method import Asset
from methods.shared.weights import ALTERNATIVES, DEMO, Weights, demo, find, reachable, unavailable

MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI's, which most models of open_clip kept
STD = (0.26862954, 0.26130258, 0.27577711)
STAGES = 4  # into which the blocks are divided where nothing else is asked for

Precision = Literal["float32", "float16", "bfloat16"]


@final
@dataclass(frozen=True)
class ClipSpec:
    """Which model reads the images, and how.

    Attributes:
        model: name of the architecture in open_clip.
        pretrained: tag of open_clip's pretrained weights; read only where `weights` is None.
        weights: None for the pretrained weights, the path of a file, or "demo".
        size: side in pixels to which images are resized; a multiple of the patch size.
        precision: of the network's arithmetic; all but float32 keep tokens as float16.
        pos_embed: how position embeddings are brought to another grid: bicubic with antialiasing as
            open_clip does, or plain bicubic with NACLIP's scale factor.
        stages: 1-based numbers of the blocks whose outputs are kept, increasing; None divides the
            depth evenly into four (6, 12, 18, 24 of 24 blocks).
        naclip_sigma: standard deviation of NACLIP's Gaussian neighbourhood, in patches.
        naclip_arch: "reduced" has neither residual nor MLP in NACLIP's last block, "vanilla" has both.
        reads: all readings that will be asked for (`features.readings`), None if nobody knows; changes no
            number, only what is copied and stored.
    """

    model: str = "ViT-L-14"
    pretrained: str | None = "datacomp_xl_s13b_b90k"
    weights: str | None = None
    size: int = 448
    precision: Precision = "float32"
    pos_embed: Literal["openclip", "naclip"] = "openclip"
    stages: tuple[int, ...] | None = None
    naclip_sigma: float = 5.0
    naclip_arch: Literal["reduced", "vanilla"] = "reduced"
    reads: tuple[int | str, ...] | None = None

    @cached_property
    def file(self) -> Weights:
        """The weights file, with mean and standard deviation of its images.

        Raises:
            ConfigError, WeightsError: see `find_clip`.
        """
        return find_clip(self.model, self.pretrained, self.weights)

    @cached_property
    def vision(self) -> Mapping[str, Any]:
        """open_clip's configuration of the image tower.

        Raises:
            ConfigError: unknown, or not a vision transformer of open_clip.
        """
        return _vision(self.file)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.vision["layers"]

    @property
    def grid(self) -> int:
        """Patches along a side.

        Raises:
            ConfigError: the size is no multiple of the patch size.
        """
        return grid_of(self.size, self.vision["patch_size"], self.model)

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """The stages, resolved: 1-based block numbers.

        Raises:
            ConfigError: a stage that the model does not have, or stages that do not increase.
        """
        return blocks_of(self.stages, self.depth, self.model)

    def key(self, device: str) -> dict[str, Any]:
        """What every output of the image tower depends on besides the image; for an `Op`."""
        return {
            "model": self.file.backbone,
            "weights": self.file.sha256,
            "mean": self.file.mean,
            "std": self.file.std,
            "size": self.size,
            "precision": self.precision,
            "pos_embed": self.pos_embed,
            "device": device.partition(":")[0],
        }


def grid_of(size: int, patch: int, model: str) -> int:
    """Patches along a side of an image.

    Raises:
        ConfigError: the size is no multiple of the patch size.
    """
    if size % patch:
        near = max(patch, round(size / patch) * patch)
        raise ConfigError(f"image size {size} is no multiple of {model}'s patch size {patch}; e.g. {near}")
    return size // patch


def blocks_of(stages: Sequence[int] | None, depth: int, model: str) -> tuple[int, ...]:
    """Stages, resolved: 1-based block numbers; None divides the depth evenly.

    Raises:
        ConfigError: a stage that the model does not have, or stages that do not increase.
    """
    if stages is None:
        return tuple(sorted({max(1, round(depth * i / STAGES)) for i in range(1, STAGES + 1)}))
    known = [block for block in range(1, depth + 1) if block in stages]
    if list(stages) != known or not known:
        raise ConfigError(f"stages {list(stages)} of {model!r}: must increase, from 1 to {depth}")
    return tuple(stages)


def assets(params: Mapping[str, Any], category: str = "") -> tuple[Asset, ...]:
    """The weights file of a method with parameters `model`, `pretrained` and `weights`.

    Raises:
        ConfigError, WeightsError: see `find_clip`.
    """
    del category  # one model for all
    found = find_clip(params["model"], params["pretrained"], params["weights"])
    return (Asset(found.backbone, found.sha256, str(found.path), found.marks),)


def find_clip(model: str, pretrained: str | None, weights: str | None) -> Weights:
    """The weights file of a model of open_clip; its `backbone` is MODEL, or MODEL::TAG if pretrained.

    Raises:
        ConfigError: open_clip knows no such model, or no such tag of it.
        WeightsError: there is no such file, or it can be neither found in the local cache nor
            downloaded.
    """
    if weights == DEMO:
        found = demo(model, "image_text")
        return Weights(found.backbone, found.path, False, MEAN, STD, found.marks)
    if weights is not None:
        return Weights(model, find(model, weights).path, False, MEAN, STD)
    entry = _entry(model, pretrained)
    path = _cached(entry) or _downloaded(f"{model}::{pretrained}", entry)
    return Weights(f"{model}::{pretrained}", path, True, tuple(entry["mean"]), tuple(entry["std"]))


def _vision(file: Weights) -> Mapping[str, Any]:
    """The image tower's configuration: beside the demo weights, or in open_clip."""
    name = file.backbone.partition("::")[0]
    vision = (_beside(file.path) if "demo weights" in file.marks else config_of(name))["vision_cfg"]
    if not isinstance(vision.get("layers"), int) or "timm_model_name" in vision:
        raise ConfigError(f"model {name!r}: its image tower is not a vision transformer of open_clip itself")
    return vision


def _beside(path: Path) -> Mapping[str, Any]:
    return json.loads((path.parent / "open_clip_config.json").read_text())["model_cfg"]


def config_of(model: str) -> Mapping[str, Any]:
    """open_clip's configuration of a model.

    Raises:
        ConfigError: there is none of that name.
    """
    import open_clip

    found = open_clip.get_model_config(model)
    if found is None:
        hint = nearest(model, open_clip.list_models())
        raise ConfigError(f"{model!r} is not a model of open_clip{hint}")
    return found


def _entry(model: str, pretrained: str | None) -> Mapping[str, Any]:
    """What open_clip says of pretrained weights: source, mean, std."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    config_of(model)
    entry = get_pretrained_cfg(model, pretrained) if pretrained else None
    if not entry:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or f"none; {ALTERNATIVES}"
        raise ConfigError(f"pretrained {pretrained!r}: open_clip has of {model!r}: {tags}")
    return entry


def _cached(entry: Mapping[str, Any]) -> Path | None:
    """The file where open_clip would look for it without a network."""
    from huggingface_hub import try_to_load_from_cache

    if not entry.get("hf_hub"):
        path = Path("~/.cache/clip").expanduser() / Path(entry["url"]).name
        return path if path.is_file() else None
    repository, _, name = entry["hf_hub"].rpartition("/")
    found = (try_to_load_from_cache(repository, n) for n in _file_names(name))
    return next((Path(f) for f in found if isinstance(f, str)), None)


def _file_names(name: str) -> Sequence[str]:
    if not name:
        return ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    return (str(Path(name).with_suffix(".safetensors")), name)


def _downloaded(name: str, entry: Mapping[str, Any]) -> Path:
    from huggingface_hub import constants
    from open_clip.pretrained import download_pretrained

    hub = entry.get("hf_hub")
    source = hub or entry["url"]
    offline = bool(hub) and constants.HF_HUB_OFFLINE
    if offline or not reachable(constants.ENDPOINT if hub else source):
        raise unavailable(name, source.rstrip("/"))
    try:
        return Path(download_pretrained(dict(entry)))
    except (OSError, RuntimeError) as error:
        raise WeightsError(str(unavailable(name, source.rstrip("/")))) from error
