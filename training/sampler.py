"""Batches of crops of rendered scenes and of textures, for the trainings of image networks."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from torch import Tensor

from training.crops import as_batch, cut, random_window, relit
from training.renders import Renders


class Drawn(NamedTuple):
    """What a step is shown.

    Attributes:
        side: of a crop in pixels.
        scenes, textures: how many crops of each.
        scene_window, texture_window: smallest and largest side of what is cut out, as parts of the picture's.
    """

    side: int
    scenes: int
    textures: int
    scene_window: tuple[float, float]
    texture_window: tuple[float, float]


class CropSampler:
    """Draws the crops of a step; the same ones for the same seed and step."""

    def __init__(self, scenes: Mapping[str, Renders], pictures: np.ndarray, seed: int, drawn: Drawn) -> None:
        self.scenes, self.pictures, self.seed, self.drawn = list(scenes.values()), pictures, seed, drawn

    def batch(self, step: int) -> tuple[Tensor, Generator]:
        """float32 (n, 3, side, side) in [0, 1], and the step's generator."""
        rng = np.random.default_rng([self.seed, step])
        crops = [self._scene(rng) for _ in range(self.drawn.scenes)]
        crops += [self._texture(rng) for _ in range(self.drawn.textures)]
        return relit(as_batch(crops), rng, 0.7), rng

    def _scene(self, rng: Generator) -> np.ndarray:
        scenes = self.scenes[rng.integers(len(self.scenes))]
        i = rng.integers(len(scenes))
        window = random_window(rng, *self.drawn.scene_window)
        return cut(scenes.images[i], scenes.parts[i], window, self.drawn.side)[0]

    def _texture(self, rng: Generator) -> np.ndarray:
        picture = self.pictures[rng.integers(len(self.pictures))]
        blank = np.zeros(picture.shape[:2], np.uint8)
        return cut(picture, blank, random_window(rng, *self.drawn.texture_window), self.drawn.side)[0]
