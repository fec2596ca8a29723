"""The models of anomalib 2.7: how each learns, and what it reads that is not in its package.

What a model takes besides (its arguments, their types and defaults) is read off anomalib's own source, see
`methods.anomalib.sources`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from harness.errors import nearest

Args = Mapping[str, Any]  # arguments of a model, its defaults filled in
Kind = Literal["remembers", "trains", "is shown"]
TV = "torchvision:"


@final
@dataclass(frozen=True)
class Entry:
    """One class of `anomalib.models`.

    Attributes:
        folder: its package below `anomalib.models`.
        kind: it "remembers" (a fixed number of passes over the images), "trains" (as many steps as it is
            given) or "is shown" the images as references, if it looks at any.
        backbones: arguments -> the pretrained networks that it loads, as `methods.shared.weights.find` calls
            them.
        clip: the model and tag of open_clip that it loads.
        hub: repository, file and revision of weights that come from a hub and from nowhere else.
        file: arguments -> a file of weights of its own, below anomalib's cache, and where it is published.
        images: the argument that names a folder of further images.
        needs_images: whether it cannot do without; what they are, and where they are published.
        batch: images in a step.
        least: arguments -> training images below which what it computes is not defined.
        sized: the argument that repeats the size of its input, if there is one.
        fixed: the only side in pixels that it can look at; 0 for any.
        smallest: the least side in pixels; the centre that it cuts out whatever it is told.
        never: why it cannot run here, whatever is installed.
    """

    folder: str
    kind: Kind
    backbones: Callable[[Args], Sequence[str]] = lambda args: ()
    clip: tuple[str, str] | None = None
    hub: tuple[str, str, str] | None = None
    file: Callable[[Args], tuple[str, str]] | None = None
    images: str = ""
    needs_images: str = ""
    batch: int = 32
    least: Callable[[Args], int] = lambda args: 1
    sized: str = ""
    fixed: int = 0
    smallest: int = 0
    never: str = ""


def _named(argument: str, prefix: str = "") -> Callable[[Args], Sequence[str]]:
    """The network that an argument names, unless `pre_trained: false` asks for random weights."""

    def backbones(args: Args) -> Sequence[str]:
        return (prefix + str(args[argument]),) if args.get("pre_trained", True) else ()

    return backbones


def _two(args: Args) -> int:
    """A covariance, or a principal component, is that of several images."""
    del args
    return 2


def _uflow(args: Args) -> Sequence[str]:
    return ("cait_m48_448", "cait_s24_224") if args["backbone"] == "mcait" else (str(args["backbone"]),)


def _foundad(args: Args) -> Sequence[str]:
    """`dinov2_vit_base_14` is timm's `vit_base_patch14_dinov2.lvd142m`."""
    kind, _, size, patch, *_ = *str(args["encoder_name"]).split("_"), "", "", ""
    tag = {"dinov2": "lvd142m", "dinov3": "lvd1689m"}.get(kind, "")
    return (f"vit_{size}_patch{patch}_{kind}.{tag}",)


RELEASES = "https://github.com/open-edge-platform/anomalib/releases"


def _teacher(args: Args) -> tuple[str, str]:
    size = args.get("model_size") or "small"
    return (
        f"pre_trained/efficientad_pretrained_weights/pretrained_teacher_{size}.pth",
        f"{RELEASES}/tag/efficientad_pretrained_weights",
    )


def _codebook(args: Args) -> tuple[str, str]:
    del args
    return "pre_trained/dsr/vq_model_pretrained_128_4096.pckl", f"{RELEASES}/tag/dsr_pretrained_weights"


_BACKBONE, _ENCODER = _named("backbone"), _named("encoder_name")
_VIDEO = "it looks at videos, and there are only images here"

