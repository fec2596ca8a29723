"""Label maps that another tool has left in a folder (`harness.data.segments` says how they lie there)."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from harness.artifacts import Op
from harness.data import ImageSet, image_size
from harness.data.labels import Labels
from harness.data.segments import Segments, find_segments
from harness.errors import NeedNotMet
from harness.method import Context
from methods.psad.canvas import Canvas
from methods.psad.segmentation import shrunk
from methods.psad.sources.source import Given
from methods.psad.sources.specs import FolderSpec
from methods.shared.pixels import native_size


@final
@dataclass(frozen=True)
class FolderParts:
    """Reads the maps; nothing is stored, since they lie there already.

    Attributes:
        segments: the maps of the category.
        canvas: on which they are laid.
        context: of the trial.
    """

    segments: Segments
    canvas: Canvas
    context: Context

    @property
    def key(self) -> str:
        """The content of the folder, and how it lies on the canvas."""
        seen = {
            "size": self.canvas.geometry.shape,
            "square": self.canvas.square,
            "border": self.canvas.border,
        }
        return Op("psad_folder", seen).key(self.segments.sha256)

    @property
    def n_classes(self) -> int:
        """Of the names that the folder declares."""
        return len(self.segments.classes)

    def labels(self, images: ImageSet) -> list[Labels]:
        """See `PartSource.labels`."""
        return [self._map(images, i) for i in range(len(images))]

    def _map(self, images: ImageSet, index: int) -> Labels:
        name = images.ids[index]
        # on another canvas the image has its size there; whether the file fits was asked while planning
        size = native_size(images, index) if self.canvas.plain else image_size(self.segments.of(name))
        return shrunk(self.canvas.labels(self.segments.read(name, size)), self.canvas.geometry)


def source(given: Given, spec: FolderSpec) -> tuple[FolderParts, tuple[str, ...]]:
    """The maps of the category, and the names of its classes.

    Raises:
        DataError: nothing says what the numbers mean.
        NeedNotMet: there is no folder of the category.
    """
    root = Path(spec.segments_dir or "").expanduser()
    found = find_segments(root, given.data.category)
    if found is None:
        raise NeedNotMet(f"needs label maps of {given.data.category}, and {root} has none")
    return FolderParts(found, given.canvas, given.context), found.classes
