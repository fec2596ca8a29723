"""The demo image–text model: an open_clip ViT and text transformer, trained on procedural scenes.

Pictures of parts and whole scenes against captions, as CLIP is trained; every patch against prompts
that name the parts under it, read by the plain last block and as NACLIP reads it; and, later, wordings
of every part against those of the other parts.

    python -m training.image_text
"""

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.addresses import local
from methods.shared.training.steps import Means, Plan, steps
from methods.shared.weights import DEMO_FOLDER
from training.crops import as_batch, relit
from training.journal import say
from training.losses import dense_loss, pair_loss, words_loss
from training.pairs import ALL_STATEMENTS, Picture, SceneSampler
from training.read_out import embedded, read
from training.renders import TRAIN, renders
from training.shipping import ship
from training.textures import textures
from training.words import all_texts

CONFIG = DEMO_FOLDER / "image_text"
SCENE = 256  # shorter side of the scenes, that of the demo data set
SIDE = 128  # of the pictures of most steps
SMALL = {"crop": 9, "part": 4, "scene": 2}  # their number in each half of a step
LARGE = {"scene": 3, "part": 1}  # of the pictures of every LARGE_EVERY-th step, at the model's own size
LARGE_EVERY = 4
HALVES = 2  # of a step; each has its own random numbers and runs on its own core
UNKNOWN = 49405  # a token that stands for words that were never trained
UNKNOWN_SHARE = 0.04
MOST_SCALE = 100.0
WORDS_FROM = 1800  # first step with the loss of the words


