"""CLIP: one embedding per image, compared with those of support images, with texts, or with both."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Resources, Scores
from methods.shared.openclip.features import global_embeddings
from methods.shared.openclip.possible import problems
from methods.shared.openclip.prompts import abnormality, class_name, normal_and_abnormal
from methods.shared.openclip.spec import ClipSpec, Precision, assets
from methods.shared.pixels import Side, square_input

Embeddings = NDArray[np.float32]


def _ignores(params: Mapping[str, Any]) -> frozenset[str]:
    """Nothing is random, and texts alone need no support image."""
    if params["clip_mode"] == "text":
        return frozenset({"shots", "split_seed", "run_seed"})
    return frozenset({"run_seed"})


@final
@dataclass
class Clip:
    """Cosine distance of the global embedding to the nearest support image, and texts of damage.

    Args:
        context: artifact store and device; nothing is random.
        clip_mode: "visual" compares with the support images, "text" with prompts for flawless and
            damaged objects, "text+visual" takes the mean of the two, each in [0, 1].
        model: an architecture of open_clip (`methods.shared.openclip.spec`).
        pretrained: tag of its weights in open_clip.
        weights: None for those, a path, or "demo".
        image_size: side in pixels to which images are resized.
        precision: of the network.
        pos_embed: how position embeddings are resized.
        temperature: of the softmax over texts.
    """

    card: ClassVar[Card] = Card(
        title="CLIP",
        summary="Global embedding against those of k normal images, or against texts of damage.",
        version=1,
        paper=Citation(
            "Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger, Sutskever",
            "Learning Transferable Visual Models From Natural Language Supervision",
            "ICML 2021",
            "https://arxiv.org/abs/2103.00020",
        ),
        licence="Apache-2.0",
        weights_licence="MIT (ViT-L-14, datacomp_xl_s13b_b90k)",
        trained=False,
        validation=False,
        uses=frozenset({"text"}),
        demo=Demo({"image_size": 224}, "shares clip_lad's passes"),
        paths=frozenset({"weights"}),
        assets=assets,
        ignores=_ignores,
        problems=lambda params: problems(params),
        sizes=square_input,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
        seconds=30.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 64}

    context: Context
    _: KW_ONLY
    clip_mode: Literal["visual", "text", "text+visual"] = "visual"
    model: str = "ViT-L-14"
    pretrained: str | None = "datacomp_xl_s13b_b90k"
    weights: str | None = None
    image_size: Side = 448
    precision: Precision = "float32"
    pos_embed: Literal["openclip", "naclip"] = "openclip"
    temperature: PositiveFloat = 0.07
    support: Embeddings = field(init=False, repr=False)
    texts: Embeddings = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Take the embeddings of the support images and of the category's prompts, as far as needed.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
            NeedNotMet: there is no training image to compare with.
        """
        spec, store, device = self._spec, self.context.artifacts, self.context.device
        if self._visual and not len(data.train):
            raise NeedNotMet(f"CLIP with clip_mode {self.clip_mode!r} needs at least one training image")
        if self._visual:
            self.support = self._embedded(data.train)
        if self._textual:
            self.texts = normal_and_abnormal(class_name(data.category), spec, store, device)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Scores with the parts "visual" (1 - largest cosine) and "text" (probability), as far as used."""
        embeddings = self._embedded(images)
        parts: dict[str, NDArray[np.float64]] = {}
        if self._visual:
            parts["visual"] = 1 - (embeddings.astype(np.float64) @ self.support.T).max(axis=1)
        if self._textual:
            parts["text"] = abnormality(embeddings, self.texts, self.temperature)
        return Scores(self._image_scores(parts), parts)

    def _image_scores(self, parts: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        if self.clip_mode != "text+visual":
            return parts[self.clip_mode]
        return (parts["text"] + parts["visual"] / 2) / 2

    def _embedded(self, images: ImageSet) -> Embeddings:
        return global_embeddings(images, self._spec, self.context.artifacts, self.context.device)

    @property
    def _visual(self) -> bool:
        return self.clip_mode != "text"

    @property
    def _textual(self) -> bool:
        return self.clip_mode != "visual"

    @cached_property
    def _spec(self) -> ClipSpec:
        return ClipSpec(
            model=self.model,
            pretrained=self.pretrained,
            weights=self.weights,
            size=self.image_size,
            precision=self.precision,
            pos_embed=self.pos_embed,
            reads=("global",),
        )
