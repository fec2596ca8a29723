"""The demo vision transformer: 8 x 8 patches, 12 narrow blocks, distilled from the demo backbone.

The two losses of `training.backbone`, whose network is the teacher here: an early block is to tell what
`layer2` tells, the last tokens what `layer3` tells. Nothing but the project is needed.

    python -m training.vit
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.addresses import local
from methods.shared.backbones.frozen import Backbone, load
from methods.shared.layers import as_maps, outputs
from methods.shared.training.steps import Means, Plan, steps
from methods.shared.weights import find
from training.backbone import WEIGHTS_OF_LOSSES, differ, explained
from training.journal import say
from training.renders import HELDOUT, TRAIN, renders
from training.sampler import CropSampler, Drawn
from training.shipping import ENTRIES, ship
from training.textures import textures

PAIRS = {"blocks.3": "layer2", "norm": "layer3"}
CHANNELS = {"blocks.3": 128, "norm": 256}  # of the teacher
SIDE = 112
DRAWN = Drawn(SIDE, scenes=11, textures=5, scene_window=(0.25, 0.8), texture_window=(0.4, 0.9))
ARCHITECTURE: dict[str, Any] = ENTRIES["vit"][2]


class Student(nn.Module):
    """The network that ships, and the linear maps that are thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.model = timm.create_model(ARCHITECTURE["architecture"], **ARCHITECTURE["options"])
        width = ARCHITECTURE["options"]["embed_dim"]
        self.maps = nn.ModuleDict({teacher: nn.Conv2d(width, CHANNELS[k], 1) for k, teacher in PAIRS.items()})
        config: Any = self.model.pretrained_cfg
        self.mean, self.std = (torch.tensor(config[k]).view(1, 3, 1, 1) for k in ("mean", "std"))

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """The teacher's layer -> maps of a batch in [0, 1], at the teacher's size."""
        found = outputs(self.model, tuple(PAIRS), (batch - self.mean) / self.std)
        maps = {PAIRS[k]: as_maps(self.model, k, tokens) for k, tokens in found.items()}
        return {**maps, "layer3": F.avg_pool2d(maps["layer3"], 2)}


def losses(student: Student, teacher: Backbone, source: CropSampler, step: int) -> dict[str, Tensor]:
    """The two losses of a step."""
    batch, rng = source.batch(step)
    with torch.no_grad():
        wanted = outputs(teacher.model, teacher.layers, (batch - teacher.mean) / teacher.std)
    found = student(batch)
    linear = [explained(student.maps[k](found[k]), wanted[k]) for k in wanted]
    apart = [differ(found[k], wanted[k], rng) for k in wanted]
    return {"linear": torch.stack(linear).mean(), "distances": torch.stack(apart).mean()}


def train(source: CropSampler, teacher: Backbone, plan: Plan, seed: int, state: Path | None) -> Student:
    """The trained student, in evaluation mode."""
    torch.manual_seed(seed)
    student = Student()
    optimiser = torch.optim.AdamW(student.parameters(), lr=plan.peak, weight_decay=0.02)
    means = Means(say)
    for step in steps(plan, {"student": student}, optimiser, state):
        found = losses(student, teacher, source, step)
        optimiser.zero_grad()
        torch.stack([WEIGHTS_OF_LOSSES[k] * v for k, v in found.items()]).sum().backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        means.add(step, plan, found)
    return student.eval()


def used(model: nn.Module) -> Mapping[str, Tensor]:
    """The parameters without the classifier."""
    return {k: v for k, v in model.state_dict().items() if not k.startswith(("head.", "fc_norm."))}


def check(student: Student, teacher: Backbone, source: CropSampler, batches: int = 10) -> None:
    """Print the losses on held-out scenes."""
    with torch.no_grad():
        found = [losses(student, teacher, source, i) for i in range(batches)]
    means = {k: float(torch.stack([f[k] for f in found]).mean()) for k in found[0]}
    say("held-out scenes: " + ", ".join(f"{k} {v:.3f}" for k, v in means.items()))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m training.vit", description=__doc__)
    parser.add_argument("--out", type=local, default=None, help="folder (default: where demo weights lie)")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--scenes", type=int, default=60, help="per category")
    parser.add_argument("--heldout", type=int, default=10, help="per category, for the final measure")
    parser.add_argument("--textures", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--threads", type=int, default=1, help="other numbers give other roundings")
    parser.add_argument("--cache", type=local, help="folder that keeps the drawn scenes")
    parser.add_argument("--state", type=local, help="file that keeps the state of the training")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.use_deterministic_algorithms(True)
    teacher = load(find("resnet10t", "demo"), tuple(PAIRS.values()), "cpu")
    scenes = renders(TRAIN, given.scenes, given.seed, given.workers, given.cache)
    say("drawing textures")
    pictures = textures(given.textures, 224, given.seed)
    source = CropSampler(scenes, pictures, given.seed, DRAWN)
    student = train(source, teacher, Plan(given.steps, 2e-3, every=50), given.seed, given.state)
    others = renders(HELDOUT, given.heldout, given.seed, given.workers, given.cache)
    check(student, teacher, CropSampler(others, pictures, given.seed + 1, DRAWN))
    ship("vit", used(student.model), given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
