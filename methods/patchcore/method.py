"""PatchCore: distance to the nearest of the normal patches that a memory bank holds."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Self, final

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Demo, Resources, Scores
from methods.shared.backbones import given
from methods.shared.patchcore.bank import Odd, PatchBank, Recipe
from methods.shared.pixels import Side
from methods.shared.weights import assets


def _ignores(params: Mapping[str, Any]) -> frozenset[str]:
    """Only the coreset is random; without one, all run seeds give the same numbers."""
    return frozenset({"run_seed"}) if params["coreset_ratio"] == 1 else frozenset()


BACKBONE = "wide_resnet50_2.tv_in1k"
LAYERS = ("layer2", "layer3")


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return given.problems(params, (BACKBONE, LAYERS))


@final
@dataclass
class PatchCore(given.Cropped):
    """Memory bank of normal patch features, searched for the nearest neighbour of every patch.

    Args:
        context: run seed (of the coreset), device, artifact store.
        crop: side of the centre that is looked at, None for all. The paper crops 256 to 224; on
            LOCO that would cut off parts.
        neighbourhood: p, side of the patches that are aggregated, in steps of the feature map.
        dimension: None concatenates the layers; 1024 is the authors' adaptive pooling.
        coreset_ratio: l / |M|, the part of the patches that the bank keeps; 1 keeps all.
        coreset_above: with at most so many training images the bank keeps all patches.
        num_neighbours: b of Eq. 7; 1 switches the re-weighting off.
        map_smoothing: standard deviation of the Gaussian over the map, in pixels of the network's
            input.
    """

    card: ClassVar[Card] = Card(
        title="PatchCore",
        summary="Distance of patch features to a coreset of the normal ones.",
        version=1,
        paper=Citation(
            "Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler",
            "Towards Total Recall in Industrial Anomaly Detection",
            "CVPR 2022",
            "https://arxiv.org/abs/2106.08265",
        ),
        licence="Apache-2.0",
        weights_licence="BSD-3-Clause (wide_resnet50_2.tv_in1k)",
        trained=False,
        validation=False,
        demo=Demo({"image_size": 128}, "the small demo backbone takes the place of wide_resnet50_2"),
        paths=frozenset({"weights"}),
        assets=assets,
        ignores=_ignores,
        problems=_problems,
        sizes=given.sizes,
        reads=given.reads,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
        seconds=60.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "backbone": "test_resnet",
        "layers": ("layer2", "layer3"),
        "image_size": 64,
        "coreset_ratio": 0.5,
        "coreset_above": 1,
    }

    _: KW_ONLY
    backbone: str = BACKBONE
    layers: given.Layers = LAYERS
    image_size: Side = 256
    neighbourhood: Odd = 3
    dimension: PositiveInt | None = None
    coreset_ratio: Annotated[float, Field(gt=0, le=1)] = 0.1
    coreset_above: NonNegativeInt = 4
    num_neighbours: PositiveInt = 9
    map_smoothing: NonNegativeFloat = 4.0
    bank: PatchBank = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Fill the memory bank with the patches of the training images, or with a coreset of them.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.backbones.features.features`.
            NeedNotMet: there is no training image.
        """
        if not len(data.train):
            raise NeedNotMet("PatchCore needs at least one training image")
        self.bank = PatchBank.of(data.train, self._recipe, self.context)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Re-weighted distance of the farthest patch (Eq. 6, 7), and the distances of all patches.

        Returns:
            Scores with the part "unweighted" (Eq. 6 alone) and maps at the resolution of the
            patches, smoothed, (n, height, width).
        """
        return self.bank.score(images)

    @property
    def _recipe(self) -> Recipe:
        how = self.neighbourhood, self.dimension, self.coreset_ratio, self.coreset_above, self.num_neighbours
        return Recipe(given.spec(vars(self)), *how, self.map_smoothing)
