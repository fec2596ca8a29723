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
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from harness import provenance
from harness.addresses import local
from harness.artifacts import ArtifactStore
from harness.console import console, leave
from harness.data import ImageSet, image_size
from harness.data.digest import file_digest
from harness.data.images import IMAGE_SUFFIXES, image_files_below
from harness.errors import ConfigError, DataError
from harness.notes import noted
from harness.whole import whole
from methods.shared.backbones.features import FeatureSpec, features
from methods.shared.backbones.frozen import GPU_BATCH, Backbone, load
from methods.shared.checkpoints import PROBE_SIZE
from methods.shared.pixels import RGB, Geometry, resized
from methods.shared.training import pdn
from methods.shared.training.distillation import Moments, Pair, Precision, Size, distil, join, on_grid
from methods.shared.training.states import keep, restored, set_aside
from methods.shared.training.steps import Means, Plan
from methods.shared.weights import TORCHVISION

LAYER_CHANNELS = 1024  # PatchCore averages every layer to so many before it joins them
GREY = 0.1  # part of the images drawn
CALIBRATION = 10_000  # images, at most, for mean and deviation of the target
CHUNK = 16  # of them whose features are held in memory together
STRIDES = (8, 16)  # of the layers, if none are named; layer2 and layer3 of a ResNet
EVERY = 50  # steps: a line of progress, and a state to go on from
SHOWN = 5  # files in a message
STUDENTS = {"S": pdn.pdn_small, "M": pdn.pdn_medium}
Say = Callable[[str], None]


@dataclass(frozen=True)
class TeacherSpec:
    """Everything that decides a teacher's weights, on one kind of device with one number of threads.

    Attributes:
        backbone, weights, layers: the large network, sha256 of its weights, the modules it is read at.
        images: sha256 of the images' names and sizes in bytes.
        size, maps: which PDN.
        image_size: side of the pictures that the large network sees; the PDN sees half of it.
        steps, batch, rate, schedule, seed, precision: of the training.
    """

    backbone: str
    weights: str
    layers: tuple[str, ...]
    images: str
    size: str
    maps: int
    image_size: int
    steps: int
    batch: int
    rate: float
    schedule: str
    seed: int
    precision: Precision

    def differences(self, card: Path) -> list[str]:
        """Names of what a card's recipe has otherwise; all of them if there is no card that can be read."""
        kept = recipe_in(card) or {}
        return [k for k, v in json.loads(json.dumps(asdict(self))).items() if kept.get(k) != v]

    def student(self) -> nn.Module:
        """The PDN before its training."""
        torch.manual_seed(self.seed)
        return STUDENTS[self.size](self.maps, padding=True)


