"""The demo image backbone: timm's `resnet10t` up to `layer3`, distilled from Xception on procedural pictures.

Two losses on random crops of scenes and of textures, for `layer2` against `block2` and `layer3`
against `block7`: a linear map of the student's features gives the teacher's, and distances between
positions are those of the teacher. Distances are all that a memory bank looks at. Needs the weights
of timm's `legacy_xception.tf_in1k` (MIT licence), which timm downloads, or `--xception FILE`.

    python -m training.backbone
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.addresses import local
from methods.shared.backbones.frozen import Backbone, load
from methods.shared.layers import outputs
from methods.shared.training.steps import Means, Plan, steps
from methods.shared.weights import find
from training.journal import say
from training.renders import HELDOUT, TRAIN, renders
from training.sampler import CropSampler, Drawn
from training.shipping import ship
from training.textures import photographs, textures

ARCHITECTURE, TEACHER = "resnet10t", "legacy_xception.tf_in1k"
PAIRS = {"layer2": "block2", "layer3": "block7"}
CHANNELS = {"layer2": (128, 256), "layer3": (256, 728)}  # of the student, of the teacher
SIDE = 160
DRAWN = Drawn(SIDE, scenes=11, textures=5, scene_window=(0.3, 1.0), texture_window=(0.4, 0.95))
POSITIONS = 256  # whose distances to one another are compared in a step
NEAR = 0.1  # part of the mean distance below which differences of distances count no more
DEFAULT_CUT = (300, 200)  # with the default number of steps, what shipped
WEIGHTS_OF_LOSSES = {"linear": 1.0, "distances": 2.0}


class Student(nn.Module):
    """The network that ships, and the linear maps that are thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.model = timm.create_model(ARCHITECTURE, pretrained=False)
        self.maps = nn.ModuleDict({k: nn.Conv2d(*channels, 1) for k, channels in CHANNELS.items()})
        config: Any = self.model.pretrained_cfg
        self.mean, self.std = (torch.tensor(config[k]).view(1, 3, 1, 1) for k in ("mean", "std"))

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """Layer -> maps of a batch in [0, 1]."""
        x = ((batch - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return outputs(self.model, tuple(PAIRS), x)


def taught(teacher: Backbone, batch: Tensor) -> dict[str, Tensor]:
    """The student's layer -> what the teacher has there."""
    x = ((batch - teacher.mean) / teacher.std).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        found = outputs(teacher.model, teacher.layers, x)
    return {layer: found[other] for layer, other in PAIRS.items()}


def patches(maps: Mapping[str, Tensor]) -> Tensor:
    """Both layers on the finer grid, averaged over 3 × 3, as PatchCore joins them: (n, c, h, w)."""
    fine, coarse = (F.avg_pool2d(maps[layer].float(), 3, stride=1, padding=1) for layer in PAIRS)
    return torch.cat([fine, F.interpolate(coarse, fine.shape[-2:], mode="bilinear")], dim=1)


def distances(maps: Tensor, index: Tensor) -> Tensor:
    """Log of the distances between chosen positions, (p, p), on the scale of their mean."""
    chosen = maps.float().permute(0, 2, 3, 1).flatten(0, 2)[index]
    squares = (chosen * chosen).sum(dim=1)
    squared = squares[:, None] + squares[None] - 2 * chosen @ chosen.T
    apart = squared.clamp(min=1e-8).sqrt()
    return torch.log(apart / apart.mean() + NEAR)


def losses(student: Student, teacher: Backbone, source: CropSampler, step: int) -> dict[str, Tensor]:
    """The two losses of a step."""
    batch, rng = source.batch(step)
    with torch.autocast("cpu", torch.bfloat16):
        wanted, found = taught(teacher, batch), student(batch)
        mapped = {k: student.maps[k](found[k]) for k in PAIRS}
    linear = [explained(mapped[k].float(), wanted[k].float()) for k in PAIRS]
    apart = [differ(found[k], wanted[k], rng) for k in PAIRS] + [differ(patches(found), patches(wanted), rng)]
    return {"linear": torch.stack(linear).mean(), "distances": torch.stack(apart).mean()}


def explained(given: Tensor, wanted: Tensor) -> Tensor:
    """Squared difference as a part of the variance of the wanted maps."""
    variance = wanted.var(dim=(0, 2, 3), keepdim=True).mean()
    return F.mse_loss(given, wanted) / variance


def differ(found: Tensor, wanted: Tensor, rng: np.random.Generator) -> Tensor:
    """Squared difference of the log distances between random positions of two sets of maps."""
    number = found.shape[0] * found.shape[2] * found.shape[3]
    index = torch.from_numpy(rng.choice(number, min(POSITIONS, number), replace=False))
    return F.mse_loss(distances(found, index), distances(wanted, index))


def train(source: CropSampler, teacher: Backbone, plan: Plan, seed: int, state: Path | None) -> Student:
    """The trained student, in evaluation mode."""
    torch.manual_seed(seed)
    student = Student().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.AdamW(student.parameters(), lr=plan.peak, weight_decay=0.02)
    means = Means(say)
    for step in steps(plan, {"student": student}, optimiser, state):
        found = losses(student, teacher, source, step)
        optimiser.zero_grad()
        torch.stack([WEIGHTS_OF_LOSSES[k] * v for k, v in found.items()]).sum().backward()
        optimiser.step()
        means.add(step, plan, found)
    return student.eval()


def used(model: nn.Module) -> dict[str, Tensor]:
    """The parameters up to the last trained layer."""
    unused = ("layer4.", "fc.")
    return {k: v for k, v in model.state_dict().items() if not k.startswith(unused)}


def check(student: Student, teacher: Backbone, source: CropSampler, batches: int = 10) -> None:
    """Print the losses on held-out scenes."""
    with torch.no_grad():
        found = [losses(student, teacher, source, i) for i in range(batches)]
    means = {k: float(torch.stack([f[k] for f in found]).mean()) for k in found[0]}
    say("held-out scenes: " + ", ".join(f"{k} {v:.3f}" for k, v in means.items()))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m training.backbone", description=__doc__)
    parser.add_argument("--out", type=local, default=None, help="folder (default: where demo weights lie)")
    parser.add_argument("--xception", type=local, help="weights of legacy_xception (default: timm's)")
    parser.add_argument("--steps", type=int, default=600, help="of the whole plan")
    parser.add_argument(
        "--cut",
        type=int,
        nargs=2,
        metavar=("STEP", "LENGTH"),
        default=DEFAULT_CUT,
        help="let the rate fall early",
    )
    parser.add_argument("--scenes", type=int, default=140, help="per category")
    parser.add_argument("--heldout", type=int, default=20, help="per category, for the final measure")
    parser.add_argument("--textures", type=int, default=400)
    parser.add_argument("--images", type=local, help="folder of natural pictures instead of the textures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--threads", type=int, default=1, help="other numbers give other roundings")
    parser.add_argument("--cache", type=local, help="folder that keeps the drawn scenes")
    parser.add_argument("--state", type=local, help="file that keeps the state of the training")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.use_deterministic_algorithms(True)
    weights = find(TEACHER, str(given.xception) if given.xception else None)
    teacher = load(weights, tuple(PAIRS.values()), "cpu")
    nn.Module.to(teacher.model, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    scenes = renders(TRAIN, given.scenes, given.seed, given.workers, given.cache)
    say("drawing textures")
    pictures = photographs(given.images, 224) if given.images else textures(given.textures, 224, given.seed)
    source = CropSampler(scenes, pictures, given.seed, DRAWN)
    plan = Plan(given.steps, 3e-3, every=50, cut=tuple(given.cut))
    student = train(source, teacher, plan, given.seed, given.state)
    others = renders(HELDOUT, given.heldout, given.seed, given.workers, given.cache)
    check(student, teacher, CropSampler(others, pictures, given.seed + 1, DRAWN))
    ship("backbone", used(student.model), given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
