"""ComAD + PatchCore: both scores on the scale of normal images, added up.

The published rows say that both were used and not how they were added; see README.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Asset, Card, Demo, Read, Resources, Scores, Segmentation
from methods.comad import settings
from methods.comad.method import ComAD
from methods.comad.settings import Settings
from methods.shared.backbones import given
from methods.shared.norm_source import too_few, unmet
from methods.shared.patchcore.bank import Odd, PatchBank, Recipe
from methods.shared.pixels import Geometry, Side
from methods.shared.weights import assets

Params = Mapping[str, Any]
NormSource = Literal["auto", "validation", "support_loo", "none"]
PATCH_BACKBONE = "wide_resnet50_2.tv_in1k"
PATCH_LAYERS = ("layer2", "layer3")
FOLDS = 5  # up to so many training images, leaving one out
PREFIX, OWN = "patch_", "own"


def _patch(params: Params) -> dict[str, Any]:
    """PatchCore's hyper-parameters under the names that they have there."""
    own = {name.removeprefix(PREFIX): value for name, value in params.items() if name.startswith(PREFIX)}
    shared = {"precision": params["precision"], "mean": None, "std": None}
    weights = params["weights"] if own["weights"] is None else own["weights"]
    return own | shared | {"weights": None if weights == OWN else weights}


def _assets(params: Params, category: str) -> tuple[Asset, ...]:
    return assets(params, category) + assets(_patch(params), category)


def _problems(params: Params) -> list[tuple[str, str]]:
    theirs = given.problems(_patch(params), (PATCH_BACKBONE, PATCH_LAYERS))
    return settings.problems(params) + [(PREFIX + name, text) for name, text in theirs]


def _sizes(params: Params, native: given.Native) -> Sequence[Geometry]:
    return [*given.sizes(params, native), *given.sizes(_patch(params), native)]


def _reads(params: Params, native: given.Native) -> Sequence[Read]:
    return [*given.reads(params, native), *given.reads(_patch(params), native)]


@final
@dataclass(frozen=True, eq=False)
class Both:
    """ComAD and PatchCore, fitted to the same images."""

    comad: ComAD
    patchcore: PatchBank

    def scores(self, images: ImageSet) -> NDArray[np.float64]:
        """(2, n)."""
        return np.stack([self.comad.score(images).image, self.patchcore.score(images).image])


