"""f-AnoGAN: what a generator of normal images cannot make."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Resources, Scores
from methods.shared.pixels import LARGEST_SIDE, square_input
from methods.shared.training.precision import Used, used

if TYPE_CHECKING:
    from methods.f_anogan.training import Recipe

# at 16 the critic's last normalisation would see one value of an image that is alone in its step
Side = Annotated[int, Field(ge=32, le=LARGEST_SIDE, multiple_of=16)]


@final
@dataclass
class FAnoGAN:
    """Error of an image that an encoder and the generator of a WGAN make again.

    Args:
        context: run seed, device, artifact store, scratch folder (states, losses of both trainings).
        image_size: side in pixels to which images are resized, a multiple of 16.
        latent: length of a latent vector.
        epochs: of the training images, in each of the two trainings.
        gan_steps: of the critic instead, whatever the number of images.
        encoder_steps: of the encoder, likewise.
        batch_size: images in a step; all of them where there are fewer.
        learning_rate: of generator, critic and encoder.
        n_critic: the generator takes a step after every so many of the critic.
        gradient_penalty: λ.
        kappa: weight of the error of the critic's features, in the encoder's loss and in the score.
        flip: mirror training images at random.
        precision: of the convolutions; auto is tf32 on a card that has it, else float32.
    """

    card: ClassVar[Card] = Card(
        title="f-AnoGAN",
        summary="Error of an image that an encoder and a generator of normal images make again.",
        paper=Citation(
            "Schlegl, Seeböck, Waldstein, Langs, Schmidt-Erfurth",
            "f-AnoGAN: Fast unsupervised anomaly detection with generative adversarial networks",
            "Medical Image Analysis 54, 2019",
            "https://doi.org/10.1016/j.media.2019.01.010",
        ),
        licence="Apache-2.0",
        trained=True,
        validation=False,
        demo=Demo(
            {"image_size": 32, "gan_steps": 60, "encoder_steps": 60},
            "60 + 60 steps instead of 300 + 300: it shows that it runs, not what it can",
            {"shots": [1], "seeds": [0]},
        ),
        sizes=square_input,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
        seconds=900.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "image_size": 32,
        "latent": 16,
        "gan_steps": 5,
        "encoder_steps": 10,
        "learning_rate": 0.002,
    }

    context: Context
    _: KW_ONLY
    image_size: Side = 64
    latent: PositiveInt = 100
    epochs: PositiveInt = 300
    gan_steps: PositiveInt | None = None
    encoder_steps: PositiveInt | None = None
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 2e-4
    n_critic: PositiveInt = 5
    gradient_penalty: NonNegativeFloat = 10.0
    kappa: NonNegativeFloat = 1.0
    flip: bool = True
    precision: Literal["auto", "float32", "tf32"] = "auto"
    networks: Any = field(init=False, repr=False)  # of methods.f_anogan.networks, which imports torch

    @property
    def precision_used(self) -> Used:
        """What `precision` comes to on the device."""
        return used(self.precision, self.context.device)

    def fit(self, data: FitData) -> Self:
        """Train generator and critic, then the encoder.

        Raises:
            NeedNotMet: there is no training image.
            DataError: an image cannot be read.
            HarnessError: a loss is not finite; names the training and the step.
        """
        from methods.f_anogan.training import trained

        if not len(data.train):
            raise NeedNotMet("f-AnoGAN needs at least one training image")
        self.networks = trained(self._recipe(len(data.train)), data.train, self.context)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Mean squared error of the image made again, plus κ times that of the critic's features.

        Returns:
            Scores with the parts "image" and "features" (unweighted), and maps of squared errors, mean over
            the channels, (n, image_size, image_size).
        """
        errors, features = self._residuals(images)
        parts = {"image": errors.mean(axis=(1, 2), dtype=np.float64), "features": features}
        return Scores(parts["image"] + self.kappa * features, parts, errors)

    def _residuals(self, images: ImageSet) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Squared errors (n, s, s) and mean squared differences of features (n,), image by image."""
        import torch

        from methods.f_anogan.losses import residuals
        from methods.f_anogan.training import scaled
        from methods.shared.pixels import Geometry, resized
        from methods.shared.training.precision import arithmetic

        maps, means = [], []
        generator, critic, encoder = self.networks
        with torch.inference_mode(), arithmetic(self.precision_used):
            for image in resized(images, Geometry.square(self.image_size), self.context.artifacts):
                errors, features = residuals(
                    generator, critic, encoder, scaled(image)[None].to(self.context.device)
                )
                maps.append(errors[0].mean(dim=0).cpu().numpy())
                means.append(float(features.double().mean()))
        return np.stack(maps), np.array(means)

    def _recipe(self, images: int) -> "Recipe":
        """How the networks are trained on so many images."""
        from methods.f_anogan.training import Recipe
        from methods.shared.training import draws

        number = self.epochs * draws.batches(images, self.batch_size)
        return Recipe(
            self.image_size,
            self.latent,
            self.gan_steps or number,
            self.encoder_steps or number,
            self.batch_size,
            self.learning_rate,
            self.n_critic,
            self.gradient_penalty,
            self.kappa,
            self.flip,
            self.precision_used,
        )
