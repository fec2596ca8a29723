"""What a source of part labels is, and what it is made of."""

from dataclasses import dataclass
from typing import Protocol, final

from harness.data import FitData, ImageSet
from harness.data.labels import Labels
from harness.method import Context
from methods.psad.canvas import Canvas
from methods.shared.backbones.features import FeatureSpec


class PartSource(Protocol):
    """Says which part every pixel of an image belongs to; each image alone, whatever its company."""

    @property
    def context(self) -> Context:
        """Device and store."""
        ...

    @property
    def key(self) -> str:
        """Names it: everything that its label maps depend on besides the image."""
        ...

    @property
    def n_classes(self) -> int:
        """N_C, the background counted."""
        ...

    def labels(self, images: ImageSet) -> list[Labels]:
        """Class of every pixel, uint8 (h, w), of images on the canvas, at the size of the canvas.

        Raises:
            DataError: an image, or what the source knows of it, cannot be read.
        """
        ...


@final
@dataclass(frozen=True)
class Given:
    """What a source may be made of.

    Attributes:
        data: images as they are stored.
        canvas: on which all networks see them.
        encoder: backbone, its three blocks and the size of its input.
        context: seed, device, store, scratch folder.
        tf32: whether the convolutions of what is trained may be TF32.
    """

    data: FitData
    canvas: Canvas
    encoder: FeatureSpec
    context: Context
    tf32: bool = False