def waves(grid: int, width: int) -> Tensor:
    """Sines and cosines of both coordinates (grid², width), for 3 to 40 patches per period."""
    frequency = 2 * torch.pi / torch.logspace(np.log10(3), np.log10(40), width // 4)
    wave = torch.arange(grid)[:, None] * frequency
    line = torch.cat([wave.sin(), wave.cos()], dim=1)
    rows, columns = line[:, None].expand(-1, grid, -1), line[None].expand(grid, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def begin(visual: Any) -> None:
    """Values with which patches look at what is near and alike from the first step on.

    Positions are waves, queries are keys ("mimetic" values: Trockman and Kolter, ICML 2023). Begun from
    noise, the losses of step 1,100 were reached 150 to 300 steps later.
    """
    nn.init.normal_(visual.positional_embedding, std=0.02)
    visual.positional_embedding.data[1:] = 0.5 * waves(visual.grid_size[0], visual.class_embedding.shape[0])
    for each in visual.transformer.resblocks:
        query, key, _ = each.attn.in_proj_weight.data.chunk(3)
        query.copy_(nn.init.orthogonal_(key, gain=0.9))


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


class Trainer:
    """The model and what a step needs."""

    def __init__(self, source: SceneSampler, seed: int) -> None:
        torch.manual_seed(seed)
        folder = f"local-dir:{CONFIG}"
        made: Any = open_clip.create_model_and_transforms(folder, load_weights=False)
        self.model, _, preprocess = made
        begin(self.model.visual)
        self.texts = Texts(self.model, self.model.context_length)
        self.texts.blank()
        self.parameters = list(self.model.parameters())
        self.source, self.seed = source, seed
        normalise = preprocess.transforms[-1]
        self.mean, self.std = (
            torch.tensor(list(v)).view(1, 3, 1, 1) for v in (normalise.mean, normalise.std)
        )

    def losses(self, step: int, half: int) -> dict[str, Tensor]:
        """The losses of half a step; the same random choices for the same seed, step and half."""
        rng = np.random.default_rng([self.seed, step, half])
        large = step % LARGE_EVERY == LARGE_EVERY - 1
        visual: Any = self.model.visual
        side, numbers = (visual.image_size[0], LARGE) if large else (SIDE, SMALL)
        pictures = [getattr(self.source, kind)(rng, side) for kind, n in numbers.items() for _ in range(n)]
        batch = (relit(as_batch([p.pixels for p in pictures]), rng, 0.7) - self.mean) / self.std
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):  # the cache is not one per thread
            vectors = read(visual, embedded(visual, batch, positions(visual, pictures, side, rng)))
        image, plain, dense = (F.normalize(x.float(), dim=-1) for x in vectors)
        scale = self.model.logit_scale.exp().clamp(max=MOST_SCALE)
        told = [i for i, p in enumerate(pictures) if p.facts]
        found = {
            "dense": dense_loss((dense, plain), pictures, self.texts, scale, rng),
            "pairs": pair_loss(image[told], [pictures[i] for i in told], self.texts, scale, rng),
        }
        return found | ({"words": words_loss(self.texts, rng)} if step >= WORDS_FROM else {})

    def gradients(self, step: int, half: int) -> tuple[dict[str, Tensor], Sequence[Tensor]]:
        """The losses of half a step, and the gradient of their weighted sum for every parameter."""
        found = self.losses(step, half)
        total = torch.stack([WEIGHTS_OF_LOSSES[k] * v for k, v in found.items()]).sum()
        return {k: v.detach() for k, v in found.items()}, torch.autograd.grad(total, self.parameters)


DEFAULT_CUT = (2100, 1200)  # of the default number of steps, what shipped
WEIGHTS_OF_LOSSES = {"dense": 1.0, "pairs": 0.35, "words": 0.5}


def optimiser_of(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """AdamW; matrices of the blocks decay, embeddings, norms and biases do not."""
    named = list(model.named_parameters())
    decays = [p for n, p in named if p.ndim > 1 and "embedding" not in n]
    others = [p for n, p in named if p.ndim <= 1 or "embedding" in n]
    groups = [{"params": decays, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.peak, betas=(0.9, 0.98), foreach=True)


def train(
    source: SceneSampler, plan: Plan, seed: int, state: Path | None, threads: int = HALVES
) -> nn.Module:
    """The trained model, in evaluation mode; the same bytes for any number of threads and stops."""
    trainer = Trainer(source, seed)
    optimiser = optimiser_of(trainer.model, plan)
    means = Means(say)
    with ThreadPoolExecutor(threads) as pool:
        for step in steps(plan, {"model": trainer.model}, optimiser, state):
            told, gradients = zip(*pool.map(partial(trainer.gradients, step), range(HALVES)), strict=True)
            for parameter, *parts in zip(trainer.parameters, *gradients, strict=True):
                parameter.grad = torch.stack(parts).mean(dim=0)
            nn.utils.clip_grad_norm_(trainer.parameters, 1.0)
            optimiser.step()
            means.add(step, plan, {k: torch.stack([t[k] for t in told]).mean() for k in told[0]})
    return trainer.model.eval()


def shipped(model: nn.Module) -> Mapping[str, Tensor]:
    """Its parameters; the training's scale within CLIP's limit."""
    state = dict(model.state_dict())
    state["logit_scale"] = state["logit_scale"].clamp(max=float(np.log(MOST_SCALE)))
    return state


def arguments() -> argparse.Namespace:
    """What the command was given."""
    parser = argparse.ArgumentParser(prog="python -m training.image_text", description=__doc__)
    parser.add_argument("--out", type=local, default=None, help="folder (default: where demo weights lie)")
    parser.add_argument("--steps", type=int, default=6000, help="of the whole plan")
    parser.add_argument(
        "--cut",
        type=int,
        nargs=2,
        metavar=("STEP", "LENGTH"),
        default=DEFAULT_CUT,
        help="let the rate fall early",
    )
    parser.add_argument("--scenes", type=int, default=200, help="per category")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--threads", type=int, default=HALVES, help="change nothing but the time")
    parser.add_argument("--cache", type=local, help="folder that keeps the drawn scenes")
    parser.add_argument("--state", type=local, help="file that keeps the state, to go on from after a stop")
    return parser.parse_args()


def main() -> int:
    """The command."""
    given = arguments()
    torch.set_num_threads(1)  # several would make the roundings depend on their number
    torch.use_deterministic_algorithms(True)
    scenes = renders(TRAIN, given.scenes, given.seed, given.workers, given.cache, SCENE)
    say("drawing textures")
    source = SceneSampler(scenes, textures(100, 224, given.seed))
    plan = Plan(given.steps, 1.2e-3, cut=tuple(given.cut))
    model = train(source, plan, given.seed, given.state, given.threads)
    ship("image_text", shipped(model), given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
