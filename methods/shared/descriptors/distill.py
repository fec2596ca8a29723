r"""Teachers of ST and GCAD: patch networks distilled from a network of ImageNet on a folder of images.

Bergmann et al., Uninformed Students, CVPR 2020, section 3.1: a linear layer behind the description has to
give what the large network, pooled, says of the same patch (knowledge distillation), and the channels of the
descriptions of a batch have to be uncorrelated (compactness). The layer is thrown away. No metric term: where
there is a network to distil from, the paper's best teachers have none. A stopped run goes on when the same
command is given again.

    python -m methods.shared.descriptors.distill --images imagenet/train --out teachers
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from harness import provenance
from harness.addresses import local
from harness.artifacts import no_store
from harness.console import console, leave
from harness.data import ImageSet
from harness.data.digest import file_digest
from harness.data.images import IMAGE_SUFFIXES, image_files_below
from harness.errors import ConfigError, DataError
from harness.notes import noted
from harness.whole import whole
from methods.shared.backbones.frozen import Backbone, load
from methods.shared.descriptors.networks import Descriptor, normalised
from methods.shared.descriptors.plans import LAYERS, OUTPUT
from methods.shared.descriptors.teachers import file_of
from methods.shared.pixels import RGB, Geometry, resized
from methods.shared.training import draws
from methods.shared.training.steps import Means, Plan, steps
from methods.shared.weights import find

GREY = 0.1  # part of the patches
SCALES = (4, 16)  # sides of an image in fields, between which it is resized before a patch is cut out
WEIGHT_DECAY = 1e-5
EVERY = 100  # steps: a line of progress, and a state to go on from
WEIGHTS = 1  # stream of a seed
Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a teacher's weights, on one kind of device with one number of threads.

    Attributes:
        backbone, weights, layer: the large network, sha256 of its weights, the module whose mean over
            positions is imitated.
        images: how many there are.
        field: of view.
        width: of the teacher's inner channels.
        steps, batch, rate, seed: of the training.
    """

    backbone: str
    weights: str
    layer: str
    images: int
    field: int
    width: float
    steps: int
    batch: int
    rate: float
    seed: int


def drawn(images: ImageSet, recipe: Recipe, step: int) -> list[RGB]:
    """The patches of a step, uint8 (field, field, 3) each: at random scales, a tenth of them grey."""
    rng = np.random.default_rng([recipe.seed, recipe.field, step])
    return [_patch(images, recipe.field, rng) for _ in range(recipe.batch)]


def _patch(images: ImageSet, field: int, rng: np.random.Generator) -> RGB:
    side = int(rng.integers(SCALES[0] * field, SCALES[1] * field + 1))
    chosen = images.subset([int(rng.integers(len(images)))])
    image = resized(chosen, Geometry.square(side), no_store())[0]
    y, x = rng.integers(side - field + 1, size=2)
    patch = image[y : y + field, x : x + field]
    patch = patch[:, ::-1] if rng.random() < 0.5 else patch
    if rng.random() < GREY:
        patch = np.asarray(Image.fromarray(np.ascontiguousarray(patch)).convert("L").convert("RGB"))
    return np.ascontiguousarray(patch)


def compactness(descriptions: Tensor) -> Tensor:
    """Sum of squared correlations of different channels over a batch (n, channels); 0 for a single patch."""
    centred = descriptions - descriptions.mean(dim=0)
    unit = F.normalize(centred, dim=0)
    correlations = unit.T @ unit
    return (correlations - torch.diag_embed(correlations.diagonal())).square().sum()


