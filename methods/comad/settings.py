"""The hyper-parameters of ComAD, which ComAD + PatchCore has too."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

from methods.shared.backbones import given
from methods.shared.pixels import Side

BACKBONE = "vit_small_patch8_224.dino"
LAYERS = ("norm",)


@dataclass
class Settings(given.Frozen):
    """How components are found and held against others.

    Args:
        context: run seed (of K-means), device, artifact store.
        layers: name of one of the backbone's modules (`methods.shared.layers`); "norm" are the tokens after
            the last block and its norm.
        image_size: side in pixels to which images are resized; a multiple of the patches.
        coreset_ratio: part of an image's tokens that K-means sees.
        clusters: at most so many.
        crf_iterations: of the mean field that lets heat maps follow the image's edges; 0 for none.
        jpeg: read heat maps from a lossy file, as the authors' code does.
        neighbours: training images, and components, that another one is held against.
        min_samples: components of about one size that make a kind.
            Of both, at most as many as there are training images.
    """

    _: KW_ONLY
    backbone: str = BACKBONE
    layers: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)] = LAYERS
    image_size: Side = 224
    coreset_ratio: Annotated[float, Field(gt=0, le=1)] = 0.01
    clusters: PositiveInt = 5
    crf_iterations: NonNegativeInt = 2
    jpeg: bool = False
    neighbours: PositiveInt = 5
    min_samples: PositiveInt = 10


def problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """For `Card.problems`."""
    return given.problems(params, (BACKBONE, LAYERS), step=8)