@final
@dataclass
class ComADPatchCore(Settings):
    """ComAD for what is logical, PatchCore for what is structural.

    Args:
        norm_source: whose scores put both on one scale (mean 0, standard deviation 1) before they are added:
            "validation" images, training images that were left out in turn ("support_loo"; one at a time, of
            more than five a fifth), whichever there are ("auto"; of one training image alone no scale is
            known), or nobody's ("none").
        patch_backbone, patch_layers, patch_image_size: of PatchCore, see there.
        patch_weights: None for what `weights` says, "own" for the library's own, a path, or "demo".
        patch_crop, patch_neighbourhood, patch_dimension: likewise.
        patch_coreset_ratio, patch_coreset_above, patch_num_neighbours, patch_map_smoothing: likewise.
    """

    card: ClassVar[Card] = Card(
        title="ComAD + PatchCore",
        summary="ComAD's score and PatchCore's, each on the scale of normal images, added up.",
        version=1,
        paper=ComAD.card.paper,
        further=(
            (
                "The second score",
                Citation(
                    "Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler",
                    "Towards Total Recall in Industrial Anomaly Detection",
                    "CVPR 2022",
                    "https://arxiv.org/abs/2106.08265",
                ),
            ),
        ),
        licence="Apache-2.0",
        weights_licence=f"{ComAD.card.weights_licence}, BSD-3-Clause (wide_resnet50_2.tv_in1k)",
        trained=False,
        demo=Demo(
            {"image_size": 112, "coreset_ratio": 0.04, "patch_image_size": 128},
            "small pictures; demo networks take the place of DINO and wide_resnet50_2",
            {"shots": [4], "seeds": [0]},
        ),
        paths=frozenset({"weights", "patch_weights"}),
        assets=_assets,
        unmet=unmet,
        problems=_problems,
        sizes=_sizes,
        reads=_reads,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=240),
        seconds=120,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        **ComAD.check_params,
        "crf_iterations": 0,
        "patch_backbone": "test_resnet",
        "patch_image_size": 64,
        "norm_source": "validation",
    }

    _: KW_ONLY
    norm_source: NormSource = "auto"
    patch_backbone: str = PATCH_BACKBONE
    patch_layers: given.Layers = PATCH_LAYERS
    patch_weights: str | None = None
    patch_image_size: Side = 256
    patch_crop: PositiveInt | None = None
    patch_neighbourhood: Odd = 3
    patch_dimension: PositiveInt | None = None
    patch_coreset_ratio: Annotated[float, Field(gt=0, le=1)] = 0.1
    patch_coreset_above: NonNegativeInt = 4
    patch_num_neighbours: PositiveInt = 9
    patch_map_smoothing: NonNegativeFloat = 4.0
    both: Both = field(init=False, repr=False)
    centre: NDArray[np.float64] = field(init=False, repr=False)
    spread: NDArray[np.float64] = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Fit both, and find what normal images score.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: no training image, or too few images for `norm_source`.
        """
        if not len(data.train):
            raise NeedNotMet("ComAD + PatchCore needs at least one training image")
        if reason := too_few(self.norm_source, len(data.train), len(data.validation)):
            raise NeedNotMet(reason)
        self.both = self._fitted(data.train)
        normal = self._normal(data)
        self.centre = normal.mean(axis=1) if normal.size else np.zeros(2)
        spread = normal.std(axis=1) if normal.size else np.ones(2)
        # equal scores of all normal images say nothing of a scale
        self.spread = np.where(spread > 0, spread, 1.0)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Both on one scale, added up.

        Returns:
            Scores with the parts "comad" and "patchcore", as these are; maps are PatchCore's.
        """
        patches = self.both.patchcore.score(images)
        parts = {"comad": self.both.comad.score(images).image, "patchcore": patches.image}
        scaled = [(each - self.centre[i]) / self.spread[i] for i, each in enumerate(parts.values())]
        return Scores(scaled[0] + scaled[1], parts, patches.maps)

    def segment(self, images: ImageSet) -> Segmentation:
        """ComAD's components."""
        return self.both.comad.segment(images)

    def _normal(self, data: FitData) -> NDArray[np.float64]:
        """Both scores of normal images that neither was fitted to, (2, n); empty where there are none."""
        wanted, n = self.norm_source, len(data.train)
        if wanted == "validation" or (wanted == "auto" and len(data.validation)):
            return self.both.scores(data.validation)
        if wanted == "none" or n < 2:
            return np.empty((2, 0))
        return np.concatenate([self._left_out(data.train, own) for own in _folds(data.train)], axis=1)

    def _left_out(self, train: ImageSet, own: Sequence[int]) -> NDArray[np.float64]:
        others = [i for i in range(len(train)) if i not in own]
        return self._fitted(train.subset(others)).scores(train.subset(own))

    def _fitted(self, train: ImageSet) -> Both:
        own = {f.name: getattr(self, f.name) for f in fields(Settings)}
        return Both(ComAD(**own).fit(FitData(train)), PatchBank.of(train, self._recipe, self.context))

    @property
    def _recipe(self) -> Recipe:
        theirs = _patch(vars(self))
        names_of = (f.name for f in fields(Recipe) if f.name != "spec")
        return Recipe(spec=given.spec(theirs), **{name: theirs[name] for name in names_of})


def _folds(train: ImageSet) -> Iterator[list[int]]:
    """Which images are left out together; by their content, so that the order of a support set is all one."""
    keys = train.keys()
    order = sorted(range(len(keys)), key=keys.__getitem__)
    for fold in range(min(len(order), FOLDS)):
        yield order[fold::FOLDS]
