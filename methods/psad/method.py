"""PSAD: parts segmented from a few labels, three memory banks, adaptive scaling."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, final

import numpy as np
from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Demo, Resources, Scores, Segmentation
from harness.views import View
from methods.psad import labelling, sources
from methods.psad.banks import ClassMean, Distance, PatchScore
from methods.psad.canvas import Canvas, Frame
from methods.psad.scaling import AdaptiveScaling, Scale
from methods.psad.scaling import Reference as ScaleReference
from methods.psad.vectors import FlatDims
from methods.shared.backbones import names
from methods.shared.backbones.features import FeatureSpec
from methods.shared.pixels import Geometry, Side, batches
from methods.shared.training.precision import used

BACKBONE = "wide_resnet101_2.tv_in1k"
LAYERS = ("layer1", "layer2", "layer3")
PATCH_LAYERS = ("layer2", "layer3")
NEIGHBOURHOOD = 3  # features are averaged over so many by so many
WIDER = 5  # as the released code does for the composition
SHOWN = 32  # images explained at a time
Spec = TypeVar("Spec")


def _banks(value: str) -> str:
    if not value or value != "".join(b for b in "hcp" if b in value):
        raise ValueError("must be letters of hcp, in this order")
    return value


Three = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Layers = Annotated[tuple[str, ...], Field(min_length=1)]

_DEMO = {
    "labels": "demo",
    "image_size": 96,
    "patch_size": 96,
    "warm_up_epochs": 5,
    "epochs": 1,
    "epoch_steps": 5,
    "batch_size": 2,
    "learning_rate": 0.004,
}


def _sizes(params: Mapping[str, Any], native: tuple[int, int]) -> Sequence[Geometry]:
    """Of the segmenter, and of the patch bank if there is one; a square canvas is made of whole images."""
    if params["canvas"] == "square":
        return ()
    patches = [Geometry.square(params["patch_size"])] if "p" in params["banks"] else []
    return (Geometry.longer(params["image_size"], native), *patches)


# came after version 2; at these values all is as it was
_LATER = {
    "segmentation": "own",
    "segments_dir": None,
    "repri_steps": 50,
    "repri_update": 10,
    "repri_temperature": 20.0,
    "repri_rate": 0.025,
    "seggpt_weights": "BAAI/seggpt-vit-large",
    "co_parts": 10,
}


def _problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    defaults = {f.name: f.default for f in fields(PSAD) if f.name in params}
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in defaults.items()}
    found = names.problems(params, (BACKBONE, LAYERS, PATCH_LAYERS), ("layers", "patch_layers"))
    return [*sources.unused(params, plain), *found]


@final
@dataclass
class PSAD:
    """Segments parts by a network learnt from a few labels; normal is what has normal parts.

    Args:
        context: run seed (of the segmenter), device, artifact store, scratch folder.
        backbone: encoder of the segmenter and frozen h_ψ, two copies (`methods.shared.weights`).
        weights: None for the library's own, a path, or "demo".
        layers: three blocks of it, the finest first.
        image_size: longer side of the segmenter's input in pixels; the aspect ratio is kept.
        canvas: "native" is no larger than the image, and turned labelled images get as much room as their
            parts need; "square" is padded with black to a square, for all networks (released code).
        screw_bag_border: pixels cut off every side of the images of screw_bag (released code: 150).
        precision: of the frozen network; bfloat16 and float16 also store features as float16. With auto its
            features are float32, and the convolutions of the segmenter's training TF32 on a card that has it;
            the row tells what it came to (`precision_used`).
        labels: whose part labels they are (a word, "dataset", "ours", "clip", or the tool of `segments_dir`);
            part of the name in tables.
        segmentation: where parts come from (Table 2): the paper's few-shot segmenter ("own"), label maps of
            any tool ("folder"), RePRI, SegGPT, or co-parts by K-means without labels, a stand-in. What the
            chosen one does not read has to be left out.
        segments_dir: label maps of all images (`harness.data.segments`); of "folder".
        repri_steps, repri_rate: steps of gradient descent and their rate, for each image; of "repri".
        repri_update: step before which the proportions are taken anew.
        repri_temperature: τ of the cosines.
        seggpt_weights: a folder, or a name on the hub; of "seggpt".
        co_parts: number of parts; of "kmeans".
        labels_dir: folder of labels (`harness.data.labels`); None for the data set's own part masks.
        n_labelled: N_L; None for 5, or one per product type. Where more training images have labels, the
            medoids in GAP features are taken.
        n_types: product types in a category; None for LOCO's (3 for juice bottles and connectors, else 1).
        losses: of the segmenter: L_sup = L_Dice + λ1 L_CE, with λ2 L_H, and with λ3 L_hist (Eq. 1).
        hist_loss: λ3 times the mean of Eq. 2, or the released code's sum with weight 1 over the turned labels
            of the step.
        hist_classes: numbers of the classes in that sum; None for the released code's: all but the
            background, of breakfast boxes 1, 2, 3, 6 of its seven.
        lambdas: λ1, λ2, λ3.
        unlabelled: "support" takes the training images without label, or all where there are none; "off"
            takes none, and with them goes L_H and L_hist.
        warm_up_epochs, epochs: with L_sup alone, then with all losses.
        epoch_steps: steps of an epoch; None for all unlabelled images once, at least 70 (as in the
            paper), or a few shots would leave the segmenter untrained.
        batch_size: labelled, and unlabelled, images in a step.
        learning_rate: of AdamW.
        rotation: degrees to either side by which labelled images are turned; None for the released
            code's, all the way for breakfast_box and screw_bag, else 20.
        pseudo_label_stage: train a second segmenter on pseudo labels of all images (released code).
        pseudo_epochs: of that.
        banks: which ones: (h)istogram, (c)omposition, (p)atch.
        distance: Eq. 3 without or with its square.
        standardize: z-scores in the first two banks (released code), from two images on.
        flat_dims: what of dimensions in which the training images agree, see `vectors.VectorBank.of`.
        hist_bg: whether the background counts in the histogram.
        comp_encoder: h_ψ of the composition: `backbone` averaged over 3 × 3, or ResNet-101 over 5 × 5.
        comp_weights: weights of ResNet-101; "demo" follows `weights`.
        comp_mean: sum over a part divided by its pixels, or by one more (released code).
        patch_layers: of `backbone`, for the patch bank.
        patch_size: side of its input, which is square.
        patch_score: largest distance, or re-weighted by nine neighbours (released code).
        as_scale: adaptive scaling by the largest score of S_train (paper), standardisation, or none.
        as_reference: S_train by the nearest other image, or by the released code's random pair.
        norm_source: S_train from the training images left out one by one; or from validation images,
            which also stand in where a single training image leaves nothing out.
        train_fraction: part of the training images, first by name, that the banks hold; the segmenter
            sees all.
        map_smoothing: standard deviation of the Gaussian over the patch map, in pixels of `patch_size`.
    """

    card: ClassVar[Card] = Card(
        title="PSAD",
        summary="Counts and describes parts that a few-shot segmenter finds, beside a patch memory bank.",
        version=2,
        paper=Citation(
            "Kim, An, Chikontwe, Kang, Adeli, Pohl, Park",
            "Few Shot Part Segmentation Reveals Compositional Logic for Industrial Anomaly Detection",
            "AAAI 2024",
            "https://arxiv.org/abs/2312.13783",
        ),
        further=(
            (
                "`segmentation: repri`",
                Citation(
                    "Boudiaf, Kervadec, Ziko, Piantanida, Ben Ayed, Dolz",
                    "Few-Shot Segmentation Without Meta-Learning: A Good Transductive Inference Is All You "
                    "Need?",
                    "CVPR 2021",
                    "https://arxiv.org/abs/2012.06166",
                ),
            ),
            (
                "`segmentation: seggpt`",
                Citation(
                    "Wang, Zhang, Cao, Wang, Shen, Huang",
                    "SegGPT: Segmenting Everything in Context",
                    "ICCV 2023",
                    "https://arxiv.org/abs/2304.03284",
                ),
            ),
        ),
        licence="Apache-2.0",
        weights_licence="BSD-3-Clause (wide_resnet101_2.tv_in1k, resnet101.tv_in1k)",
        trained=True,
        uses=frozenset({"part labels"}),
        demo=Demo(
            _DEMO,
            "some dozens of training steps instead of 7000",
            {"categories": ["breakfast_box", "juice_bottle"], "seeds": [0]},
        ),
        paths=frozenset({"weights", "comp_weights", "labels_dir", "segments_dir", "seggpt_weights"}),
        assets=sources.assets,
        unmet=sources.unmet,
        problems=_problems,
        sizes=_sizes,
        later=_LATER,
        resources=Resources(gpus=0.5, cpus=2, timeout_minutes=480),
        seconds=900.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {
        "backbone": "test_resnet",
        "image_size": 64,
        "patch_size": 64,
        "batch_size": 2,
        "warm_up_epochs": 1,
        "epochs": 1,
        "epoch_steps": 4,
        "patch_layers": ("layer2", "layer3"),
    }

    context: Context
    _: KW_ONLY
    backbone: str = BACKBONE
    weights: str | None = None
    layers: Annotated[tuple[str, ...], Field(min_length=3, max_length=3)] = LAYERS
    image_size: Side = 512
    canvas: Frame = "native"
    screw_bag_border: NonNegativeInt = 0
    precision: Literal["float32", "auto", "bfloat16", "float16"] = "float32"
    labels: Word = "dataset"
    segmentation: sources.Segmentation = "own"
    segments_dir: str | None = None
    repri_steps: NonNegativeInt = 50
    repri_update: PositiveInt = 10
    repri_temperature: PositiveFloat = 20.0
    repri_rate: PositiveFloat = 0.025
    seggpt_weights: str = "BAAI/seggpt-vit-large"
    co_parts: Annotated[int, Field(ge=1, le=254)] = 10
    labels_dir: str | None = None
    n_labelled: PositiveInt | None = None
    n_types: PositiveInt | None = None
    losses: Literal["sup", "sup+H", "sup+H+hist"] = "sup+H+hist"
    hist_loss: Literal["paper_mean_x10", "repo_sum_x1"] = "paper_mean_x10"
    hist_classes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None
    lambdas: Three = (10.0, 10.0, 10.0)
    unlabelled: Literal["support", "off"] = "support"
    warm_up_epochs: PositiveInt = 50
    epochs: PositiveInt = 50
    epoch_steps: PositiveInt | None = None
    batch_size: PositiveInt = 5
    learning_rate: PositiveFloat = 1e-3
    rotation: Annotated[int, Field(ge=0, le=180)] | None = None
    pseudo_label_stage: bool = False
    pseudo_epochs: PositiveInt = 300
    banks: Annotated[str, AfterValidator(_banks)] = "hcp"
    distance: Distance = "l2"
    standardize: bool = True
    flat_dims: FlatDims = "units"
    hist_bg: bool = True
    comp_encoder: Literal["wrn101_p3", "r101_p5"] = "wrn101_p3"
    comp_weights: str | None = None
    comp_mean: ClassMean = "mean"
    patch_layers: Layers = PATCH_LAYERS
    patch_size: Side = 256
    patch_score: PatchScore = "max_min"
    as_scale: Scale = "max"
    as_reference: ScaleReference = "loo_nn"
    norm_source: Literal["train_loo", "validation"] = "train_loo"
    train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    map_smoothing: NonNegativeFloat = 4.0
    classes: tuple[str, ...] = field(init=False, repr=False)
    frame: Canvas = field(init=False, repr=False)
    memory: Any = field(init=False, repr=False)  # Memory, which would import torch here
    scaling: dict[str, AdaptiveScaling] = field(init=False, repr=False)

    @property
    def precision_used(self) -> str:
        """What `precision` comes to on the device."""
        if self.precision != "auto":
            return self.precision
        return used("auto", self.context.device) if self.segmentation == "own" else "float32"

    def fit(self, data: FitData) -> Self:
        """Train the segmenter, fill the banks with the training images, take their scores as scale.

        Raises:
            ConfigError, WeightsError: see `methods.shared.backbones.features.features`.
            DataError: an image, a label file or a label map is wrong.
            NeedNotMet: there is no training image, or none with labels.
        """
        from methods.psad.embedding import Compositions, PatchSearch
        from methods.psad.memory import Memory, MemorySpec
        from methods.psad.sources.source import Given

        if not len(data.train):
            raise NeedNotMet("PSAD needs at least one training image")
        size = self.image_size, self.canvas, self.screw_bag_border
        self.frame, store = Canvas.of(data.train, data.category, *size), self.context.artifacts
        encoder = self._reading(tuple(self.layers), self.frame.geometry)
        given = Given(data, self.frame, encoder, self.context, self.precision_used == "tf32")
        parts, self.classes = sources.SOURCES[self.segmentation].made(given, self)
        names = data.train.ids
        by_name = data.train.subset(sorted(range(len(names)), key=names.__getitem__))
        patches = self._reading(tuple(self.patch_layers), Geometry.square(self.patch_size))
        search = PatchSearch(patches, NEIGHBOURHOOD, self.frame.framed(by_name, store), self.context)
        compositions = Compositions(*self._described(encoder), self.comp_mean, parts)
        self.memory = Memory.of(self._own(MemorySpec), parts, compositions, search)
        references = self.memory.reference(self.frame.framed(data.validation, store))
        self.scaling = {name: AdaptiveScaling.of(s, self.as_scale) for name, s in references.items()}
        return self

    def score(self, images: ImageSet) -> Scores:
        """Sum of the scaled scores of the banks.

        Returns:
            Scores with the parts "hist", "comp", "patch" (raw) and "hist_scaled", … of the banks in use,
            so that any sum of them can be taken later; maps of the patch bank, smoothed, (n, h, w).
        """
        found = self.memory.evidence(self.frame.framed(images, self.context.artifacts))
        scaled = {f"{name}_scaled": s for name, s in found.scaled(self.scaling).items()}
        maps = None if found.maps is None else self.frame.whole_maps(found.maps, images)
        return Scores(np.sum([*scaled.values()], axis=0), found.scores | scaled, maps)

    def segment(self, images: ImageSet) -> Segmentation:
        """Part labels of whole images, at the scale of the segmenter's input."""
        seen = self.memory.parts.labels(self.frame.framed(images, self.context.artifacts))
        return Segmentation(np.stack(self.frame.whole_labels(seen, images)), self.classes)

    def explain(self, images: ImageSet) -> list[tuple[View, ...]]:
        """Parts, their sizes beside those of the nearest normal image, scores and their scales."""
        from methods.psad.pictures import pictures

        fitted = self.frame, self.memory, self.scaling, self.classes
        return [views for part in batches(images, SHOWN) for views in pictures(part, *fitted)]

    def _own(self, spec: type[Spec]) -> Spec:
        """The hyper-parameters that a room of this folder asks for, by name."""
        return spec(**{f.name: getattr(self, f.name) for f in fields(spec)})  # pyright: ignore[reportArgumentType]

    def _reading(self, layers: tuple[str, ...], geometry: Geometry) -> FeatureSpec:
        return FeatureSpec(self.backbone, self.weights, layers, geometry, self._of_features)

    @property
    def _of_features(self) -> Literal["float32", "bfloat16", "float16"]:
        # what is stored is the same on every card, and other methods find it
        return "float32" if self.precision == "auto" else self.precision

    def _described(self, encoder: FeatureSpec) -> tuple[FeatureSpec, int]:
        """h_ψ of the composition, and the p × p features over which it is averaged."""
        if self.comp_encoder == "wrn101_p3":
            return encoder, NEIGHBOURHOOD
        weights = labelling.comp_weights(self.weights, self.comp_weights)
        layers, size = labelling.RESNET_LAYERS, encoder.geometry
        return FeatureSpec(labelling.RESNET, weights, layers, size, self._of_features), WIDER
