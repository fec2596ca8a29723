"""PromptAD: contexts of prompts learned on normal images, beside distances to their patches."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Asset, Card, Context, Demo, Resources, Scores
from methods.promptad import states as words
from methods.promptad.scoring import abnormality, harmonic
from methods.shared.maps import pixel_map
from methods.shared.openclip.distances import distance_rows
from methods.shared.openclip.features import readings
from methods.shared.openclip.possible import problems
from methods.shared.openclip.spec import ClipSpec, Precision
from methods.shared.openclip.spec import assets as model_assets
from methods.shared.pixels import Side, batches, square_input

if TYPE_CHECKING:
    from methods.promptad.training import Recipe

Blocks = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
Length = Annotated[int, Field(ge=1, le=32)]  # of 77 tokens, which are for the words too
Rows = NDArray[np.float32]
FULL = (400, 400)  # pixels at which the authors compare maps and take their largest value
CHUNK = 32


def _assets(params: Mapping[str, Any], category: str) -> tuple[Asset, ...]:
    """The weights, and the category's states in words where there is a file of them."""
    path = words.find(params["states"], category)
    texts = () if path is None else (Asset("states", words.read(path).sha256, str(path)),)
    return (*model_assets(params), *texts)


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the model has not; attention of the last block is not read apart."""
    found = problems(params, stages=("memory_blocks",))
    beyond = {**params, "memory_blocks": [block + 2 for block in params["memory_blocks"]]}
    if params["memory_tokens"] == "attention" and not found and problems(beyond, stages=("memory_blocks",)):
        last = max(params["memory_blocks"])
        found = [("memory_blocks", f"{last}: with `memory_tokens: attention` two blocks must follow")]
    return found


@final
@dataclass
class PromptAD:
    """Prompts for normal and abnormal objects, learned from k normal images, and two banks of patches.

    Args:
        context: seed of the first contexts, device, artifact store, scratch folder.
        model: an architecture of open_clip with a text transformer of its own.
        pretrained: tag of its weights in open_clip.
        weights: None for those, a path, or "demo".
        image_size: side in pixels to which images are resized.
        memory_blocks: 1-based numbers of the blocks whose patches are compared with the support images'.
        memory_tokens: "block" takes their outputs; "attention" adds what the attention of the next block
            adds to them, as happens (unnoticed) in the authors' code.
        states: what may be wrong, in words: None for those that come with Ladder, a file, a folder of files,
            or "demo" for those in the words of the demo model (README.md).
        maps: learn a second set of contexts on patches, for the text's part of the map; without it the map is
            that of the distances.
        normal_contexts, map_contexts: how many normal contexts are learned for images and for patches.
        normal_length: vectors in each, E_N.
        abnormal_contexts: how many abnormal suffixes are learned.
        abnormal_length: vectors in each, E_A.
        epochs: of the training images; the rate falls from one to the next, along half a cosine to
            `final_rate`.
        steps: of the optimiser instead, whatever the number of images.
        batch_size: images in a step; 400 take all of any few-shot support set.
        learning_rate, final_rate, momentum, weight_decay: of SGD.
        match_weight: λ of the term that holds learned and worded prompts together.
        scale: "raw" multiplies cosines by the model's stored logit scale, as the authors' code does (4.6 of
            most models); "exp" by its exponential, as the model was trained (100).
        map_smoothing: standard deviation of the Gaussian over the map, in pixels of 400.
        precision: of the network; all but float32 also store its outputs as float16.
    """

    card: ClassVar[Card] = Card(
        title="PromptAD",
        summary="Learned prompts for normal and abnormal objects, and distances to patches of normal images.",
        version=1,
        paper=Citation(
            "Li, Zhang, Tan, Chen, Qu, Xie, Ma",
            "PromptAD: Learning Prompts with only Normal Samples for Few-Shot Anomaly Detection",
            "CVPR 2024",
            "https://arxiv.org/abs/2404.05231",
        ),
        licence="Apache-2.0",
        weights_licence="MIT (ViT-B-16-plus-240, laion400m_e32)",
        trained=True,
        validation=False,
        uses=frozenset({"text", "rules per category"}),
        demo=Demo(
            {
                "image_size": 112,
                "memory_blocks": [1, 3],
                "states": "demo",
                "steps": 20,
                "learning_rate": 0.02,
                "normal_contexts": 1,
                "abnormal_contexts": 2,
            },
            "20 steps at ten times the rate and few contexts: it shows that it runs, not what it can",
            {"shots": [1, 4], "seeds": [0]},
        ),
        paths=frozenset({"weights", "states"}),
        assets=_assets,
        problems=_problems,
        sizes=square_input,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=240),
        seconds=120.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "weights": "demo",
        "image_size": 48,
        "memory_blocks": [1, 3],
        "steps": 2,
        "normal_contexts": 1,
        "abnormal_contexts": 1,
    }

    context: Context
    _: KW_ONLY
    model: str = "ViT-B-16-plus-240"
    pretrained: str | None = "laion400m_e32"
    weights: str | None = None
    image_size: Side = 240
    memory_blocks: Blocks = (3, 8)
    memory_tokens: Literal["block", "attention"] = "block"
    states: str | None = None
    maps: bool = True
    normal_contexts: PositiveInt = 3
    map_contexts: PositiveInt = 1
    normal_length: Length = 4
    abnormal_contexts: PositiveInt = 4
    abnormal_length: Length = 1
    epochs: PositiveInt = 100
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 400
    learning_rate: PositiveFloat = 0.002
    final_rate: NonNegativeFloat = 1e-5
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegativeFloat = 5e-4
    match_weight: NonNegativeFloat = 0.001
    scale: Literal["raw", "exp"] = "raw"
    map_smoothing: NonNegativeFloat = 4.0
    precision: Precision = "float32"
    support: ImageSet = field(init=False, repr=False)
    of_images: Rows = field(init=False, repr=False)
    of_patches: Rows | None = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Learn the contexts on the training images, or find them learned.

        Raises:
            ConfigError: unknown model, tag or block.
            DataError, WeightsError: see `states` and `methods.shared.openclip.features.readings`.
            HarnessError: a loss is not finite any more; names the step.
            NeedNotMet: there is no training image.
        """
        if not len(data.train):
            raise NeedNotMet("PromptAD needs at least one training image")
        from methods.promptad.training import prototypes

        self.support, where = data.train, (self._spec, self.context)
        self.of_images = prototypes(self._recipe(data, self.normal_contexts), data.train, "global", *where)
        self.of_patches = None
        if self.maps:
            self.of_patches = prototypes(self._recipe(data, self.map_contexts), data.train, "vv", *where)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Harmonic mean of the text's probability and of the largest distance to the support images.

        Returns:
            Scores with the parts "text" and "memory", and maps (n, 400, 400).

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
        """
        found = [self._scored(part) for part in batches(images, CHUNK)]
        text, memory, maps = (np.concatenate(each) for each in zip(*found, strict=True))
        return Scores(harmonic(text, memory), {"text": text, "memory": memory}, maps)

    def _scored(self, images: ImageSet) -> Sequence[NDArray[np.floating[Any]]]:
        spec, store, device = self._spec, self.context.artifacts, self.context.device
        found = readings(images, spec.reads or (), spec, store, device)  # of one pass
        text = abnormality(np.stack([each["global"] for each in found]), self.of_images, self._scale)
        distances = self._distances(images)
        memory = [pixel_map([each], FULL, 0).max() for each in distances]
        maps = [self._map(each.get("vv"), seen) for each, seen in zip(found, distances, strict=True)]
        return text, np.array(memory, np.float64), np.stack(maps)

    def _distances(self, images: ImageSet) -> Rows:
        """(1 - cosine) / 2 to the nearest patch of the support images, mean over blocks: (n, grid, grid)."""
        spec, grid = self._spec, self._spec.grid
        store, device = self.context.artifacts, self.context.device
        rows = [
            distance_rows(images, self.support, block, spec, store, device, grid).min(axis=1)
            for block in self._memories
        ]
        return np.mean(rows, axis=0).reshape(-1, grid, grid) / 2

    def _map(self, patches: NDArray[np.floating[Any]] | None, seen: Rows) -> NDArray[np.float32]:
        if patches is None or self.of_patches is None:
            return pixel_map([seen], FULL, self.map_smoothing)
        unit = patches.astype(np.float64) / np.linalg.norm(patches.astype(np.float64), axis=1, keepdims=True)
        text = abnormality(unit, self.of_patches, self._scale).reshape(seen.shape)
        return pixel_map([harmonic(text, seen)], FULL, self.map_smoothing)

    def _recipe(self, data: FitData, normals: int) -> "Recipe":
        from methods.promptad.contexts import Sizes
        from methods.promptad.training import Recipe

        name, states = words.texts(words.find(self.states, data.category), data.category)
        return Recipe(
            name=name,
            states=tuple(states),
            sizes=Sizes(self.normal_length, normals, self.abnormal_length, self.abnormal_contexts),
            epochs=self.epochs,
            steps=self.steps,
            batch_size=self.batch_size,
            rates=(self.learning_rate, self.final_rate),
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            match_weight=self.match_weight,
            scale=self.scale,
        )

    @cached_property
    def _scale(self) -> float:
        from methods.promptad.training import logit_scale
        from methods.shared.openclip.model import model_of

        return logit_scale(model_of(self._spec, self.context.device).model, self.scale)

    @property
    def _memories(self) -> Sequence[int | str]:
        """What the banks hold: readings of patches, by their names in `ClipModel.whole`."""
        blocks = sorted(set(self.memory_blocks))
        return [f"{block}+" for block in blocks] if self.memory_tokens == "attention" else blocks

    @cached_property
    def _spec(self) -> ClipSpec:
        return ClipSpec(
            model=self.model,
            pretrained=self.pretrained,
            weights=self.weights,
            size=self.image_size,
            precision=self.precision,
            stages=tuple(sorted(set(self.memory_blocks))),
            reads=("global", *self._memories, *(("vv",) if self.maps else ())),
        )
