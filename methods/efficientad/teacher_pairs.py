"""What a distilled teacher learns from: pictures, and what the large network makes of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.artifacts import ArtifactStore
from harness.data import ImageSet
from methods.efficientad.teacher_files import TeacherSpec
from methods.shared.backbones.features import FeatureSpec, features
from methods.shared.backbones.frozen import GPU_BATCH, Backbone, load
from methods.shared.pixels import RGB, Geometry, resized
from methods.shared.training.distillation import Moments, Pair, Size, join, on_grid

LAYER_CHANNELS = 1024  # PatchCore averages every layer to so many before it joins them
GREY = 0.1  # part of the images drawn
CALIBRATION = 10_000  # images, at most, for mean and deviation of the target
CHUNK = 16  # of them whose features are held in memory together
Say = Callable[[str], None]


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
