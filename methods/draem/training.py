"""Both networks trained together on images that are spoiled anew in every step."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from torch import Tensor

from harness.data import ImageSet
from harness.method import Context
from methods.draem import losses
from methods.draem.networks import Pair, begin
from methods.draem.samples import Spoiling, batch
from methods.draem.textures import Drawn, Folder, Textures
from methods.shared.picture_folder import listed
from methods.shared.pixels import RGB, Geometry, resized
from methods.shared.training import draws
from methods.shared.training.optimisers import adam, forward, minimise
from methods.shared.training.precision import Used
from methods.shared.training.room import Batch, Terms, Training, train

WEIGHTS, CHOICES = range(2)  # streams of draws


@final
@dataclass(frozen=True)
class Recipe:
    """Everything besides images and seed that decides the weights.

    Attributes:
        image_size: side of the images.
        width, discriminator_width: of the two networks.
        steps: of the optimiser.
        batch_size: samples in a step.
        learning_rate: of both networks.
        drops: parts of the steps after which the rate is multiplied by `drop`.
        drop: see there.
        ssim_weight: of the SSIM loss; the other two weigh 1.
        textures: folder of pictures, None for drawn ones.
        spoiling: how images become samples.
        precision: of convolutions on a card.
    """

    image_size: int
    width: int
    discriminator_width: int
    steps: int
    batch_size: int
    learning_rate: float
    drops: tuple[float, ...]
    drop: float
    ssim_weight: float
    textures: str | None
    spoiling: Spoiling
    precision: Used

    def rate(self, step: int) -> float:
        """Factor of the learning rate in a step."""
        return self.drop ** sum(step >= round(part * self.steps) for part in self.drops)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the weights, without paths."""
        told = {k: v for k, v in asdict(self).items() if k not in {"steps", "precision"}}
        return told | {"textures": listed(self.textures, "textures")[0] if self.textures else None}


def trained(recipe: Recipe, images: ImageSet, context: Context) -> Pair:
    """The networks at the end of their training, in evaluation mode.

    Raises:
        DataError: an image cannot be read.
        WeightsError: the folder of textures is none.
        HarnessError: a loss is not finite; names the step.
    """
    found = networks(recipe, context)
    pixels = resized(images, Geometry.square(recipe.image_size), context.artifacts)
    train(training(recipe, found, images, [planes(image) for image in pixels], context), context)
    return found


def networks(recipe: Recipe, context: Context) -> Pair:
    """New networks on their device."""
    with draws.seeded(context.run_seed, WEIGHTS):
        found = Pair(recipe.width, recipe.discriminator_width)
        begin(found, torch.default_generator)
    # a quarter faster on CPUs at the paper's widths, and what tensor cores want
    return found.to(context.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def planes(image: RGB) -> Tensor:
    """An image (h, w, 3) as uint8 (3, h, w)."""
    return torch.tensor(image).permute(2, 0, 1).contiguous()


def training(
    recipe: Recipe, found: Pair, images: ImageSet, shown: Sequence[Tensor], context: Context
) -> Training:
    """The training as the room takes it; `shown` are the images, uint8 (3, h, w)."""
    optimiser = adam(found.parameters(), recipe.learning_rate)
    side, seed = recipe.image_size, context.run_seed
    folder = recipe.textures and Folder(listed(recipe.textures, "textures")[1], side, context.artifacts)
    textures = Textures(folder or Drawn(side), "cpu")
    weights = torch.tensor([1.0, recipe.ssim_weight, 1.0]).to(context.device)

    def spoiled(step: int) -> Batch:
        rng = draws.rng(seed, CHOICES, step)
        return batch(shown, textures, recipe.spoiling, recipe.batch_size, rng)._asdict()

    def step(number: int, given: Batch) -> Terms:
        del number
        x = given["spoiled"].contiguous(memory_format=torch.channels_last)
        with forward(context.device, recipe.precision):
            reconstruction, logits = found(x)
        terms = losses.terms(given["clean"], given["mask"], reconstruction.float(), logits.float())
        return minimise(dict(zip(losses.TERMS, terms * weights, strict=True)), optimiser)

    return Training(
        method="draem",
        identity=recipe.identity,
        inputs=tuple(images.keys()),
        modules={"networks": found},
        optimisers={"adam": optimiser},
        batch=spoiled,
        step=step,
        terms=losses.TERMS,
        steps=recipe.steps,
        rate=recipe.rate,
        precision=recipe.precision,
        ahead=True,
    )