def terms(descriptions: Tensor, decoded: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Distillation (mean over patches of the squared distance) and compactness."""
    return {
        "distillation": (decoded - wanted).square().sum(dim=1).mean(),
        "compactness": compactness(descriptions),
    }


def distil(images: ImageSet, recipe: Recipe, backbone: Backbone, state: Path | None, say: Say) -> Descriptor:
    """A teacher, in evaluation mode.

    Args:
        images: of anything, the more the better.
        recipe: how.
        backbone: the large network.
        state: file from which a stopped run goes on, or None.
        say: takes lines of progress.

    Raises:
        DataError: an image cannot be read.
        HarnessError: a loss is not finite.
    """
    device = backbone.device
    wanted = _pooled(backbone, recipe.layer, drawn(images, recipe, 0))
    with draws.seeded(recipe.seed, WEIGHTS, recipe.field):
        teacher, decoder = Descriptor(recipe.field, recipe.width), nn.Linear(OUTPUT, wanted.shape[1])
    teacher.to(device)
    decoder.to(device)
    parameters = [*teacher.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=recipe.rate, weight_decay=WEIGHT_DECAY)
    means, plan = Means(say), Plan(recipe.steps, recipe.rate, constant=True, every=EVERY)
    modules = {"teacher": teacher, "decoder": decoder, "means": means}
    for step in steps(plan, modules, optimiser, state):
        patches = drawn(images, recipe, step)
        given = teacher.patches(normalised(torch.from_numpy(np.stack(patches)).to(device)))
        found = terms(given, decoder(given), _pooled(backbone, recipe.layer, patches))
        optimiser.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        optimiser.step()
        means.add(step, plan, found)
    return teacher.eval()


def _pooled(backbone: Backbone, layer: str, patches: Sequence[RGB]) -> Tensor:
    return backbone.tensors(list(patches))[layer].float().flatten(2).mean(dim=2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m methods.shared.descriptors.distill",
        description="Distil the teachers of ST and GCAD. Defaults are the paper's.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--images", required=True, type=local, help="folder, searched with its sub-folders")
    parser.add_argument("--out", required=True, type=local, help="folder of p17.safetensors and its like")
    parser.add_argument("--fields", nargs="+", type=int, choices=sorted(LAYERS), default=sorted(LAYERS))
    parser.add_argument("--backbone", default="resnet18.tv_in1k", help="of timm, or torchvision:NAME")
    parser.add_argument("--weights", help="file, or demo (None: the library's own)")
    parser.add_argument("--layer", default="layer4", help="module whose mean over positions is imitated")
    parser.add_argument("--width", type=float, default=1.0, help="factor of the teacher's inner channels")
    parser.add_argument("--steps", type=_positive, default=50_000)
    parser.add_argument("--batch", type=_positive, default=64)
    parser.add_argument("--rate", type=float, default=2e-4, help="learning rate of Adam")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _images(folder: Path) -> ImageSet:
    paths = image_files_below(folder)
    if not paths:
        what = f"no images in it or below ({', '.join(IMAGE_SUFFIXES)})" if folder.is_dir() else "no folder"
        raise DataError(f"--images {folder}: {what}")
    return ImageSet(tuple(p.relative_to(folder).as_posix() for p in paths), tuple(paths))


def _make(given: argparse.Namespace, field: int, images: ImageSet, backbone: Backbone, sha256: str) -> None:
    recipe = Recipe(
        backbone=given.backbone,
        weights=sha256,
        layer=given.layer,
        images=len(images),
        field=field,
        width=given.width,
        steps=given.steps,
        batch=given.batch,
        rate=given.rate,
        seed=given.seed,
    )
    out = file_of(str(given.out), field)
    card, state = out.with_suffix(".json"), out.with_suffix(".state.pt")
    if _known(card, recipe, out):
        console().print(f"{out}: this teacher is there already")
        return
    began = time.monotonic()
    _write(card.with_suffix(".begun.json"), {"recipe": asdict(recipe)})
    teacher = distil(images, recipe, backbone, state, lambda line: print(f"p{field}: {line}", flush=True))
    with whole(out) as partial:
        tensors = {k: v.cpu().contiguous() for k, v in teacher.state_dict().items()}
        save_file(tensors, partial, {"width": str(given.width)})
    _write(card, {"sha256": file_digest(out), "recipe": asdict(recipe), **provenance.software()})
    for left in (state, card.with_suffix(".begun.json")):
        left.unlink(missing_ok=True)
    console().print(f"{out}: made in {time.monotonic() - began:.0f} s")


def _known(card: Path, recipe: Recipe, out: Path) -> bool:
    """Whether this very teacher is there.

    Raises:
        ConfigError: another one is, or the beginning of another one.
    """
    for path in (card, card.with_suffix(".begun.json")):
        if path.is_file() and json.loads(path.read_bytes())["recipe"] != asdict(recipe):
            raise ConfigError(
                f"--out {out}: {path} is of another recipe; choose another folder, or remove it"
            )
    if out.is_file() and not card.is_file():
        raise ConfigError(f"--out {out}: is there, and {card} is not")
    return card.is_file()


def _write(path: Path, content: object) -> None:
    with whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


def main() -> int:
    """The command line."""
    with noted() as notes:
        try:
            return _main()
        finally:
            for line in notes:
                print(f"note: {line}", file=sys.stderr)


def _main() -> int:
    given = _parser().parse_args()
    images, weights = _images(given.images), find(given.backbone, given.weights)
    backbone = load(weights, (given.layer,), given.device)
    given.out.mkdir(parents=True, exist_ok=True)
    for field in given.fields:
        _make(given, field, images, backbone, weights.sha256)
    return 0


if __name__ == "__main__":
    leave(main)