CATALOGUE: Mapping[str, Entry] = {
    "AiVad": Entry("video/ai_vad", "remembers", never=_VIDEO),
    "AnomalyDINO": Entry("image/anomaly_dino", "remembers", _ENCODER),
    "AnomalyVFM": Entry(
        "image/anomalyvfm",
        "is shown",
        hub=("MaticFuc/anomalyvfm_radio", "model.safetensors", "17654e763c8fae5ae1c44e2ec421a427783d6196"),
    ),
    "CFM": Entry("image/cfm", "trains", never="it wants a point cloud with every image"),
    "Cfa": Entry("image/cfa", "trains", _named("backbone", TV)),
    "Cflow": Entry("image/cflow", "trains", _BACKBONE),
    "Csflow": Entry("image/csflow", "trains", lambda args: (f"{TV}efficientnet_b5.IMAGENET1K_V1",)),
    "Dfkde": Entry("image/dfkde", "remembers", _BACKBONE, least=lambda args: int(args["n_pca_components"])),
    "Dfm": Entry("image/dfm", "remembers", _BACKBONE, least=_two),
    "Dinomaly": Entry("image/dinomaly", "trains", _ENCODER),
    "Draem": Entry(
        "image/draem",
        "trains",
        images="dtd_dir",
        needs_images="textures (Describable Textures: https://www.robots.ox.ac.uk/~vgg/data/dtd/)",
    ),
    "Dsr": Entry("image/dsr", "trains", file=_codebook),
    "EfficientAd": Entry(
        "image/efficient_ad",
        "trains",
        file=_teacher,
        images="imagenet_dir",
        needs_images="images in a folder per class (Imagenette: https://github.com/fastai/imagenette)",
        batch=1,  # it refuses any other
    ),
    "Fastflow": Entry("image/fastflow", "trains", _BACKBONE),
    "FoundAD": Entry("image/foundad", "trains", _foundad),
    "Fre": Entry("image/fre", "trains", _BACKBONE),
    "Fuvas": Entry("video/fuvas", "remembers", never=_VIDEO),
    "Ganomaly": Entry("image/ganomaly", "trains"),
    "GeneralAD": Entry("image/general_ad", "trains", _BACKBONE),
    "Glass": Entry("image/glass", "trains", _BACKBONE, images="anomaly_source_path", sized="input_shape"),
    "InpFormer": Entry("image/inp_former", "trains", _ENCODER),
    "L2BT": Entry("image/l2bt", "trains", lambda args: ("vit_base_patch14_reg4_dinov2",)),
    "MHPatchcore": Entry("image/mh_patchcore", "remembers", _BACKBONE, smallest=224),
    "Padim": Entry("image/padim", "remembers", _BACKBONE, least=_two),
    "Patchcore": Entry("image/patchcore", "remembers", _BACKBONE),
    "Patchflow": Entry("image/patchflow", "trains", _BACKBONE),
    "Rad": Entry("image/rad", "remembers", _BACKBONE),
    "ReverseDistillation": Entry("image/reverse_distillation", "trains", _BACKBONE),
    "Stfpm": Entry("image/stfpm", "trains", _BACKBONE),
    "SuperADD": Entry("image/super_add", "remembers", _BACKBONE),
    "Supersimplenet": Entry("image/supersimplenet", "trains", _BACKBONE),
    "Uflow": Entry("image/uflow", "trains", _uflow, fixed=448),
    "UniNet": Entry("image/uninet", "trains", _named("teacher_backbone", TV)),
    "VlmAd": Entry("image/vlm_ad", "is shown", never="it asks a language model, which answers yes or no"),
    "WinClip": Entry("image/winclip", "is shown", clip=("ViT-B-16-plus-240", "laion400m_e31"), fixed=240),
}


def canonical(name: str) -> str:
    """The class that is meant, of `ReverseDistillation`, `reverse_distillation` or `reversedistillation`.

    Raises:
        ValueError: anomalib has no such model; names the nearest.
    """
    known = {each.lower(): each for each in CATALOGUE}
    found = known.get(name.replace("_", "").lower())
    if found is None:
        hint = nearest(name, CATALOGUE) or nearest(name.replace("_", "").lower(), known)
        raise ValueError(f"anomalib has no model {name[:80]!r}{hint}; it has: {', '.join(CATALOGUE)}")
    return found
