"""Training the part segmenter: what a step is shown, what it minimises (Eq. 1), how it goes on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.data.labels import IGNORED
from methods.psad import augment
from methods.psad.augment import Labels, Sample
from methods.psad.losses import HistLoss, cross_entropy, dice, entropy, histogram_matching
from methods.psad.pairs import Lessons, Pairs
from methods.shared.backbones.frozen import Backbone
from methods.shared.pixels import RGB
from methods.shared.training.steps import Plan, steps

Losses = Literal["sup", "sup+H", "sup+H+hist"]
EVERY = 500  # steps between two states: one of WideResNet-101 takes a gigabyte
SECOND_BATCH = 8


@final
@dataclass(frozen=True)
class TrainingSpec:
    """Everything besides data and network that decides the trained weights.

    Attributes:
        losses: "sup" = L_Dice + λ1 L_CE; "+H" and "+hist" add λ2 L_H and λ3 L_hist after the warm-up.
        hist_loss: see `pairs`; "repo_sum_x1" has λ3 = 1.
        hist_classes: that count in it, see `losses.histogram_matching`.
        lambdas: λ1, λ2, λ3.
        warm_up, joint: steps with the supervised losses alone, and with all of them.
        second: steps of the second segmenter on pseudo labels; 0 for none.
        batch: labelled images in a step, and unlabelled ones.
        learning_rate: of AdamW.
        rotation: the labelled images are turned by up to so many degrees to either side.
        room: and the canvas is enlarged so that no part is lost by it.
        seed: of the classifier's first weights and of everything drawn.
        tf32: whether a card's convolutions may be TF32.
    """

    losses: Losses
    hist_loss: HistLoss
    hist_classes: tuple[int, ...]
    lambdas: tuple[float, float, float]
    warm_up: int
    joint: int
    second: int
    batch: int
    learning_rate: float
    rotation: int
    room: bool
    seed: int
    tf32: bool = False


def train(
    network: nn.Module, backbone: Backbone, lessons: Lessons, recipe: TrainingSpec, end: int, state: Path
) -> None:
    """Train until step `end`, going on from the file `state` if it is there; the state is kept in it.

    Every step draws from its own number, so that an interrupted training ends where an uninterrupted
    one does.
    """
    histograms = lessons.histograms

    def terms(step: int) -> Iterator[Tensor]:
        rng = np.random.default_rng([recipe.seed, 0, step])
        chosen = rng.integers(len(lessons.labelled), size=recipe.batch)
        turn = recipe.rotation, recipe.room
        batch = [augment.augmented(lessons.labelled[i], *turn, rng) for i in chosen]
        yield supervised(network, backbone, batch, recipe.lambdas[0], lessons.n_classes)
        if step < recipe.warm_up or recipe.losses == "sup" or not lessons.unlabelled:
            return
        size = min(recipe.batch, len(lessons.unlabelled))
        indices = lessons.epoch_batch(step - recipe.warm_up, size, recipe.seed)
        if recipe.hist_loss == "paper_mean_x10":
            pairs = lessons.pairs(indices, chosen.tolist(), histograms)
        else:
            pairs = lessons.drawn_pairs(indices, chosen.tolist(), [s.labels for s in batch], rng)
        if pairs.images:
            yield _unsupervised(network, backbone, lessons, pairs, recipe)

    _descend(network, recipe, terms, end, state, backbone.device)


def train_second(
    network: nn.Module, backbone: Backbone, lessons: Lessons, recipe: TrainingSpec, end: int, state: Path
) -> None:
    """Train the second segmenter on pseudo labels: turned and mirrored images, L_Dice + 10 L_CE."""

    def terms(step: int) -> Iterator[Tensor]:
        rng = np.random.default_rng([recipe.seed, 2, step])
        chosen = rng.integers(len(lessons.labelled), size=SECOND_BATCH)
        turn = recipe.rotation, recipe.room
        turned = [augment.turned(lessons.labelled[i], *turn, rng) for i in chosen]
        batch = [augment.flipped(sample, rng) for sample in turned]
        yield supervised(network, backbone, batch, 10.0, lessons.n_classes)

    _descend(network, recipe, terms, end, state, backbone.device)


def _descend(
    network: nn.Module,
    recipe: TrainingSpec,
    terms: Callable[[int], Iterator[Tensor]],
    end: int,
    state: Path,
    device: str,
) -> None:
    """Minimise the sum of the terms of every step; each is derived before the next is computed."""
    rate = recipe.learning_rate
    plan = Plan(steps=end, peak=rate, constant=True, every=EVERY)
    # fused: one kernel that needs no memory beside the moments; on a CPU it would round in another way
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, fused=device.startswith("cuda") or None)
    network.train()
    with repeatable(device, recipe.tf32):
        for step in steps(plan, {"network": network}, optimiser, state):
            optimiser.zero_grad(set_to_none=True)
            for loss in terms(step):
                loss.backward()
            optimiser.step()
    network.eval()


def supervised(
    network: nn.Module, backbone: Backbone, batch: Sequence[Sample], lambda_1: float, n_classes: int
) -> Tensor:
    """L_Dice + λ1 L_CE of labelled samples."""
    y = one_hot(_on(backbone, augment.stacked([s.labels for s in batch])), n_classes)
    logits = network(*inputs(backbone, [s.image for s in batch], [s.coordinates for s in batch]))
    return dice(logits.softmax(dim=1), y) + lambda_1 * cross_entropy(logits, y)


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """Y, (b, N_C, h, w), of labels (b, h, w); no class at all where they are to be ignored."""
    counted = labels != IGNORED
    y = nn.functional.one_hot((labels * counted).long(), n_classes) * counted[..., None]
    return y.permute(0, 3, 1, 2).float()


def _unsupervised(
    network: nn.Module, backbone: Backbone, lessons: Lessons, pairs: Pairs, recipe: TrainingSpec
) -> Tensor:
    """λ2 L_H + λ3 L_hist of unlabelled images and the histograms that they should have."""
    images = [lessons.unlabelled[i] for i in pairs.images]
    place = augment.coordinates(*images[0].shape[:2])
    p = network(*inputs(backbone, images, [place] * len(images))).softmax(dim=1)
    loss = recipe.lambdas[1] * entropy(p)
    if recipe.losses != "sup+H+hist":
        return loss
    lambda_3 = recipe.lambdas[2] if recipe.hist_loss == "paper_mean_x10" else 1.0
    return loss + lambda_3 * histogram_matching(p, _on(backbone, pairs.targets), recipe.hist_classes)


def predicted(network: nn.Module, backbone: Backbone, images: Sequence[RGB]) -> Iterator[Labels]:
    """The most probable class of every pixel, uint8 (h, w), image by image."""
    network.eval()
    with torch.inference_mode(), repeatable(backbone.device):
        for image in images:
            place = augment.coordinates(*image.shape[:2])
            logits = network(*inputs(backbone, [image], [place]))
            yield logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy()


def inputs(
    backbone: Backbone, images: Sequence[RGB], places: Sequence[NDArray[np.float32]]
) -> tuple[Tensor, Tensor]:
    """Normalised images (b, 3, h, w) and coordinates (b, 2, h, w) on the backbone's device."""
    pixels = _on(backbone, augment.stacked(images)).permute(0, 3, 1, 2).float() / 255
    return (pixels - backbone.mean) / backbone.std, _on(backbone, augment.stacked(places)).permute(0, 3, 1, 2)


def _on(backbone: Backbone, array: NDArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(backbone.device)


@contextmanager
def repeatable(device: str, tf32: bool = False) -> Iterator[None]:
    """On a GPU: deterministic kernels and no silent TF32; afterwards everything is as it was."""
    if not device.startswith("cuda"):
        yield
        return
    before, warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    settings.fill_uninitialized_memory = False  # or every new tensor is first filled with NaN
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
            yield
    finally:
        settings.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(before, warn_only=warned)
