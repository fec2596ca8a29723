"""The losses of the demo image–text model: of patches, of whole pictures, and of the words alone."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.pairs import Picture, texts
from training.words import NAMES, prompts, strangers, worded

FINER = 2  # cells of the dense loss per patch and direction
STRANGERS = 4  # names of other things in the dense loss
WORDS_SCALE = 14.0  # of the loss of the words


class Embed(Protocol):
    """Embeds texts."""

    def __call__(self, said: Sequence[str], rng: np.random.Generator | None = None) -> Tensor:
        """Unit vectors (n, d); with a generator, some words are made unknown."""
        ...


def shares(parts: Tensor, cell: int, groups: Sequence[frozenset[int]]) -> Tensor:
    """How much of every cell each group covers.

    Args:
        parts: part indices (n, side, side), `IGNORED` where unknown.
        cell: side of a cell in pixels.
        groups: together they hold every part once.

    Returns:
        (n, groups, cells, cells); what is missing to a sum of 1 is unknown.
    """
    table = torch.zeros(256, len(groups))
    for i, group in enumerate(groups):
        table[list(group), i] = 1
    return F.avg_pool2d(table[parts.long()].permute(0, 3, 1, 2), cell)


def weighed(target: Tensor) -> Tensor:
    """What the cells of a category shall say, times what it counts, (n, groups, cells, cells).

    A cell counts as much as what covers it, and rare parts more: the inverse root of their share. Where
    parts meet, or cannot be told apart, the rarer one is also favoured a little, or else small parts that
    look alike would always lose against what lies behind them.
    """
    rarity = (target.mean(dim=(0, 2, 3)) + 0.01).view(1, -1, 1, 1) ** -0.5
    favoured = target * rarity**0.5
    counts = (target * rarity).sum(dim=1, keepdim=True)
    return counts * favoured / favoured.sum(dim=1, keepdim=True).clamp(min=1e-6)


def dense_loss(
    tokens: Sequence[Tensor],
    pictures: Sequence[Picture],
    embed: Embed,
    scale: Tensor,
    rng: np.random.Generator,
) -> Tensor:
    """Cross-entropy over prompts that name the parts, and over names of other things.

    Similarities are enlarged as methods enlarge them, so that patches learn where in them a part ends.
    """
    total, weight = torch.zeros(()), torch.zeros(())
    grid = round(tokens[0].shape[1] ** 0.5)
    for category in sorted({p.category for p in pictures}):
        index = [i for i, p in enumerate(pictures) if p.category == category]
        asked = prompts(rng, category)
        words = embed([p.text for p in asked] + strangers(rng, category, STRANGERS), rng)
        parts = torch.from_numpy(np.stack([pictures[i].parts for i in index]))
        target = weighed(shares(parts, parts.shape[-1] // (FINER * grid), [p.parts for p in asked]))
        for read_out in tokens:
            logits = (scale * read_out[index] @ words.T).transpose(1, 2).unflatten(2, (grid, grid))
            finer = F.interpolate(logits, scale_factor=FINER, mode="bilinear")
            total = total - (target * F.log_softmax(finer, dim=1)[:, : len(asked)]).sum()
        weight = weight + target.sum() * len(tokens)
    return total / weight


def pair_loss(
    images: Tensor, pictures: Sequence[Picture], embed: Embed, scale: Tensor, rng: np.random.Generator
) -> Tensor:
    """Contrast of pictures and statements both ways; a picture may have several true statements."""
    told = texts(rng, pictures)
    true = torch.tensor([[s.facts <= p.facts for s in told] for p in pictures]).float()
    logits = scale * images @ embed([s.text for s in told], rng).T
    used = true.sum(dim=0) > 0
    one_way = -(true / true.sum(dim=1, keepdim=True) * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
    back = true / true.sum(dim=0, keepdim=True).clamp(min=1)
    other = -(back * F.log_softmax(logits, dim=0)).sum(dim=0)[used].mean()
    return (one_way + other) / 2


def words_loss(embed: Embed, rng: np.random.Generator) -> Tensor:
    """Of two wordings of every part, each shall know the other among the parts of its category.

    Without it "nut" and "washer" become one text while patches cannot tell them apart, and then nothing
    makes patches learn to.
    """
    one, other = embed([worded(rng, n) for _ in range(2) for names in NAMES.values() for n in names]).chunk(2)
    sizes = [len(names) for names in NAMES.values()]
    logits = [WORDS_SCALE * a @ b.T for a, b in zip(one.split(sizes), other.split(sizes), strict=True)]
    return torch.stack([F.cross_entropy(x, torch.arange(len(x))) for x in logits]).mean()
