r"""Teachers of EfficientAD: a PDN distilled from any backbone of timm or torchvision on a folder of images.

Batzner et al., WACV 2024, appendix A.5: PatchCore's features of a network that sees pictures of 512 × 512
are imitated by a padded PDN that sees them at half that size; Adam, 60,000 steps of 16 images, a tenth of
which are made grey. Writes the weights, which `weights:` of EfficientAD takes, and a card (JSON) beside
them. A stopped run goes on when the same command is given again.

    python -m methods.efficientad.distill --backbone wide_resnet101_2.tv_in1k --images imagenet/train \
        --out teacher.safetensors
"""

import argparse
import hashlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch

from harness import provenance
from harness.addresses import local
from harness.console import console, leave
from harness.data import ImageSet, image_size
from harness.data.images import IMAGE_SUFFIXES, image_files_below
from harness.errors import ConfigError, DataError
from harness.notes import noted
from methods.efficientad.teacher_files import STUDENTS, Files, TeacherSpec
from methods.efficientad.teacher_pairs import PairSampler, Say
from methods.shared.backbones.features import FeatureSpec
from methods.shared.backbones.frozen import load
from methods.shared.checkpoints import PROBE_SIZE
from methods.shared.pixels import Geometry
from methods.shared.training import pdn
from methods.shared.training.distillation import Precision, distil
from methods.shared.training.steps import Means, Plan
from methods.shared.weights import TORCHVISION

STRIDES = (8, 16)  # of the layers, if none are named; layer2 and layer3 of a ResNet
EVERY = 50  # steps: a line of progress, and a state to go on from
SHOWN = 5  # files in a message


def make(source: PairSampler, files: Files, say: Say) -> Means:
    """Distil the teacher of `source.recipe` into `files`, going on where an earlier call was stopped.

    Raises:
        DataError: an image cannot be read.
        HarnessError: the loss is not finite.
    """
    recipe, student = source.recipe, source.recipe.student().to(source.device)
    files.begin(recipe)
    source.moments = files.moments_of(lambda: source.calibrated(say), source.device)
    plan = Plan(recipe.steps, recipe.rate, constant=recipe.schedule == "constant", every=EVERY)
    means = distil(student, source.pair, plan, files.state, say, recipe.precision)
    files.finish(student, _card(source, means))
    return means


def _card(source: PairSampler, means: Means) -> dict[str, Any]:
    curve = [[step, round(losses["squared difference"], 6)] for step, losses in means.curve]
    return {
        "recipe": asdict(source.recipe),
        "n_images": len(source.images),
        "marks": list(source.spec.file.marks),
        "loss": curve[-1][1],
        "loss_curve": curve,
        "device": source.device,
        "threads": torch.get_num_threads(),
        **provenance.software(),
    }


def images_below(folder: Path) -> ImageSet:
    """Every image in a folder and its sub-folders.

    Raises:
        DataError: there are none, or some are no images.
    """
    paths = image_files_below(folder)
    if not paths:
        what = (
            f"no images in it or below (allowed: {', '.join(IMAGE_SUFFIXES)})"
            if folder.is_dir()
            else "no folder"
        )
        raise DataError(f"--images {folder}: {what}")
    problems = [problem for path in paths if (problem := _unreadable(path))]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError("\n".join(problems[:SHOWN] + more))
    return ImageSet(tuple(p.relative_to(folder).as_posix() for p in paths), tuple(paths))


def _unreadable(path: Path) -> str | None:
    try:
        image_size(path)
    except DataError as error:
        return str(error)
    return None


def _listing(images: ImageSet) -> str:
    sizes = [p.stat().st_size for p in images.sources if isinstance(p, Path)]
    return hashlib.sha256(json.dumps([images.ids, sizes]).encode()).hexdigest()


def default_layers(backbone: str) -> tuple[str, ...]:
    """The last modules of a timm model whose outputs have an 8th and a 16th of the input's side.

    Raises:
        ConfigError: it has none, or is torchvision's, which does not say.
    """
    found: dict[int, str] = {}
    if not backbone.startswith(TORCHVISION):
        import timm

        info: Any = timm.create_model(backbone).feature_info
        found = {entry["reduction"]: entry["module"] for entry in info}
    if not set(STRIDES) <= found.keys():
        raise ConfigError(f"--layers: name the modules of {backbone!r} to read; their strides are not known")
    return tuple(found[stride] for stride in STRIDES)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m methods.efficientad.distill",
        description="Distil a teacher of EfficientAD. Defaults are the paper's.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--backbone", required=True, help="of timm, or torchvision:NAME")
    parser.add_argument("--weights", help="file, or demo (None: the library's own)")
    parser.add_argument("--layers", nargs="+", help=f"modules to read (None: those of strides {STRIDES})")
    parser.add_argument("--images", required=True, type=local, help="folder, searched with its sub-folders")
    parser.add_argument("--out", required=True, type=local, help="FILE.safetensors; the card is FILE.json")
    parser.add_argument("--size", choices=sorted(STUDENTS), default="S", help="of the PDN")
    parser.add_argument("--maps", type=_positive, default=pdn.OUTPUT, help="channels of the teacher")
    parser.add_argument("--image-size", type=_positive, default=512, help="the PDN sees half of it")
    parser.add_argument("--steps", type=_positive, default=60_000)
    parser.add_argument("--batch", type=_positive, default=16)
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of Adam")
    parser.add_argument("--schedule", choices=("constant", "cosine"), default="constant")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cache", type=local, help="folder that keeps features; for steps × batch > images")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _source(given: argparse.Namespace) -> PairSampler:
    """Everything that the command line asks for, refused before any work if it cannot be."""
    if given.image_size < PROBE_SIZE:
        raise ConfigError(f"--image-size {given.image_size}: has to be at least {PROBE_SIZE}")
    geometry = Geometry.square(given.image_size)
    spec = FeatureSpec(given.backbone, given.weights, (), geometry, given.precision)
    layers = tuple(given.layers or default_layers(spec.file.backbone))
    spec = FeatureSpec(given.backbone, given.weights, layers, geometry, given.precision)
    images = images_below(given.images)
    same = {
        k: getattr(given, k)
        for k in ("size", "maps", "image_size", "steps", "batch", "rate", "schedule", "seed")
    }
    recipe = TeacherSpec(
        spec.file.backbone, spec.file.sha256, layers, _listing(images), precision=given.precision, **same
    )
    load(spec.file, tuple(sorted(layers)), given.device, given.precision)  # as `features` will ask for it
    side = given.image_size // 2
    with torch.no_grad():
        grid = recipe.student()(torch.zeros(1, 3, side, side)).shape[-2:]
    return PairSampler(images, recipe, spec, tuple(grid), given.cache, given.device)


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
    files, source, out = Files(given.out), _source(given), console()
    if files.finished(source.recipe):
        out.print(f"{given.out}: this teacher is there already")
        return 0
    began = time.monotonic()
    if out.is_terminal:
        with out.status("…") as status:
            means = make(source, files, status.update)
    else:
        means = make(source, files, lambda line: print(line, flush=True))
    explained = 1 - means.curve[-1][1]["squared difference"]
    seconds = time.monotonic() - began
    out.print(
        f"{given.out}: {explained:.3f} of the target's variance explained in the last steps; {seconds:.0f} s"
    )
    return 0


if __name__ == "__main__":
    leave(main)
