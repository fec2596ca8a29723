"""Reverse distillation: the loss, the training and the maps of differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from harness.errors import ConfigError
from harness.method import Context
from methods.rd4ad.networks import Decoder, Embedding
from methods.shared.training import draws, held
from methods.shared.training.optimisers import adam, forward, minimise
from methods.shared.training.precision import Used, arithmetic
from methods.shared.training.room import Training, train

Loss = Literal["flat", "per_pixel"]
ORDER, WEIGHTS = range(2)  # streams of a seed
TERMS = ("level1", "level2", "level3")
BETAS = (0.5, 0.999)


@final
@dataclass(frozen=True)
class Recipe:
    """A training without its images and its seed.

    Attributes:
        loss: cosine of all of an image's features at once, or position by position.
        steps, batch_size, learning_rate: of Adam.
        width: of the networks' blocks.
        precision: of the convolutions, as the device has it.
    """

    loss: Loss
    steps: int
    batch_size: int
    learning_rate: float
    width: float
    precision: Used


@final
@dataclass
class Networks:
    """Embedding and decoder on a device.

    Attributes:
        embedding, decoder: see `networks`.
        layers: names of the levels, the largest grid first.
        device: torch device name.
    """

    embedding: Embedding
    decoder: Decoder
    layers: tuple[str, ...]
    device: str

    def differences(self, features: Mapping[str, NDArray[Any]]) -> list[Tensor]:
        """1 - cosine between an image's features and those made again, (h, w) per level."""
        arrays = (np.asarray(features[layer], np.float32) for layer in self.layers)
        levels = [torch.from_numpy(np.array(array))[None].to(self.device) for array in arrays]
        with torch.inference_mode(), arithmetic("float32"):
            made = self.decoder(self.embedding(levels))
            pairs = zip(levels, made, strict=True)
            return [1 - F.cosine_similarity(level, again)[0] for level, again in pairs]


def trained(
    features: Sequence[Mapping[str, NDArray[Any]]],
    inputs: tuple[str, ...],
    identity: Mapping[str, Any],
    layers: tuple[str, ...],
    recipe: Recipe,
    context: Context,
) -> Networks:
    """Embedding and decoder that make the features of normal images again.

    Args:
        features: layer -> (channels, height, width), of every image.
        inputs: content of the images.
        identity: of the features.
        layers: the levels, the largest grid first.
        recipe: how.
        context: seed, device, artifact store, scratch folder.

    Raises:
        ConfigError: the grids of the levels do not halve.
        HarnessError: a loss is not finite; names the step.
    """
    channels = _channels([features[0][layer].shape for layer in layers], layers)
    with draws.seeded(context.run_seed, WEIGHTS):
        found = Networks(
            Embedding(channels, recipe.width), Decoder(channels, recipe.width), layers, context.device
        )
    for module in (found.embedding, found.decoder):
        module.to(context.device)
    train(
        _training(found, held.Held(features, context.device), inputs, identity, recipe, context.run_seed),
        context,
    )
    return found


def _channels(shapes: Sequence[tuple[int, ...]], layers: Sequence[str]) -> list[int]:
    """Channels of the levels, whose grids must halve; the last one once more inside."""
    sides = [shape[1:] for shape in shapes]
    halves = all(a == tuple(2 * n for n in b) for a, b in pairwise(sides))
    if not halves or any(n % 2 for n in sides[-1]):
        told = ", ".join(f"{name} {h} x {w}" for name, (h, w) in zip(layers, sides, strict=True))
        raise ConfigError(
            f"layers: their grids must halve from one to the next, and the last one be even: {told}; "
            "take layers of strides 4, 8 and 16, and an image_size that is a multiple of 32"
        )
    return [shape[0] for shape in shapes]


def _training(
    networks: Networks,
    features: held.Held,
    inputs: tuple[str, ...],
    identity: Mapping[str, Any],
    recipe: Recipe,
    seed: int,
) -> Training:
    modules = {"embedding": networks.embedding, "decoder": networks.decoder}
    optimiser = adam((p for m in modules.values() for p in m.parameters()), recipe.learning_rate, BETAS)
    number, size = len(features), min(recipe.batch_size, len(features))

    def step(_: int, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        levels = [batch[layer] for layer in networks.layers]
        with forward(networks.device, recipe.precision):
            made = networks.decoder(networks.embedding(levels))
        pairs = zip(levels, made, strict=True)
        found = [loss(level, again.float(), recipe.loss) for level, again in pairs]
        return minimise(dict(zip(TERMS, found, strict=True)), optimiser)

    return Training(
        method="rd4ad",
        identity={
            **identity,
            "loss": recipe.loss,
            "batch_size": size,
            "learning_rate": recipe.learning_rate,
            "width": recipe.width,
        },
        inputs=inputs,
        modules=modules,
        optimisers={"adam": optimiser},
        batch=lambda n: features.batch(draws.batch(seed, ORDER, n, number, size)),
        step=step,
        terms=TERMS,
        steps=recipe.steps,
        precision=recipe.precision,
    )


def loss(level: Tensor, made: Tensor, kind: Loss) -> Tensor:
    """Mean over the batch of 1 - cosine, (n, c, h, w) each; Eq. 2 is that of every position ("per_pixel")."""
    if kind == "flat":
        return (1 - F.cosine_similarity(level.flatten(1), made.flatten(1))).mean()
    return (1 - F.cosine_similarity(level, made)).mean()


def anomaly_map(differences: Sequence[Tensor], side: int, sigma: float) -> NDArray[np.float32]:
    """Sum of the levels' differences at the size of the network's input, smoothed (Eq. 3)."""
    # corners on corners, as the authors enlarge
    large = [
        F.interpolate(d[None, None], (side, side), mode="bilinear", align_corners=True) for d in differences
    ]
    total = torch.stack(large).sum(dim=0)[0, 0]
    return gaussian_filter(total.cpu().numpy(), sigma).astype(np.float32, copy=False)
