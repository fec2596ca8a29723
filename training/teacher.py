"""The demo teacher of EfficientAD: a narrow PDN-S, distilled from the demo backbone.

python -m training.teacher
"""

import argparse

import torch

from harness.addresses import local
from methods.shared.backbones.frozen import load
from methods.shared.training.distillation import PatchTarget, difference, distil
from methods.shared.training.pdn import pdn_small
from methods.shared.training.steps import Plan
from methods.shared.weights import Weights, find
from training.journal import say
from training.renders import HELDOUT, TRAIN, renders
from training.sampler import CropSampler, Drawn
from training.shipping import ship
from training.textures import textures

CHANNELS = 128
WIDTHS = (64, 128, 128)
LAYERS = ("layer2", "layer3")
SIDE = 256  # of the backbone's pictures, twice that of the student's; crops, not whole scenes
DRAWN = Drawn(SIDE, scenes=6, textures=2, scene_window=(0.4, 0.7), texture_window=(0.4, 0.9))
CALIBRATION = 20  # batches
FROM = "wide_resnet50_2"  # any name: `demo` answers with its own backbone


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m training.teacher", description=__doc__)
    parser.add_argument("--out", type=local, default=None, help="folder (default: where demo weights lie)")
    parser.add_argument("--backbone", type=local, help="resnet10t weights (default: the demo backbone)")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--scenes", type=int, default=140, help="per category")
    parser.add_argument("--heldout", type=int, default=20, help="per category, for the final measure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--threads", type=int, default=1, help="other numbers give other roundings")
    parser.add_argument("--cache", type=local, help="folder that keeps the drawn scenes")
    parser.add_argument("--state", type=local, help="file that keeps the state of the training")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(given.seed)
    weights = Weights("resnet10t", given.backbone) if given.backbone else find(FROM, "demo")
    target = PatchTarget(load(weights, LAYERS, "cpu"), CHANNELS)
    pictures = textures(100, 224, given.seed)
    scenes = renders(TRAIN, given.scenes, given.seed, given.workers, given.cache)
    source = CropSampler(scenes, pictures, given.seed, DRAWN)
    target.calibrate(source.batch(10**6 + i)[0] for i in range(CALIBRATION))
    student = pdn_small(CHANNELS, WIDTHS, padding=True)
    plan = Plan(given.steps, 2e-3, every=50)
    distil(student, lambda step: target.pair(source.batch(step)[0]), plan, given.state, say)
    others = CropSampler(
        renders(HELDOUT, given.heldout, given.seed, given.workers, given.cache), pictures, given.seed, DRAWN
    )
    with torch.no_grad():
        left = torch.stack([difference(student, target.pair(others.batch(i)[0])) for i in range(10)]).mean()
    say(f"held-out scenes: {1 - float(left):.3f} of the target's variance explained")
    ship("teacher", student.state_dict(), given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
