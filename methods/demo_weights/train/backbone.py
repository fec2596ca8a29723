"""The demo image backbone: timm's `resnet10t` up to `layer3`, trained on procedural pictures only.

Three tasks at once, on crops of scenes and of textures: name the part under every position (exact
part masks), recognise a position in another view of it (dense contrast), and say the orientations
and colours around it. The second and third keep the features sensitive to what has no name.

    python -m methods.demo_weights.train.backbone
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.datasets.demo import PART_NAMES
from methods.demo_weights.train.crops import IGNORED, as_batch, cut, random_window, relit
from methods.demo_weights.train.journal import say
from methods.demo_weights.train.renders import TRAIN, Renders, renders
from methods.demo_weights.train.shipping import ship
from methods.demo_weights.train.textures import photographs, textures
from methods.training import Means, Plan, steps

ARCHITECTURE = "resnet10t"
LAYERS = ("layer1", "layer2", "layer3")
STRIDES = {"layer2": 8, "layer3": 16}
CHANNELS = {"layer1": 64, "layer2": 128, "layer3": 256}
SIDE, SHIFT = 128, 16  # of a view; pixels by which two views of a crop are shifted at most
BATCH, TEXTURES = 24, 8  # crops in a step, of which so many are textures
POSITIONS = 12  # per picture and layer that take part in the contrast
TEMPERATURE = 0.15
ORIENTATIONS = 8
PART_CLASSES = sum(len(names) for names in PART_NAMES.values())


class Heads(nn.Module):
    """What is trained on top of the features and thrown away."""

    def __init__(self) -> None:
        super().__init__()
        both = CHANNELS["layer2"] + CHANNELS["layer3"]
        self.parts = nn.Sequential(nn.Conv2d(both, 128, 1), nn.GELU(), nn.Conv2d(128, PART_CLASSES, 1))
        self.look = nn.ModuleDict({k: nn.Conv2d(CHANNELS[k], ORIENTATIONS + 6, 1) for k in STRIDES})
        self.contrast = nn.ModuleDict({k: nn.Conv2d(CHANNELS[k], 64, 1) for k in STRIDES})


class Trunk(nn.Module):
    """The stages of the network that are used, called so that each one's output is at hand."""

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """Layer -> maps of a batch in [0, 1]."""
        m = self.model
        x = ((batch - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        x = m.maxpool(m.act1(m.bn1(m.conv1(x))))
        found = {}
        for layer in LAYERS:
            x = found[layer] = getattr(m, layer)(x)
        return found


def look(batch: Tensor, stride: int) -> Tensor:
    """Orientation histogram, mean colour and its deviation around every position, (n, 14, h, w).

    Args:
        batch: pictures in [0, 1].
        stride: distance of the positions; each looks at 3 × 3 of them.
    """
    grey = batch.mean(dim=1, keepdim=True)
    dy = F.pad(grey[:, :, 2:] - grey[:, :, :-2], (0, 0, 1, 1))
    dx = F.pad(grey[:, :, :, 2:] - grey[:, :, :, :-2], (1, 1, 0, 0))
    strength, angle = torch.hypot(dx, dy), torch.atan2(dy, dx) * 2  # light and dark may change places
    peaks = torch.arange(ORIENTATIONS) * (2 * torch.pi / ORIENTATIONS)
    tuned = strength * torch.relu(torch.cos(angle - peaks.view(1, -1, 1, 1))) ** 2
    mean, square = (_around(x, stride) for x in (batch, batch**2))
    histogram = _around(tuned, stride)
    histogram = histogram / (histogram.sum(dim=1, keepdim=True) + 0.02)
    deviation = (square - mean**2).clamp(min=0).sqrt()
    return torch.cat([histogram * 4, mean * 2, deviation * 6], dim=1)


def _around(maps: Tensor, stride: int) -> Tensor:
    return F.avg_pool2d(F.avg_pool2d(maps, stride), 3, stride=1, padding=1, count_include_pad=False)


def contrast(one: Tensor, other: Tensor, rng: np.random.Generator) -> Tensor:
    """InfoNCE between the same positions in two views, against all other sampled positions.

    Args:
        one, other: projected features (n, c, h, w), aligned.
        rng: draws the positions.
    """
    n, c, h, w = one.shape
    chosen = np.stack([rng.choice(h * w, min(POSITIONS, h * w), replace=False) for _ in range(n)])
    index = torch.from_numpy(chosen)[:, None].expand(-1, c, -1)
    a, b = (F.normalize(x.flatten(2).gather(2, index).transpose(1, 2).flatten(0, 1).float(), dim=1) for x in (one, other))
    logits = a @ b.T / TEMPERATURE
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class Source:
    """Draws the crops of a step; the same ones for the same seed and step."""

    def __init__(self, scenes: Mapping[str, Renders], pictures: np.ndarray, seed: int) -> None:
        self.scenes, self.pictures, self.seed = list(scenes.values()), pictures, seed
        first = np.cumsum([0] + [len(PART_NAMES[name]) for name in scenes])
        self.offsets = first[:-1]

    def crops(self, step: int) -> tuple[Tensor, Tensor, np.random.Generator]:
        """float32 (n, 3, s, s) in [0, 1], class of every pixel (n, s, s), and the step's generator."""
        rng = np.random.default_rng([self.seed, step])
        drawn = [self._scene(rng) for _ in range(BATCH - TEXTURES)]
        drawn += [self._texture(rng) for _ in range(TEXTURES)]
        images, labels = zip(*drawn, strict=True)
        return as_batch(list(images)), torch.from_numpy(np.stack(labels)).long(), rng

    def _scene(self, rng: np.random.Generator):
        k = rng.integers(len(self.scenes))
        scenes = self.scenes[k]
        i, window = rng.integers(len(scenes)), random_window(rng, 0.25, 1.0)
        image, parts = cut(scenes.images[i], scenes.parts[i], window, SIDE + SHIFT)
        return image, np.where(parts == IGNORED, IGNORED, parts + self.offsets[k])

    def _texture(self, rng: np.random.Generator):
        picture = self.pictures[rng.integers(len(self.pictures))]
        nothing = np.full(picture.shape[:2], IGNORED, np.uint8)
        image, labels = cut(picture, nothing, random_window(rng, 0.4, 0.95), SIDE + SHIFT)
        return image, labels.astype(np.int64)


def losses(trunk: Trunk, heads: Heads, source: Source, step: int) -> dict[str, Tensor]:
    """The three losses of a step, on two views of each crop."""
    crops, labels, rng = source.crops(step)
    dy, dx = (int(v) * 16 for v in rng.integers(0, SHIFT // 16 + 1, 2))
    moved = crops[:, :, dy : dy + SIDE, dx : dx + SIDE]
    still, labels = crops[:, :, :SIDE, :SIDE], labels[:, :SIDE, :SIDE]
    with torch.autocast("cpu", torch.bfloat16):
        found = trunk(torch.cat([relit(still, rng), relit(moved, rng)]))
        parts = heads.parts(_joined(found))
        views = {k: heads.contrast[k](found[k]).chunk(2) for k in STRIDES}
        looks = {k: heads.look[k](found[k]) for k in STRIDES}
    named = F.cross_entropy(parts.chunk(2)[0].float(), labels[:, 4::8, 4::8], ignore_index=IGNORED)
    seen = torch.cat([still, moved])
    return {
        "parts": named,
        "contrast": torch.stack([_shared(*views[k], dy, dx, k, rng) for k in STRIDES]).mean(),
        "look": torch.stack([F.smooth_l1_loss(looks[k].float(), look(seen, STRIDES[k])) for k in STRIDES]).mean(),
    }


def _joined(found: Mapping[str, Tensor]) -> Tensor:
    deep = F.interpolate(found["layer3"], scale_factor=2, mode="bilinear")
    return torch.cat([found["layer2"], deep], dim=1)


def _shared(still: Tensor, moved: Tensor, dy: int, dx: int, layer: str, rng: np.random.Generator) -> Tensor:
    """Contrast on the positions that both views show."""
    y, x = dy // STRIDES[layer], dx // STRIDES[layer]
    h, w = still.shape[-2] - y, still.shape[-1] - x
    return contrast(still[:, :, y:, x:], moved[:, :, :h, :w], rng)


WEIGHTS_OF_LOSSES = {"parts": 0.5, "contrast": 0.5, "look": 4.0}


def train(source: Source, plan: Plan, seed: int, state: Path | None) -> nn.Module:
    """The trained network, in evaluation mode."""
    torch.manual_seed(seed)
    model = timm.create_model(ARCHITECTURE, pretrained=False)
    trunk = Trunk(model, model.pretrained_cfg["mean"], model.pretrained_cfg["std"])
    heads = Heads()
    trunk.to(memory_format=torch.channels_last)
    modules: dict[str, nn.Module] = {"trunk": trunk, "heads": heads}
    parameters = [p for m in modules.values() for p in m.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=plan.peak, weight_decay=0.02)
    means = Means(say)
    for step in steps(plan, modules, optimiser, state):
        found = losses(trunk, heads, source, step)
        optimiser.zero_grad()
        torch.stack([WEIGHTS_OF_LOSSES[k] * v for k, v in found.items()]).sum().backward()
        optimiser.step()
        means.add(step, plan, found)
    return model.eval()


def used(model: nn.Module) -> dict[str, Tensor]:
    """The parameters up to the last trained layer."""
    unused = ("layer4.", "fc.")
    return {k: v for k, v in model.state_dict().items() if not k.startswith(unused)}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m methods.demo_weights.train.backbone", description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="folder (default: where demo weights lie)")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--scenes", type=int, default=140, help="per category")
    parser.add_argument("--textures", type=int, default=400)
    parser.add_argument("--images", type=Path, help="folder of natural pictures instead of the textures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn scenes")
    parser.add_argument("--state", type=Path, help="file that keeps the state of the training")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    scenes = renders(TRAIN, given.scenes, given.seed, given.workers, given.cache)
    say("drawing textures")
    pictures = photographs(given.images, 224) if given.images else textures(given.textures, 224, given.seed)
    plan = Plan(given.steps, 2e-3)
    model = train(Source(scenes, pictures, given.seed), plan, given.seed, given.state)
    ship("backbone", used(model), given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
