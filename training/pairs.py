"""The pictures and texts of one training step of the image–text model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from harness.datasets.demo import PART_NAMES
from training.captions import Statement, statements
from training.crops import IGNORED, Window, around, cut, random_window
from training.renders import Renders
from training.words import NAMES, worded

RGB = NDArray[np.uint8]
Generator = np.random.Generator
SHOWN_ALONE: dict[str, tuple[int, ...]] = {
    "breakfast_box": (2, 3, 4, 5, 6),
    "juice_bottle": (5, 6, 7, 8, 9),
    "pushpins": (3,),
    "screw_bag": (2, 3, 4, 5),
    "splicing_connectors": (1, 3, 4, 5),
}
LEAST = 40  # pixels of a part that is shown alone
FAVOURED, FAVOUR = "screw_bag", 0.4  # its small metal parts look most alike, so it is drawn most often
CROPS = (0.28, 0.8)  # of a scene's width; 0.57 has the scale of a whole scene at the model's own size
AT_A_PART = 0.75  # of the crops are centred near a random part, however small it is
WHOLE = Window(0.5, 0.5, 1, 1)


@dataclass(frozen=True)
class Picture:
    """A training picture.

    Attributes:
        pixels: (side, side, 3) uint8.
        parts: (side, side) part indices, `IGNORED` outside of the scene.
        category: its category.
        facts: what is true of it as a whole; empty for a mere crop.
        whole: whether it shows the whole scene, so that positions mean what they mean at inference.
    """

    pixels: RGB
    parts: NDArray[np.uint8]
    category: str
    facts: frozenset[str]
    whole: bool


def fact_of(category: str, part: int) -> str:
    """The fact that a part, and nothing else, is shown."""
    return f"{category}: {PART_NAMES[category][part]}"


class SceneSampler:
    """Draws pictures from rendered scenes."""

    def __init__(self, scenes: Mapping[str, Renders], textures: NDArray[np.uint8]) -> None:
        self.scenes, self.textures = list(scenes.values()), textures

    def _any(self, rng: Generator) -> tuple[Renders, int]:
        scenes = self.scenes[rng.integers(len(self.scenes))]
        if rng.random() < FAVOUR:
            scenes = next((s for s in self.scenes if s.category == FAVOURED), scenes)
        return scenes, int(rng.integers(len(scenes)))

    def crop(self, rng: Generator, side: int) -> Picture:
        """A piece of a scene, for the dense loss only."""
        scenes, i = self._any(rng)
        window = random_window(rng, *CROPS, upright=scenes.category == "juice_bottle")
        if rng.random() < AT_A_PART:
            window = at_a_part(scenes.parts[i], rng, window)
        pixels, parts = cut(scenes.images[i], scenes.parts[i], window, side)
        return Picture(pixels, parts, scenes.category, frozenset(), False)

    def scene(self, rng: Generator, side: int) -> Picture:
        """A whole scene with what can be said of it, slightly moved."""
        scenes, i = self._any(rng)
        size, shift = 1 + rng.uniform(-0.06, 0.03), rng.normal(0, 0.015, 2)
        window = Window(0.5 + shift[0], 0.5 + shift[1], size, size, rng.normal(0, 0.02), rng.random() < 0.5)
        return whole(scenes, i, side, window)

    def part(self, rng: Generator, side: int) -> Picture:
        """A part alone in the middle, sometimes on another background."""
        while True:
            scenes, i = self._any(rng)
            found = part_alone(scenes, i, rng, side)
            if found is not None:
                return self._on_texture(rng, found) if rng.random() < 0.3 else found

    def _on_texture(self, rng: Generator, picture: Picture) -> Picture:
        shown = next(
            p
            for p, n in enumerate(PART_NAMES[picture.category])
            if picture.facts == {f"{picture.category}: {n}"}
        )
        side = len(picture.pixels)
        texture = self.textures[rng.integers(len(self.textures))]
        behind, _ = cut(texture, np.zeros(texture.shape[:2], np.uint8), random_window(rng, 0.4, 0.9), side)
        inside = picture.parts == shown
        pixels = np.where(inside[..., None], picture.pixels, behind)
        return Picture(
            pixels, np.where(inside, picture.parts, IGNORED), picture.category, picture.facts, False
        )


def whole(scenes: Renders, index: int, side: int, window: Window = WHOLE) -> Picture:
    """A whole scene, squeezed to a square, with all its facts."""
    pixels, parts = cut(scenes.images[index], scenes.parts[index], window, side)
    told = statements(scenes.category, scenes.subtypes[index], scenes.defects[index])
    return Picture(pixels, parts, scenes.category, told[-1].facts, True)


def at_a_part(parts: NDArray[np.uint8], rng: Generator, window: Window) -> Window:
    """The window moved near a random pixel of a random part; it leaves the scene by a little at most."""
    shown = rng.choice(np.flatnonzero(np.bincount(parts.ravel())))
    at = np.flatnonzero(parts.ravel() == shown)
    y, x = divmod(int(at[rng.integers(len(at))]), parts.shape[1])
    centre = (x / parts.shape[1], y / parts.shape[0])
    sides = (window.width, window.height)
    moved = [c + rng.normal(0, 0.15) * side for c, side in zip(centre, sides, strict=True)]
    x, y = (float(np.clip(m, s / 2 - 0.05, 1.05 - s / 2)) for m, s in zip(moved, sides, strict=True))
    return replace(window, x=x, y=y)


def part_alone(
    scenes: Renders, index: int, rng: Generator, side: int, part: int | None = None
) -> Picture | None:
    """A crop around one connected piece of a part; None where the scene has none that is large enough."""
    parts = scenes.parts[index]
    there = [p for p in SHOWN_ALONE[scenes.category] if (part in (None, p)) and (parts == p).sum() >= LEAST]
    if not there:
        return None
    shown = int(there[rng.integers(len(there))])
    pieces: NDArray[Any] = np.asarray(label(parts == shown)[0])  # pyright: ignore[reportIndexIssue]
    sizes = np.bincount(pieces.ravel())[1:]
    large = np.flatnonzero(sizes >= LEAST) + 1
    if not len(large):
        return None
    piece = pieces == large[rng.integers(len(large))]
    pixels, labels = cut(scenes.images[index], parts, around(piece, rng), side)
    return Picture(pixels, labels, scenes.category, frozenset([fact_of(scenes.category, shown)]), False)


def texts(rng: Generator, pictures: Sequence[Picture]) -> list[Statement]:
    """Statements to choose among: about every part that is ever shown alone, and about the scenes."""
    alone = [
        Statement(frozenset([fact_of(category, part)]), worded(rng, NAMES[category][part]))
        for category, parts in SHOWN_ALONE.items()
        for part in parts
    ]
    told = {s for picture in pictures if picture.whole for s in _true_of(picture)}
    return alone + sorted(told, key=lambda s: s.text)


def _true_of(picture: Picture) -> list[Statement]:
    return [s for s in ALL_STATEMENTS[picture.category] if s.facts <= picture.facts]


def _all_statements(category: str) -> list[Statement]:
    from harness.datasets.demo import CATEGORIES

    known = CATEGORIES[category]
    defects = ["", *(d.name for d in known.defects)]
    told = (statements(category, s, d) for s in known.subtypes or ("",) for d in defects)
    return sorted({s for several in told for s in several}, key=lambda s: s.text)


ALL_STATEMENTS = {category: _all_statements(category) for category in NAMES}
