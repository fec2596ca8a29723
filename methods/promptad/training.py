"""Learning the contexts of one category on what the image tower gave of its normal images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from harness.data import ImageSet
from harness.method import Context
from methods.promptad.contexts import Contexts, Sizes
from methods.promptad.losses import TERMS, terms
from methods.shared.openclip.features import readings
from methods.shared.openclip.model import model_of
from methods.shared.openclip.spec import ClipSpec
from methods.shared.training import draws
from methods.shared.training.held import Held
from methods.shared.training.optimisers import minimise, sgd
from methods.shared.training.room import Training, train

Reading = Literal["global", "vv"]  # images, or their patches
Scale = Literal["raw", "exp"]
NAMES: Mapping[Reading, str] = {"global": "images", "vv": "patches"}
ORDER, WEIGHTS = range(2)  # streams of a seed


@final
@dataclass(frozen=True)
class Recipe:
    """A training without its images and its seed.

    Attributes:
        name, states: of the objects, and what abnormal ones are called (`states.texts`).
        sizes: of the contexts.
        epochs: of the images; the rate is that of an epoch.
        steps: instead of them, or None.
        batch_size: images in a step.
        rates: of the first epoch, and the one towards which it falls.
        momentum, weight_decay: of SGD.
        match_weight: λ.
        scale: which logit scale multiplies cosines.
    """

    name: str
    states: tuple[str, ...]
    sizes: Sizes
    epochs: int
    steps: int | None
    batch_size: int
    rates: tuple[float, float]
    momentum: float
    weight_decay: float
    match_weight: float
    scale: Scale


def prototypes(
    recipe: Recipe, images: ImageSet, reading: Reading, spec: ClipSpec, context: Context
) -> NDArray[np.float32]:
    """Normal and abnormal prototype with the contexts learned: unit vectors (2, d).

    Raises:
        ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`; or the text
            tower is not open_clip's own transformer.
        HarnessError: a loss is not finite; names the step.
    """
    clip, device = model_of(spec, context.device), context.device
    found = readings(images, spec.reads or (), spec, context.artifacts, device)  # everything of one pass
    seed = draws.torch_seed(context.run_seed, WEIGHTS)
    contexts = Contexts(clip, recipe.name, recipe.states, recipe.sizes, seed)
    held = Held([{reading: each[reading]} for each in found], device)
    scale = logit_scale(clip.model, recipe.scale)
    train(_training(contexts, held, images, reading, spec, recipe, scale, context), context)
    with torch.inference_mode():
        return contexts().anchors.cpu().numpy()


def logit_scale(model: Any, kind: Scale) -> float:
    """By which cosines are multiplied."""
    raw = float(model.logit_scale)
    return raw if kind == "raw" else math.exp(raw)


def _training(
    contexts: Contexts,
    held: Held,
    images: ImageSet,
    reading: Reading,
    spec: ClipSpec,
    recipe: Recipe,
    scale: float,
    context: Context,
) -> Training:
    size = min(recipe.batch_size, len(held))
    epoch = draws.batches(len(held), size)
    steps = recipe.steps or recipe.epochs * epoch
    optimiser = sgd(contexts.parameters(), recipe.rates[0], recipe.momentum, recipe.weight_decay)
    weights: dict[str, float] = dict(zip(TERMS, (1.0, 1.0, recipe.match_weight), strict=True))

    def step(_: int, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        vectors = F.normalize(batch[reading].flatten(0, -2), dim=1)
        found = terms(vectors, contexts(), scale)
        return minimise({name: weights[name] * value for name, value in found.items()}, optimiser)

    return Training(
        method="promptad",
        identity={**asdict(recipe), "steps": steps, "reading": reading, "clip": spec.key(context.device)},
        inputs=tuple(images.keys()),
        modules={"contexts": contexts},
        optimisers={"sgd": optimiser},
        batch=lambda n: held.batch(draws.batch(context.run_seed, ORDER, n, len(held), size)),
        step=step,
        terms=TERMS,
        steps=steps,
        rate=lambda n: rate(n // epoch, math.ceil(steps / epoch), recipe.rates),
        name=NAMES[reading],
    )


def rate(epoch: int, epochs: int, rates: Sequence[float]) -> float:
    """Factor of the first rate in an epoch: half a cosine from it to the last one."""
    first, last = rates
    return (last + (first - last) * (1 + math.cos(math.pi * epoch / epochs)) / 2) / first
