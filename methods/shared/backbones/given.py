"""The hyper-parameters of methods on frozen features, and what a card says of them.

Fields alone are taken over; what is made of them takes the hyper-parameters as a mapping, for a card is asked
while planning, when there is no method yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from harness.method import Context, Read
from methods.shared.backbones import names
from methods.shared.backbones.features import FeatureSpec
from methods.shared.pixels import Geometry, Side

Params = Mapping[str, Any]
Native = tuple[int, int]
Layers = Annotated[tuple[str, ...], Field(min_length=1)]
Precision = Literal["float32", "bfloat16", "float16"]
Triple = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
Aspect = Literal["keep", "square"]


@dataclass
class Frozen:
    """A frozen network, its layers, and the size at which it sees images.

    Args:
        context: run seed, device, artifact store.
        backbone: a model of timm, or of torchvision as `torchvision:NAME` (`methods.shared.weights`).
        layers: names of its modules (`methods.shared.layers`).
        weights: None for the library's own, a path, or "demo".
        image_size: side in pixels to which images are resized.
        precision: of the network; all but float32 also store features as float16.
        mean, std: normalisation of [0, 1] images; None for the library's.
    """

    context: Context
    _: KW_ONLY
    backbone: str
    layers: Layers
    weights: str | None = None
    image_size: Side
    precision: Precision = "float32"
    mean: Triple | None = None
    std: Triple | None = None


@dataclass
class Cropped(Frozen):
    """The same of the centre of an image, or of all of it.

    Args:
        crop: side of the centre that is looked at, None for all.
    """

    _: KW_ONLY
    crop: PositiveInt | None = None


def spec(
    params: Params, geometry: Geometry | None = None, layers: Sequence[str] | None = None
) -> FeatureSpec:
    """Which features a method with such hyper-parameters looks at.

    Args:
        params: complete hyper-parameters, or `vars` of a method.
        geometry: size of the network's input; None for a square of `image_size`, or its `crop`.
        layers: None for those called `layers`.

    Raises:
        ConfigError: the crop is larger than the image.
    """
    mean, std = (None if params[name] is None else tuple(params[name]) for name in ("mean", "std"))
    return FeatureSpec(
        params["backbone"],
        params["weights"],
        tuple(params["layers"] if layers is None else layers),
        geometry or _square(params),
        params["precision"],
        mean,
        std,
    )


def _square(params: Params) -> Geometry:
    return Geometry.square(params["image_size"], params.get("crop"))


def sizes(params: Params, native: Native) -> Sequence[Geometry]:
    """For `Card.sizes`: a square."""
    del native
    return (_square(params),)


def reads(params: Params, native: Native) -> Sequence[Read]:
    """For `Card.reads`: `layers` of a square."""
    del native
    return spec(params).reads


def problems(
    params: Params, usual: names.Usual, keys: Sequence[str] = ("layers",), step: int = 1
) -> list[tuple[str, str]]:
    """For `Card.problems`: see `names.problems`; and a crop has to lie in the image."""
    crop, size = params.get("crop"), params["image_size"]
    found = [("crop", f"{crop} is larger than image_size: {size}")] if crop and crop > size else []
    return found + names.problems(params, usual, keys, "crop" if crop else "image_size", step)


def shaped(side: int, aspect: Aspect, native: Native) -> Geometry:
    """The shorter side of an image of size (height, width) becomes `side`, or both do."""
    return Geometry.shorter(side, native) if aspect == "keep" else Geometry.square(side)


def shaped_sizes(params: Params, native: Native) -> Sequence[Geometry]:
    """For `Card.sizes` of a method that has `aspect`."""
    return (shaped(params["image_size"], params["aspect"], native),)
