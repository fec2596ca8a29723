"""WinCLIP: CLIP on windows of patches, against texts of damage and against k normal images."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import ConfigError, NeedNotMet
from harness.method import Asset, Card, Context, Demo, Resources, Scores
from methods.shared.openclip.features import global_embeddings
from methods.shared.openclip.possible import problems
from methods.shared.openclip.prompts import abnormality, class_name, normal_and_abnormal
from methods.shared.openclip.spec import ClipSpec, Precision
from methods.shared.openclip.spec import assets as model_assets
from methods.shared.openclip.text import text_embeddings
from methods.shared.pixels import Side, batches, square_input
from methods.winclip.states import find, read
from methods.winclip.windows import (
    harmonic,
    patch_distances,
    patch_reading,
    window_distances,
    window_embeddings,
)

Maps = NDArray[np.float64]
Scales = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
CHUNK = 32


def _assets(params: Mapping[str, Any], category: str) -> tuple[Asset, ...]:
    """The weights, and the category's texts where they are not WinCLIP's own."""
    path = find(params["prompts"], category)
    texts = () if path is None else (Asset("prompts", read(path).sha256, str(path)),)
    return (*model_assets(params), *texts)


def _ignores(params: Mapping[str, Any]) -> frozenset[str]:
    """Nothing is random, and zero-shot scoring needs no support image."""
    if params["mode"] == "zero_shot":
        return frozenset({"shots", "split_seed", "run_seed"})
    return frozenset({"run_seed"})


@final
@dataclass
class WinClip:
    """Windows of CLIP against prompts for flawless and damaged objects and against support images.

    Args:
        context: artifact store and device; nothing is random.
        mode: "few_shot" is WinCLIP+; "zero_shot" looks at texts alone.
        model: an architecture of open_clip (`methods.shared.openclip.spec`).
        pretrained: tag of its weights in open_clip.
        weights: None for those, a path, or "demo".
        image_size: side in pixels to which images are resized.
        scales: sides of the windows, in patches.
        patch_layer: which tokens stand for single patches (`windows.patch_distances`).
        temperature: τ of Eq. 1.
        prompts: None for the paper's states of an object, or a file, or a folder of files, of texts of one's
            own; "demo" for those in the words of the demo model (README.md).
        precision: of the network; all but float32 also store windows as float16.
    """

    card: ClassVar[Card] = Card(
        title="WinCLIP",
        summary="Windows of CLIP against texts of damage and against those of k normal images.",
        version=1,
        paper=Citation(
            "Jeong, Zou, Kim, Zhang, Ravichandran, Dabeer",
            "WinCLIP: Zero-/Few-Shot Anomaly Classification and Segmentation",
            "CVPR 2023",
            "https://arxiv.org/abs/2303.14814",
        ),
        licence="Apache-2.0",
        weights_licence="MIT (ViT-B-16-plus-240, laion400m_e31)",
        trained=False,
        validation=False,
        uses=frozenset({"text"}),
        demo=Demo(
            {"image_size": 112, "prompts": "demo"},
            "14 x 14 patches, about as many as the paper's 15 x 15; texts in words that the demo model knows",
            {"shots": [1, 4]},
        ),
        paths=frozenset({"weights", "prompts"}),
        assets=_assets,
        ignores=_ignores,
        problems=lambda params: problems(params, scales="scales"),
        sizes=square_input,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
        seconds=45.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 48}

    context: Context
    _: KW_ONLY
    mode: Literal["few_shot", "zero_shot"] = "few_shot"
    model: str = "ViT-B-16-plus-240"
    pretrained: str | None = "laion400m_e31"
    weights: str | None = None
    image_size: Side = 240
    scales: Scales = (2, 3)
    patch_layer: Literal["last", "penultimate"] = "last"
    temperature: PositiveFloat = 0.07
    prompts: str | None = None
    precision: Precision = "float32"
    support: ImageSet = field(init=False, repr=False)
    texts: NDArray[np.float32] = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Embed the category's prompts; support images are embedded when a query asks for them.

        Raises:
            ConfigError: unknown model or tag, or a window larger than the image.
            DataError, WeightsError: see `states` and `methods.shared.openclip.features.readings`.
            NeedNotMet: there is no training image to compare with.
        """
        if self.mode == "few_shot" and not len(data.train):
            raise NeedNotMet("WinCLIP in few_shot mode needs at least one training image")
        if max(self.scales) > self._spec.grid:
            raise ConfigError(
                f"scales {list(self.scales)}: the image has {self._spec.grid} patches along a side"
            )
        self.support = data.train
        self.texts = self._texts(data.category)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Zero-shot: the text score; few-shot: its mean with the largest value of the association map.

        Returns:
            Scores with the parts "text" and (few-shot) "association", and maps (n, grid, grid): the
            zero-shot map, or its mean with the association map.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
        """
        found = [self._scored(part) for part in batches(images, CHUNK)]
        parts = {name: np.concatenate([p[name] for p, _ in found]) for name in found[0][0]}
        maps = np.concatenate([m for _, m in found])
        return Scores(np.mean(list(parts.values()), axis=0), parts, maps.astype(np.float32))

    def _texts(self, category: str) -> NDArray[np.float32]:
        """Embeddings of "flawless" and of "damaged", (2, d)."""
        where = (self._spec, self.context.artifacts, self.context.device)
        path = find(self.prompts, category)
        if path is None:
            return normal_and_abnormal(class_name(category), *where)
        states = read(path)
        return text_embeddings([states.normal, states.abnormal], states.templates, *where)

    def _scored(self, images: ImageSet) -> tuple[dict[str, NDArray[np.float64]], Maps]:
        where = (self._spec, self.context.artifacts, self.context.device)
        text = abnormality(global_embeddings(images, *where), self.texts, self.temperature)
        zero_shot = self._text_map(images, text)
        if self.mode == "zero_shot":
            return {"text": text}, zero_shot
        few_shot = self._association_map(images)
        return {"text": text, "association": few_shot.max(axis=(1, 2))}, (zero_shot + few_shot) / 2

    def _text_map(self, images: ImageSet, text: NDArray[np.float64]) -> Maps:
        """Harmonic mean over the windows around a patch, then over the scales and the whole image."""
        grid = self._spec.grid
        scales = [np.broadcast_to(text[:, None, None], (len(text), grid, grid))]
        for side in self.scales:
            found = window_embeddings(images, side, self._spec, self.context.artifacts, self.context.device)
            values = abnormality(np.array(found, np.float32), self.texts, self.temperature)
            scales.append(harmonic(values, grid, side))
        return 1 / np.mean([1 / each for each in scales], axis=0)

    def _association_map(self, images: ImageSet) -> Maps:
        """Mean over patches and scales of (1 - largest cosine to the support images) / 2 (Eq. 4)."""
        where = (self._spec, self.context.artifacts, self.context.device)
        grid = self._spec.grid
        patches = patch_distances(images, self.support, self.patch_layer, *where).min(axis=1) / 2
        maps = [patches.reshape(-1, grid, grid).astype(np.float64)]
        for side in self.scales:
            found = window_distances(images, self.support, side, *where).min(axis=1) / 2
            maps.append(harmonic(found, grid, side))
        return np.mean(maps, axis=0)

    @cached_property
    def _spec(self) -> ClipSpec:
        spec = ClipSpec(
            model=self.model,
            pretrained=self.pretrained,
            weights=self.weights,
            size=self.image_size,
            precision=self.precision,
        )
        patches = () if self.mode == "zero_shot" else (patch_reading(self.patch_layer, spec),)
        return replace(spec, reads=("global", *patches))
