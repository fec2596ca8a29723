"""DRAEM: reconstruct what a texture has spoiled, and mark where."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Asset, Card, Context, Demo, Resources, Scores
from harness.views import Heat, View
from methods.shared.picture_folder import listed
from methods.shared.pixels import LARGEST_SIDE, square_input
from methods.shared.training.precision import Precision, Used, used

if TYPE_CHECKING:
    from methods.draem.training import Recipe

Side = Annotated[int, Field(ge=64, le=LARGEST_SIDE, multiple_of=32)]
Share = Annotated[float, Field(ge=0, le=1)]


def _assets(params: Mapping[str, Any], category: str) -> tuple[Asset, ...]:
    del category
    folder = params["textures"]
    return (Asset("textures", listed(folder, "textures")[0], folder),) if folder else ()


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    if params["pooling"] % 2:
        return []
    return [("pooling", f"{params['pooling']} is even, and its window has no middle; the public code has 21")]


@final
@dataclass
class DRAEM:
    """A U-Net that compares an image with its reconstruction, trained on spoiled normal images.

    Args:
        context: run seed, device, artifact store, scratch folder (state, `losses.csv`).
        image_size: side in pixels to which images are resized, a multiple of 32.
        width: channels of the autoencoder at full resolution.
        discriminator_width: of the U-Net, likewise.
        epochs: of the training images; steps are this times their number divided by the batch size.
        steps: of the optimiser instead, whatever the number of images.
        batch_size: samples in a step, drawn with replacement.
        learning_rate: of both networks.
        drops: parts of the steps after which the rate is multiplied by `drop`.
        drop: see there.
        ssim_weight: of the SSIM loss; the other two weigh 1.
        textures: folder of pictures (DTD), below which all are taken; None for pictures that are drawn.
        anomalous: share of samples that are spoiled.
        opacity: β, the part of the image that is left inside a mask, is uniform between 0 and this.
        turned: share of images that are turned before anything else, the target with them.
        degrees: by how much at most, to either side.
        pooling: side of the window over which the map is averaged for the image score.
        precision: of the convolutions; auto is tf32 on a card that has it, else float32.
    """

    card: ClassVar[Card] = Card(
        title="DRAEM",
        summary="A network told to mark where textures spoil normal images, beside their reconstruction.",
        paper=Citation(
            "Zavrtanik, Kristan, Skočaj",
            "DRÆM – A discriminatively trained reconstruction embedding for surface anomaly detection",
            "ICCV 2021",
            "https://arxiv.org/abs/2108.07610",
        ),
        licence="Apache-2.0",
        trained=True,
        validation=False,
        demo=Demo(
            {
                "image_size": 64,
                "width": 8,
                "discriminator_width": 8,
                "steps": 40,
                "learning_rate": 0.001,
                "pooling": 5,
            },
            "40 steps of narrow networks instead of 700: it shows that it runs, not what it can",
            {"shots": [1], "seeds": [0]},
        ),
        paths=frozenset({"textures"}),
        assets=_assets,
        problems=_problems,
        sizes=square_input,
        resources=Resources(gpus=1.0, cpus=2, timeout_minutes=1440),
        seconds=7200.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "image_size": 64,
        "width": 4,
        "discriminator_width": 4,
        "steps": 20,
        "batch_size": 2,
        "learning_rate": 0.005,
        "pooling": 5,
    }

    context: Context
    _: KW_ONLY
    image_size: Side = 256
    width: PositiveInt = 128
    discriminator_width: PositiveInt = 64
    epochs: PositiveInt = 700
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 8
    learning_rate: PositiveFloat = 1e-4
    drops: tuple[Share, ...] = (0.8, 0.9)
    drop: PositiveFloat = 0.2
    ssim_weight: NonNegativeFloat = 1.0
    textures: str | None = None
    anomalous: Share = 0.5
    opacity: Share = 0.8
    turned: Share = 0.3
    degrees: Annotated[float, Field(ge=0, le=180)] = 90.0
    pooling: PositiveInt = 21
    precision: Precision = "auto"
    networks: Any = field(init=False, repr=False)  # of methods.draem.networks, which imports torch

    @property
    def precision_used(self) -> Used:
        """What `precision` comes to on the device."""
        return used(self.precision, self.context.device)

    def fit(self, data: FitData) -> Self:
        """Train both networks.

        Raises:
            NeedNotMet: there is no training image.
            DataError: an image cannot be read.
            WeightsError: the folder of textures is none.
            HarnessError: a loss is not finite; names the step.
        """
        from methods.draem.training import trained

        if not len(data.train):
            raise NeedNotMet("DRAEM needs at least one training image")
        self.networks = trained(self._recipe(len(data.train)), data.train, self.context)
        return self

    def score(self, images: ImageSet) -> Scores:
        """The largest mean of the map in a window.

        Returns:
            Scores with the part "max" (of the map itself), and maps of the probability of being spoiled,
            (n, image_size, image_size).
        """
        maps = np.stack([spoiled for _, spoiled in self._seen(images)])
        tops = np.array([highest_mean(spoiled, self.pooling) for spoiled in maps])
        return Scores(tops, {"max": maps.max(axis=(1, 2)).astype(np.float64)}, maps)

    def explain(self, images: ImageSet) -> list[tuple[View, ...]]:
        """How far each image is from what the autoencoder makes of it."""
        return [(Heat("image – reconstruction", difference),) for difference, _ in self._seen(images)]

    def _seen(self, images: ImageSet) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """(difference to the reconstruction, probability of being spoiled), (s, s), of each image alone."""
        import torch

        from methods.draem.training import planes
        from methods.shared.pixels import Geometry, resized
        from methods.shared.training.optimisers import forward
        from methods.shared.training.precision import arithmetic

        device, precision = self.context.device, self.precision_used
        found = []
        with torch.inference_mode(), arithmetic(precision), forward(device, precision):
            for image in resized(images, Geometry.square(self.image_size), self.context.artifacts):
                x = (planes(image)[None].to(device) / 255).contiguous(memory_format=torch.channels_last)
                reconstruction, logits = self.networks(x)
                difference = (x - reconstruction.float())[0].abs().mean(dim=0)
                spoiled = logits.float().softmax(dim=1)[0, 1]
                found.append((difference.cpu().numpy(), spoiled.cpu().numpy()))
        return found

    def _recipe(self, images: int) -> "Recipe":
        """How the networks are trained on so many images."""
        from methods.draem.samples import Spoiling
        from methods.draem.training import Recipe
        from methods.shared.training import draws

        return Recipe(
            self.image_size,
            self.width,
            self.discriminator_width,
            self.steps or self.epochs * draws.batches(images, self.batch_size),
            self.batch_size,
            self.learning_rate,
            self.drops,
            self.drop,
            self.ssim_weight,
            self.textures,
            Spoiling(self.anomalous, self.opacity, self.turned, self.degrees),
            self.precision_used,
        )


def highest_mean(values: NDArray[np.float32], side: int) -> float:
    """Largest mean of a map (h, w) in windows of this odd side, zeros outside of it counted."""
    sums = np.pad(values.astype(np.float64), side // 2).cumsum(axis=0).cumsum(axis=1)
    sums = np.pad(sums, ((1, 0), (1, 0)))
    windows = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return float(windows.max()) / side**2
