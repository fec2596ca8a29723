"""What the demo image–text model understands of held-out scenes.

Dense: mean intersection over union of the argmax over prompts against the exact part masks, with the
plain and with NACLIP's last block. Whole pictures: which caption, which picture.

    python -m training.measure
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from harness.addresses import local
from harness.datasets.demo import PART_NAMES
from methods.shared.weights import DEMO_FOLDER
from training.captions import Statement, statements
from training.image_text import SCENE
from training.journal import say
from training.pairs import SHOWN_ALONE, fact_of, part_alone
from training.read_out import embedded, read
from training.renders import HELDOUT, Renders, renders
from training.words import GROUPS, NAMES

TEMPLATES = ("a photo of a {}", "a photo of the {}", "a close-up of a {}", "{}")
READ_OUTS = ("plain", "naclip")
COARSER: dict[str, tuple[int, ...]] = {  # which of a category's groups take the place of their parts
    "juice_bottle": (0, 1, 3),
    "pushpins": (0, 2),
    "screw_bag": (0, 2),
    "splicing_connectors": (1,),
}
Set = Sequence[tuple[frozenset[int], tuple[str, ...]]]


class Model:
    """The model as a user loads it.

    Args:
        folder: with `open_clip_config.json` and `open_clip_model.safetensors`.
    """

    def __init__(self, folder: Path) -> None:
        name = f"local-dir:{folder}"
        loaded: Any = open_clip.create_model_and_transforms(name)
        self.model, _, self.preprocess = loaded
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer(name)

    def text(self, said: Sequence[str]) -> Tensor:
        """Unit vectors (n, d)."""
        with torch.no_grad():
            return self.model.encode_text(self.tokenizer(list(said)), normalize=True)

    def names(self, names: Sequence[str]) -> Tensor:
        """One unit vector (d,) for all names in all templates."""
        vectors = self.text([t.format(name) for name in names for t in TEMPLATES])
        return F.normalize(vectors.mean(dim=0), dim=0)

    def image(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, dict[str, Tensor]]:
        """The picture's unit vector (d,) and, for each read-out, those of its patches (p, d)."""
        visual: Any = self.model.visual
        batch = self.preprocess(Image.fromarray(pixels))[None]
        with torch.no_grad():
            tokens = embedded(visual, batch, visual.positional_embedding[1:][None])
            whole, plain, dense = (F.normalize(x, dim=-1)[0] for x in read(visual, tokens))
        return whole, dict(zip(READ_OUTS, (plain, dense), strict=True))


def prompt_set(category: str, coarser: bool) -> Set:
    """The parts of a category and their names, some of them in groups if `coarser`."""
    chosen = [GROUPS[category][i] for i in COARSER.get(category, ())] if coarser else []
    grouped = [(frozenset(parts), names) for parts, names in chosen]
    covered = {part for parts, _ in grouped for part in parts}
    single = [(frozenset([p]), names) for p, names in enumerate(NAMES[category]) if p not in covered]
    return [*single, *grouped]


