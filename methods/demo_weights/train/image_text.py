"""The demo image–text model: an open_clip ViT and text transformer, trained on procedural scenes.

Two losses: pictures of parts and whole scenes against captions, as CLIP is trained; and every patch
against prompts that name the parts under it, read by the plain last block and as NACLIP reads it.

    python -m methods.demo_weights.train.image_text
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.demo_weights.train.crops import IGNORED, as_batch, relit
from methods.demo_weights.train.journal import say
from methods.demo_weights.train.pairs import ALL_STATEMENTS, Picture, Source, texts
from methods.demo_weights.train.read_out import embedded, read
from methods.demo_weights.train.renders import TRAIN, renders
from methods.demo_weights.train.shipping import ship
from methods.demo_weights.train.textures import textures
from methods.demo_weights.train.words import all_texts, prompts, strangers
from methods.training import Means, Plan, steps
from methods.weights import DEMO_FOLDER

CONFIG = DEMO_FOLDER / "image_text"
SIDE = 128  # of the pictures of most steps
SMALL = {"crop": 12, "part": 8, "scene": 4}  # their number
LARGE = {"scene": 5, "crop": 1}  # of the pictures of every LARGE_EVERY-th step, at the model's own size
LARGE_EVERY = 4
STRANGERS = 4
UNKNOWN = 49405  # a token that stands for words that were never trained
UNKNOWN_SHARE = 0.04
MOST_SCALE = 100.0
HARDEST = "screw_bag"  # drawn half of the time in the steps after the cut


class Texts:
    """Embeds texts; only words of the training texts have an embedding, all others are zero."""

    def __init__(self, model: open_clip.CLIP, context: int) -> None:
        self.model = model
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{CONFIG}", context_length=context)
        said = all_texts() + [s.text for told in ALL_STATEMENTS.values() for s in told]
        self.vocabulary = self.tokenizer(said).unique()

    def blank(self) -> None:
        """Set the embedding of every word outside of the vocabulary to zero."""
        table: Any = self.model.token_embedding
        keep = torch.zeros(len(table.weight), 1)
        keep[self.vocabulary] = 1
        table.weight.data.mul_(keep)
        table.padding_idx = UNKNOWN  # no gradient

    def __call__(self, said: Sequence[str], rng: np.random.Generator | None = None) -> Tensor:
        """Unit vectors (n, d); with a generator, some words are made unknown."""
        tokens = self.tokenizer(list(said))
        if rng is not None:
            hidden = torch.from_numpy(rng.random(tokens.shape) < UNKNOWN_SHARE)
            tokens = torch.where(hidden & (tokens > 0) & (tokens < UNKNOWN), UNKNOWN, tokens)
        return self.model.encode_text(tokens, normalize=True)


def positions(visual: Any, pictures: Sequence[Picture], side: int, rng: np.random.Generator) -> Tensor:
    """Position embeddings of the patches: a random window of the grid for crops, all of it for scenes."""
    grid, whole = side // visual.patch_size[0], visual.grid_size[0]
    table = visual.positional_embedding[1:].view(1, whole, whole, -1).permute(0, 3, 1, 2)
    shrunk = table if grid == whole else F.interpolate(table, (grid, grid), mode="bicubic", antialias=True)
    rows = []
    for picture in pictures:
        y, x = (int(v) for v in rng.integers(0, whole - grid + 1, 2))
        rows.append(shrunk if picture.whole else table[:, :, y : y + grid, x : x + grid])
    return torch.cat(rows).flatten(2).transpose(1, 2)


def shares(parts: Tensor, patch: int, groups: Sequence[frozenset[int]]) -> tuple[Tensor, Tensor]:
    """Which part of every patch belongs to which group, and how much of the patch is known.

    Args:
        parts: part indices (n, side, side), `IGNORED` where unknown.
        patch: side of a patch in pixels.
        groups: together they hold every part once.

    Returns:
        (n, patches, groups) and (n, patches).
    """
    table = torch.zeros(256, len(groups) + 1)
    table[IGNORED, -1] = 1
    for i, group in enumerate(groups):
        table[list(group), i] = 1
    pooled = F.avg_pool2d(table[parts.long()].permute(0, 3, 1, 2), patch).flatten(2).transpose(1, 2)
    return pooled[..., :-1], 1 - pooled[..., -1]


def dense_loss(
    tokens: Sequence[Tensor],
    pictures: Sequence[Picture],
    embed: Texts,
    scale: Tensor,
    patch: int,
    rng: np.random.Generator,
) -> Tensor:
    """Cross-entropy of every patch over prompts that name the parts, and over names of other things.

    Rare parts weigh more: a prompt's weight is the inverse root of how much it covers.
    """
    total, weight = torch.zeros(()), torch.zeros(())
    for category in sorted({p.category for p in pictures}):
        index = [i for i, p in enumerate(pictures) if p.category == category]
        asked = prompts(rng, category)
        words = embed([p.text for p in asked] + strangers(rng, category, STRANGERS), rng)
        parts = torch.from_numpy(np.stack([pictures[i].parts for i in index]))
        target, known = shares(parts, patch, [p.parts for p in asked])
        rarity = (target.mean(dim=(0, 1)) + 0.01) ** -0.5
        weights = (target * rarity).sum(dim=-1)
        for read_out in tokens:
            logits = scale * read_out[index] @ words.T
            log = F.log_softmax(logits, dim=-1)[..., : len(asked)]
            total = total - (weights * (target * log).sum(dim=-1)).sum()
        weight = weight + weights.sum() * len(tokens)
        del known
    return total / weight


def pair_loss(
    images: Tensor, pictures: Sequence[Picture], embed: Texts, scale: Tensor, rng: np.random.Generator
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


class Trainer:
    """The model and what a step needs."""

    def __init__(self, source: Source, seed: int) -> None:
        torch.manual_seed(seed)
        folder = f"local-dir:{CONFIG}"
        made: Any = open_clip.create_model_and_transforms(folder, load_weights=False)
        self.model, _, preprocess = made
        nn.init.normal_(self.model.visual.positional_embedding, std=0.02)
        self.texts = Texts(self.model, self.model.context_length)
        self.texts.blank()
        self.source, self.seed = source, seed
        normalise = preprocess.transforms[-1]
        self.mean, self.std = (
            torch.tensor(list(v)).view(1, 3, 1, 1) for v in (normalise.mean, normalise.std)
        )

    def losses(self, step: int) -> dict[str, Tensor]:
        """The losses of a step; the same random choices for the same seed and step."""
        rng = np.random.default_rng([self.seed, step])
        large = step % LARGE_EVERY == LARGE_EVERY - 1
        visual: Any = self.model.visual
        side, numbers = (visual.image_size[0], LARGE) if large else (SIDE, SMALL)
        pictures = [getattr(self.source, kind)(rng, side) for kind, n in numbers.items() for _ in range(n)]
        batch = (relit(as_batch([p.pixels for p in pictures]), rng, 0.7) - self.mean) / self.std
        with torch.autocast("cpu", torch.bfloat16):
            found = read(visual, embedded(visual, batch, positions(visual, pictures, side, rng)))
        image, plain, dense = (F.normalize(x.float(), dim=-1) for x in found)
        scale = self.model.logit_scale.exp().clamp(max=MOST_SCALE)
        told = [i for i, p in enumerate(pictures) if p.facts]
        patch = visual.patch_size[0]
        return {
            "dense": dense_loss((dense, plain), pictures, self.texts, scale, patch, rng),
            "pairs": pair_loss(image[told], [pictures[i] for i in told], self.texts, scale, rng),
        }


DEFAULT_CUT = (900, 450)  # with the default number of steps, what shipped
WEIGHTS_OF_LOSSES = {"dense": 1.0, "pairs": 0.35}


def optimiser_of(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """AdamW; matrices of the blocks decay, embeddings, norms and biases do not."""
    named = list(model.named_parameters())
    decays = [p for n, p in named if p.ndim > 1 and "embedding" not in n]
    others = [p for n, p in named if p.ndim <= 1 or "embedding" in n]
    groups = [{"params": decays, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.peak, betas=(0.9, 0.98), foreach=True)


def train(source: Source, plan: Plan, seed: int, state: Path | None) -> nn.Module:
    """The trained model, in evaluation mode."""
    trainer = Trainer(source, seed)
    optimiser = optimiser_of(trainer.model, plan)
    means = Means(say)
    for step in steps(plan, {"model": trainer.model}, optimiser, state):
        source.favoured = HARDEST if step >= plan.first_end else None
        found = trainer.losses(step)
        optimiser.zero_grad()
        torch.stack([WEIGHTS_OF_LOSSES[k] * v for k, v in found.items()]).sum().backward()
        nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        optimiser.step()
        means.add(step, plan, found)
    return trainer.model.eval()


def shipped(model: nn.Module) -> Mapping[str, Tensor]:
    """Its parameters; the training's scale within CLIP's limit."""
    state = dict(model.state_dict())
    state["logit_scale"] = state["logit_scale"].clamp(max=float(np.log(MOST_SCALE)))
    return state


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m methods.demo_weights.train.image_text", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=None, help="folder (default: where demo weights lie)")
    parser.add_argument("--steps", type=int, default=2200, help="of the whole plan")
    parser.add_argument(
        "--cut",
        type=int,
        nargs=2,
        metavar=("STEP", "LENGTH"),
        default=DEFAULT_CUT,
        help="let the rate fall early",
    )
    parser.add_argument(
        "--more", type=int, default=250, help="steps after that, with more of the hardest scenes"
    )
    parser.add_argument("--scenes", type=int, default=140, help="per category")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn scenes")
    parser.add_argument("--state", type=Path, help="file that keeps the state of the training")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    scenes = renders(TRAIN, given.scenes, given.seed, given.workers, given.cache)
    say("drawing textures")
    source = Source(scenes, textures(100, 224, given.seed))
    model = train(
        source,
        Plan(given.steps, 1.2e-3, cut=tuple(given.cut), more=given.more),
        given.seed,
        given.state,
    )
    ship("image_text", shipped(model), given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