def recipe_in(card: Path) -> dict[str, Any] | None:
    """The recipe that a card names; None if the file is not there or cannot be read."""
    try:
        return dict(json.loads(card.read_bytes())["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class PairSampler:
    """Draws what a step learns from; the same for the same seed and step."""

    def __init__(
        self,
        images: ImageSet,
        recipe: TeacherSpec,
        spec: FeatureSpec,
        grid: Size,
        cache: Path | None,
        device: str,
    ) -> None:
        self.images, self.recipe, self.spec, self.grid, self.device = images, recipe, spec, grid, device
        self.cache, self.store = cache, ArtifactStore(cache)
        self.half = Geometry.square(recipe.image_size // 2)
        self.moments = Moments(torch.zeros(1), torch.ones(1))

    def pair(self, step: int) -> Pair:
        """Pictures and the normalised target."""
        rng = np.random.default_rng([self.recipe.seed, step])
        chosen = self.images.subset(rng.integers(len(self.images), size=self.recipe.batch).tolist())
        grey = rng.random(len(chosen)) < GREY
        drawn = ImageSet(
            chosen.ids, tuple(_grey(chosen[i]) if g else chosen.sources[i] for i, g in enumerate(grey))
        )
        pixels = torch.from_numpy(np.stack(resized(drawn, self.half, self.store))).to(self.device)
        return Pair(pixels.permute(0, 3, 1, 2).float() / 255, self.moments.normalised(self.target(drawn)))

    def target(self, images: ImageSet) -> Tensor:
        """The target before it is normalised, (n, maps, h, w)."""
        found = self._layers(images) if self.cache is None else self._stored(images)
        return on_grid(join(found, self.recipe.maps, LAYER_CHANNELS), self.grid)

    def _stored(self, images: ImageSet) -> list[Tensor]:
        found = features(images, self.spec, self.store, self.device)
        layers = (np.stack([maps[name] for maps in found]) for name in self.spec.layers)
        return [torch.from_numpy(layer).to(self.device) for layer in layers]

    def _layers(self, images: ImageSet) -> list[Tensor]:
        """The same without a store: on a card they stay there, 200 MB of them for 16 images."""
        network = self._network
        pixels = resized(images, self.spec.geometry, self.store)
        # one by one on a CPU, as `features` has it: no slower there, and the same bits in every company
        size = GPU_BATCH if network.on_gpu else 1
        parts = [network.tensors(pixels[i : i + size]) for i in range(0, len(pixels), size)]
        return [torch.cat([part[name] for part in parts]) for name in self.spec.layers]

    @property
    def _network(self) -> Backbone:
        spec = self.spec
        return load(spec.file, tuple(sorted(spec.layers)), self.device, spec.precision)

    def calibrated(self, say: Say) -> Moments:
        """Mean and deviation of the target over the images, or over a part of them."""
        rng = np.random.default_rng([self.recipe.seed])
        order = rng.permutation(len(self.images))[:CALIBRATION].tolist()
        return Moments.of(self._told(order, say))

    def _told(self, order: Sequence[int], say: Say) -> Iterator[Tensor]:
        began = time.monotonic()
        for start in range(0, len(order), CHUNK):
            yield from self.target(self.images.subset(order[start : start + CHUNK])).split(1)
            done = min(start + CHUNK, len(order))
            left = (time.monotonic() - began) / done * (len(order) - done)
            say(f"target of {done} of {len(order)} images; about {left:.0f} s left")


def _grey(image: RGB) -> RGB:
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


class Files:
    """Where a teacher, its card and what is needed to go on lie.

    Args:
        out: the file of weights.

    Raises:
        ConfigError: the name has a wrong ending, or its folder cannot be written.
    """

    def __init__(self, out: Path) -> None:
        if out.suffix != ".safetensors":
            raise ConfigError(f"--out {out}: the name has to end in .safetensors")
        self.out, self.card = out, out.with_suffix(".json")
        self.work = out.with_name(out.name + ".work")
        self.settings, self.state = self.work / "recipe.json", self.work / "state.pt"
        self.moments = self.work / "moments.pt"
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--out {out}: {error.strerror}") from error
        if not os.access(out.parent, os.W_OK):
            raise ConfigError(f"--out {out}: the folder cannot be written")

    def finished(self, recipe: TeacherSpec) -> bool:
        """Whether this very teacher is there.

        Raises:
            ConfigError: another teacher is there, or the beginning of another one.
        """
        if self.out.exists() and (differing := recipe.differences(self.card)):
            what = f"is of another recipe ({', '.join(differing)})"
            what = what if recipe_in(self.card) else f"its card {self.card} cannot be read"
            raise ConfigError(f"--out {self.out}: exists and {what}")
        if self._begun() and (differing := recipe.differences(self.settings)):
            raise ConfigError(
                f"{self.work}: a run of another recipe was stopped here ({', '.join(differing)} differ); "
                "go on with that one, remove the folder, or choose another --out"
            )
        return self.out.exists()

    def _begun(self) -> bool:
        """Whether a run was stopped here; a state that does not say of which recipe it is is of no use."""
        if self.settings.exists() and recipe_in(self.settings) is None:
            set_aside(self.work, f"{self.settings.name} cannot be read")
        return self.settings.exists()

    def begin(self, recipe: TeacherSpec) -> None:
        """Remember what is being made."""
        self.work.mkdir(exist_ok=True)
        _write(self.settings, lambda path: path.write_text(json.dumps({"recipe": asdict(recipe)})))

    def moments_of(self, source: PairSampler, say: Say) -> Moments:
        """Mean and deviation of the target, taken once."""
        found = restored(self.moments, lambda content: Moments(**content))
        if found is None:
            found = source.calibrated(say)
            keep({k: v.cpu() for k, v in found._asdict().items()}, self.moments)
        return Moments(*(m.to(source.device) for m in found))

    def finish(self, student: nn.Module, card: dict[str, Any]) -> None:
        """Write weights and card; forget what was needed to go on."""
        weights = self.work / self.out.name
        save_file({k: v.detach().cpu().contiguous() for k, v in student.state_dict().items()}, weights)
        card = {"file": self.out.name, "sha256": file_digest(weights), **card}
        _write(self.card, lambda path: path.write_text(json.dumps(card, indent=2) + "\n"))
        weights.replace(self.out)
        shutil.rmtree(self.work)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    with whole(path) as partial:
        write(partial)


def make(source: PairSampler, files: Files, say: Say) -> Means:
    """Distil the teacher of `source.recipe` into `files`, going on where an earlier call was stopped.

    Raises:
        DataError: an image cannot be read.
        HarnessError: the loss is not finite.
    """
    recipe, student = source.recipe, source.recipe.student().to(source.device)
    files.begin(recipe)
    source.moments = files.moments_of(source, say)
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
