"""One training as plain data: its recipe, images and seed, its identity, and where its traces lie."""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from harness.artifacts import Op
from harness.data import ImageSet
from harness.method import Context
from methods.efficientad.recipe import Recipe
from methods.efficientad.teacher import Maps, Teacher, folder_digest
from methods.shared.pixels import RGB, Geometry, resized

VERSION = 1  # raised when unchanged recipes train to other weights


@final
@dataclass(frozen=True)
class Task:
    """A student and an autoencoder to be trained.

    Attributes:
        recipe: how.
        teacher: from whom.
        images: on what.
        penalty: folder of images of other things, or None.
        context: seed, device, artifact store, scratch folder.
    """

    recipe: Recipe
    teacher: Teacher
    images: ImageSet
    penalty: str | None
    context: Context

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Content of the images, in order."""
        return tuple(self.images.keys())

    def op(self, name: str) -> Op:
        """What of this training is stored under `name`: "efficientad_weights", "efficientad_losses"."""
        params = {
            "recipe": asdict(self.recipe),
            "teacher": self.teacher.identity,
            "penalty": folder_digest(self.penalty)[0] if self.penalty else None,
            "seed": self.context.run_seed,
        }
        return Op(name, params, VERSION)

    @cached_property
    def key(self) -> str:
        """Identity of the training: of everything that decides the weights, and nothing else."""
        return self.op("efficientad_training").key(*self.inputs)

    @property
    def checkpoint(self) -> Path | None:
        """File of the unfinished training."""
        folder = self.context.scratch
        return folder / f"training-{self.key[:16]}.pt" if folder else None

    @property
    def curve(self) -> Path | None:
        """File of the losses of every step: `losses.csv`."""
        folder = self.context.scratch
        return folder / "losses.csv" if folder else None

    def pixels(self) -> list[RGB]:
        """The images at the networks' size, uint8 (s, s, 3)."""
        return resized(self.images, Geometry.square(self.recipe.image_size), self.context.artifacts)

    def maps(self) -> list[Maps]:
        """The teacher's maps of the images."""
        return self.teacher.maps(self.images, self.context.artifacts)

    def statistics(self) -> tuple[Maps, Maps]:
        """Mean and standard deviation of the teacher's channels over the images."""
        return self.teacher.statistics(self.images, self.context.artifacts)

    def other(self, index: int) -> RGB:
        """An image of the penalty's folder: resized to twice the size, its centre cut out."""
        assert self.penalty is not None
        path = folder_digest(self.penalty)[1]
        image = ImageSet((path[index].name,), (path[index],))
        side = self.recipe.image_size
        return resized(image, Geometry.square(2 * side, side), self.context.artifacts)[0]

    @property
    def others(self) -> int:
        """How many images the penalty's folder has."""
        return len(folder_digest(self.penalty)[1]) if self.penalty else 0