def segmented(tokens: Tensor, words: Tensor, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Index of the most similar prompt for every pixel (h, w)."""
    side = round(len(tokens) ** 0.5)
    maps = (tokens @ words.T).T.view(1, -1, side, side)
    return F.interpolate(maps, shape, mode="bilinear").argmax(dim=1)[0].numpy()


def overlaps(model: Model, scenes: Renders, coarser: bool) -> dict[str, NDArray[np.float64]]:
    """Read-out -> intersection over union of every prompt, over all scenes together."""
    chosen = prompt_set(scenes.category, coarser)
    words = torch.stack([model.names(names) for _, names in chosen])
    table = np.array(
        [next(i for i, (g, _) in enumerate(chosen) if p in g) for p in range(len(NAMES[scenes.category]))]
    )
    counts = {r: np.zeros((len(chosen), len(chosen))) for r in READ_OUTS}
    for image, parts in zip(scenes.images, scenes.parts, strict=True):
        _, tokens = model.image(image)
        for r in READ_OUTS:
            found = segmented(tokens[r], words, (parts.shape[0], parts.shape[1]))
            pairs = table[parts].ravel() * len(chosen) + found.ravel()
            counts[r] += np.bincount(pairs, minlength=len(chosen) ** 2).reshape(len(chosen), -1)
    return {r: np.diag(c) / (c.sum(0) + c.sum(1) - np.diag(c)).clip(1) for r, c in counts.items()}


def retrieval(
    images: Tensor, facts: Sequence[frozenset[str]], told: Sequence[Statement], words: Tensor
) -> tuple[float, float]:
    """Part of pictures whose nearest caption is true, and of captions whose nearest picture fits."""
    true = np.array([[s.facts <= f for s in told] for f in facts])
    there = true.any(axis=0)
    similarity = (images @ words.T).numpy()
    pictures = true[np.arange(len(true)), np.where(there, similarity, -2).argmax(axis=1)].mean()
    captions = true[similarity.argmax(axis=0), np.arange(true.shape[1])][there].mean()
    return float(pictures), float(captions)


def of_parts(model: Model, scenes: Mapping[str, Renders], each: int = 8) -> tuple[float, float]:
    """Retrieval among crops of single parts and the parts' names."""
    rng = np.random.default_rng(0)
    told, words, vectors, facts = [], [], [], []
    for category, parts in SHOWN_ALONE.items():
        for part in parts:
            told.append(Statement(frozenset([fact_of(category, part)]), PART_NAMES[category][part]))
            words.append(model.names(NAMES[category][part][:1]))
            drawn = (part_alone(scenes[category], i, rng, 160, part) for i in range(len(scenes[category])))
            for picture in [p for p in drawn if p is not None][:each]:
                vectors.append(model.image(picture.pixels)[0])
                facts.append(picture.facts)
    return retrieval(torch.stack(vectors), facts, told, torch.stack(words))


def of_scenes(model: Model, scenes: Mapping[str, Renders], level: int) -> tuple[float, float, int]:
    """Retrieval among whole scenes and what can be said of them; number of captions.

    Args:
        model: the model.
        scenes: held-out ones.
        level: 1 for product and type or main contents, -1 for all that is said, numbers included.
    """
    vectors, facts, captions = [], [], set()
    for of in scenes.values():
        for image, subtype, defect in zip(of.images, of.subtypes, of.defects, strict=True):
            told = statements(of.category, subtype, defect)
            facts.append(told[-1].facts)
            captions.add(told[min(level, len(told) - 1)])
            vectors.append(model.image(image)[0])
    ordered = sorted(captions, key=lambda s: s.text)
    found = retrieval(torch.stack(vectors), facts, ordered, model.text([s.text for s in ordered]))
    return (*found, len(ordered))


def report(model: Model, scenes: Mapping[str, Renders]) -> None:
    """Print all measures."""
    for coarser in (False, True):
        means: dict[str, list[float]] = {r: [] for r in READ_OUTS}
        for category, of in scenes.items():
            found = overlaps(model, of, coarser)
            for r in READ_OUTS:
                means[r].append(float(found[r].mean()))
            detail = ", ".join(
                f"{n[0]} {v:.2f}"
                for (_, n), v in zip(prompt_set(category, coarser), found["naclip"], strict=True)
            )
            say(f"{category}: " + ", ".join(f"{r} {v.mean():.3f}" for r, v in found.items()) + f" ({detail})")
        kind = "groups as CLIP-LAD asks" if coarser else "every part"
        say(f"mean IoU, {kind}: " + ", ".join(f"{r} {np.mean(v):.3f}" for r, v in means.items()))
    say("crops of parts: picture -> name {:.2f}, name -> picture {:.2f}".format(*of_parts(model, scenes)))
    for level in (0, 1, -1):
        say(
            "scenes, level {}: picture -> caption {:.2f}, caption -> picture {:.2f}, {} captions".format(
                level, *of_scenes(model, scenes, level)
            )
        )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m training.measure", description=__doc__)
    parser.add_argument("--model", type=local, default=DEMO_FOLDER / "image_text")
    parser.add_argument("--heldout", type=int, default=20, help="scenes per category")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=local, help="folder that keeps the drawn scenes")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    scenes = renders(HELDOUT, given.heldout, given.seed, given.workers, given.cache, SCENE)
    report(Model(given.model), scenes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
