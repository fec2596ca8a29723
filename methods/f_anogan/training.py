"""The two trainings: generator and critic in turns, then the encoder with both of them frozen."""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from harness.data import ImageSet
from harness.method import Context
from methods.f_anogan.losses import critic_terms, generator_terms, residuals
from methods.f_anogan.networks import Critic, Encoder, Generator
from methods.shared.pixels import RGB, Geometry, resized
from methods.shared.training import draws
from methods.shared.training.optimisers import adam, minimise
from methods.shared.training.precision import Used
from methods.shared.training.room import Batch, Terms, Training, train

BETAS = (0.5, 0.999)
WEIGHTS, ORDER, CHOICES, MIRRORED = range(4)  # streams of draws


class Networks(NamedTuple):
    """The three networks on their device."""

    generator: Generator
    critic: Critic
    encoder: Encoder


@final
@dataclass(frozen=True)
class Recipe:
    """Everything besides images and seed that decides the weights.

    Attributes:
        image_size: side of the images.
        latent: length of a latent vector.
        gan_steps, encoder_steps: of the critic, and of the encoder.
        batch_size: images in a step, at most.
        learning_rate: of all three.
        n_critic: the generator takes a step after every so many of the critic.
        gradient_penalty: λ.
        kappa: weight of the features.
        flip: whether images are mirrored at random.
        precision: of convolutions on a card.
    """

    image_size: int
    latent: int
    gan_steps: int
    encoder_steps: int
    batch_size: int
    learning_rate: float
    n_critic: int
    gradient_penalty: float
    kappa: float
    flip: bool
    precision: Used


def networks(recipe: Recipe, seed: int, device: str) -> Networks:
    """New networks with the library's own first weights."""
    side, latent = recipe.image_size, recipe.latent
    with draws.seeded(seed, WEIGHTS):
        generator, critic, encoder = Generator(latent, side), Critic(side), Encoder(side, latent)
    return Networks(generator.to(device), critic.to(device), encoder.to(device))


def trained(recipe: Recipe, images: ImageSet, context: Context) -> Networks:
    """Networks at the end of both trainings, in evaluation mode.

    Raises:
        DataError: an image cannot be read.
        HarnessError: a loss is not finite; names the training and the step.
    """
    found = networks(recipe, context.run_seed, context.device)
    pixels = resized(images, Geometry.square(recipe.image_size), context.artifacts)
    shown = torch.stack([scaled(image) for image in pixels])
    train(gan(recipe, found, images, shown, context.run_seed), context)
    train(encoder(recipe, found, images, shown, context.run_seed), context)
    return found


def scaled(image: RGB) -> Tensor:
    """An image (s, s, 3) as the networks take it: (3, s, s) in [-1, 1]."""
    return torch.tensor(image).permute(2, 0, 1) / 127.5 - 1


def gan(recipe: Recipe, found: Networks, images: ImageSet, shown: Tensor, seed: int) -> Training:
    """The training of generator and critic."""
    generator, critic, _ = found
    first, second = (adam(n.parameters(), recipe.learning_rate, BETAS) for n in (generator, critic))

    def batch(step: int) -> Batch:
        real = _shown(recipe, shown, seed, step)
        rng = draws.rng(seed, CHOICES, step)
        z, mixing = rng.standard_normal((len(real), recipe.latent)), rng.random((len(real), 3, 1, 1))
        return {"real": real, "z": torch.tensor(z).float(), "mixing": torch.tensor(mixing).float()}

    def step(number: int, batch: Batch) -> Terms:
        fake = generator(batch["z"])
        terms = critic_terms(critic, batch["real"], fake, batch["mixing"], recipe.gradient_penalty)
        found = minimise(terms, second)
        if number % recipe.n_critic:
            return found
        # the same z, as in the public code: the critic has just learnt to tell these images
        return {**found, **minimise(generator_terms(critic, generator(batch["z"])), first)}

    return Training(
        method="f_anogan",
        name="gan",
        identity=_identity(recipe, "image_size", "latent", "batch_size", "n_critic", "gradient_penalty"),
        inputs=tuple(images.keys()),
        modules={"generator": generator, "critic": critic},
        optimisers={"generator": first, "critic": second},
        batch=batch,
        step=step,
        terms=("critic", "penalty", "generator"),
        steps=recipe.gan_steps,
        precision=recipe.precision,
        graph=False,  # a step that the generator takes is another one than a step that it does not
    )


def encoder(recipe: Recipe, found: Networks, images: ImageSet, shown: Tensor, seed: int) -> Training:
    """The training of the encoder (izi_f); generator and critic are in evaluation mode."""
    optimiser = adam(found.encoder.parameters(), recipe.learning_rate, BETAS)

    def step(number: int, batch: Batch) -> Terms:
        del number
        image, features = residuals(*found, batch["real"])
        return minimise({"image": image.mean(), "features": recipe.kappa * features.mean()}, optimiser)

    return Training(
        method="f_anogan",
        name="encoder",
        # what the generator has become decides too
        identity=_identity(
            recipe, "image_size", "latent", "batch_size", "n_critic", "gradient_penalty", "gan_steps", "kappa"
        ),
        inputs=tuple(images.keys()),
        modules={"encoder": found.encoder},
        optimisers={"encoder": optimiser},
        batch=lambda step: {"real": _shown(recipe, shown, seed, step)},
        step=step,
        terms=("image", "features"),
        steps=recipe.encoder_steps,
        precision=recipe.precision,
    )


def _identity(recipe: Recipe, *names: str) -> dict[str, object]:
    return {name: getattr(recipe, name) for name in (*names, "learning_rate", "flip")}


def _shown(recipe: Recipe, shown: Tensor, seed: int, step: int) -> Tensor:
    """The images of a step, (b, 3, s, s), mirrored at random."""
    real = shown[draws.batch(seed, ORDER, step, len(shown), recipe.batch_size)]
    if not recipe.flip:
        return real
    mirrored = draws.rng(seed, MIRRORED, step).random(len(real)) < 0.5
    return torch.where(torch.tensor(mirrored)[:, None, None, None], real.flip(-1), real)
