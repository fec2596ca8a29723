"""PSAD: parts segmented from a few labels, three memory banks, adaptive scaling."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.ndimage import gaussian_filter

from harness.artifacts import Op
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Card, Context, Resources, Scores, Segmentation
from harness.views import Bars, Heat, Parts, Reference, View
from methods.psad import labelling
from methods.psad.augment import rotation_of
from methods.psad.banks import ClassMean, Distance, Floats, PatchScore, composition, histogram, max_min
from methods.psad.scaling import AdaptiveScaling, Scale
from methods.psad.scaling import Reference as ScaleReference
from methods.psad.vectors import FlatDims, VectorBank
from methods.shared.backbones.features import FeatureSpec, features
from methods.shared.pixels import Geometry, batches

if TYPE_CHECKING:
    from methods.psad.segmentation import PartSegmenter
    from methods.psad.training import TrainingSpec

EPOCH = 70  # steps of an epoch of the paper: about 350 images, batch 5
NEIGHBOURHOOD = 3  # features are averaged over so many by so many
SHOWN = 32  # images explained at a time
TITLES = {"hist": "histogram", "comp": "composition", "patch": "patches"}
BANKS = {"h": "hist", "c": "comp", "p": "patch"}


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


def _banks(value: str) -> str:
    if not value or value != "".join(b for b in BANKS if b in value):
        raise ValueError("must be letters of hcp, in this order")
    return value


Odd = Annotated[int, Field(gt=0), AfterValidator(_odd)]
Positive3 = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Layers = Annotated[tuple[str, ...], Field(min_length=1)]


class _Evidence(NamedTuple):
    """What images look like to the banks.

    Attributes:
        distances: bank -> distances to every image of the bank (m, n).
        scores: bank -> raw scores (m,).
        maps: distances of the patches (m, h, w), or None without patch bank.
    """

    distances: dict[str, Floats]
    scores: dict[str, Floats]
    maps: NDArray[np.float32] | None


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
        precision: of the frozen network; all but float32 also store features as float16.
        labels: whose part labels they are (a word, "dataset", "ours", "clip"); part of the name in tables.
        labels_dir: folder of labels (`harness.data.labels`); None for the data set's own part masks.
        n_labelled: N_L; None for 5, or one per product type. Where more training images have labels, the
            medoids in GAP features are taken.
        n_types: product types in a category; None for LOCO's (3 for juice bottles and connectors, else 1).
        losses: of the segmenter: L_sup = L_Dice + λ1 L_CE, with λ2 L_H, and with λ3 L_hist (Eq. 1).
        hist_loss: λ3 times the mean of Eq. 2, or the released code's sum with weight 1.
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
        version=1,
        paper="Kim et al., Few Shot Part Segmentation Reveals Compositional Logic for Industrial Anomaly "
        "Detection, AAAI 2024",
        url="https://arxiv.org/abs/2312.13783",
        licence="Apache-2.0",
        paths=frozenset({"weights", "comp_weights", "labels_dir"}),
        assets=labelling.assets,
        unmet=labelling.unmet,
        resources=Resources(gpus=0.5, cpus=2, timeout_minutes=480),
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
    backbone: str = "wide_resnet101_2.tv_in1k"
    weights: str | None = None
    layers: Annotated[tuple[str, ...], Field(min_length=3, max_length=3)] = ("layer1", "layer2", "layer3")
    image_size: PositiveInt = 512
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    labels: Word = "dataset"
    labels_dir: str | None = None
    n_labelled: PositiveInt | None = None
    n_types: PositiveInt | None = None
    losses: Literal["sup", "sup+H", "sup+H+hist"] = "sup+H+hist"
    hist_loss: Literal["paper_mean_x10", "repo_sum_x1"] = "paper_mean_x10"
    lambdas: Positive3 = (10.0, 10.0, 10.0)
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
    patch_layers: Layers = ("layer2", "layer3")
    patch_size: PositiveInt = 256
    patch_score: PatchScore = "max_min"
    as_scale: Scale = "max"
    as_reference: ScaleReference = "loo_nn"
    norm_source: Literal["train_loo", "validation"] = "train_loo"
    train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    map_smoothing: NonNegativeFloat = 4.0
    classes: tuple[str, ...] = field(init=False, repr=False)
    segmenter: Any = field(init=False, repr=False)  # PartSegmenter, which would import torch here
    bank: ImageSet = field(init=False, repr=False)  # the images the banks hold, by name
    search: Any = field(init=False, repr=False)  # PatchSearch
    vectors: dict[str, VectorBank] = field(init=False, repr=False)
    scaling: dict[str, AdaptiveScaling] = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Train the segmenter, fill the banks with the training images, take their scores as scale.

        Raises:
            ConfigError, WeightsError: see `methods.shared.backbones.features.features`.
            DataError: an image or a label file is wrong.
            NeedNotMet: there is no training image, or none with labels.
        """
        from methods.psad.embedding import PatchSearch

        if not len(data.train):
            raise NeedNotMet("PSAD needs at least one training image")
        self.segmenter = self._new_segmenter(data)
        order = sorted(range(len(data.train)), key=lambda i: data.train.ids[i])
        self.bank = data.train.subset(order[: max(1, round(self.train_fraction * len(order)))])
        self.search = PatchSearch(self._patch_spec, NEIGHBOURHOOD, data.train.subset(order), self.context)
        rows = self._vectors(self.bank)
        switches = self.standardize, self.flat_dims, self.distance
        self.vectors = {name: VectorBank.of(v, *switches) for name, v in rows.items()}
        self.scaling = {n: AdaptiveScaling.of(s, self.as_scale) for n, s in self._reference(data).items()}
        return self

    def score(self, images: ImageSet) -> Scores:
        """Sum of the scaled scores of the banks.

        Returns:
            Scores with the parts "hist", "comp", "patch" (raw) and "hist_scaled", … of the banks in use,
            so that any sum of them can be taken later; maps of the patch bank, smoothed, (n, h, w).
        """
        found = self._evidence(images)
        scaled = {f"{name}_scaled": self.scaling[name](s) for name, s in found.scores.items()}
        return Scores(np.sum([*scaled.values()], axis=0), found.scores | scaled, found.maps)

    def segment(self, images: ImageSet) -> Segmentation:
        """Part labels at the size of the segmenter's input."""
        return Segmentation(np.stack(self.segmenter.labels(images)), self.classes)

    def explain(self, images: ImageSet) -> list[tuple[View, ...]]:
        """Parts, their sizes beside those of the nearest normal image, scores and their scales."""
        return [views for part in batches(images, SHOWN) for views in self._explained(part)]

    def _explained(self, images: ImageSet) -> list[tuple[View, ...]]:
        found, labels = self._evidence(images), self.segmenter.labels(images)
        scaled = {name: self.scaling[name](s) for name, s in found.scores.items()}
        order = self._nearest(found)
        nearest = self.segmenter.labels(self.bank.subset(order))
        return [
            (
                Parts("parts", labels[i], self.classes),
                *([] if found.maps is None else [Heat("distance to normal patches", found.maps[i])]),
                self._score_bars(found.scores, scaled, i),
                self._size_bars(labels[i], nearest[i]),
                Reference("nearest normal image", self.bank.ids[order[i]]),
            )
            for i in range(len(images))
        ]

    def _score_bars(self, raw: Mapping[str, Floats], scaled: Mapping[str, Floats], i: int) -> Bars:
        names = tuple(f"{TITLES[n]} (÷ {self.scaling[n].scale:.3g})" for n in raw)
        return Bars("scores", names, {"scaled": np.array([scaled[n][i] for n in raw])})

    def _size_bars(self, labels: NDArray[np.uint8], nearest: NDArray[np.uint8]) -> Bars:
        sizes = [histogram(m, len(self.classes), True) / m.size for m in (labels, nearest)]
        return Bars(
            "part of the image", self.classes, {"this image": sizes[0], "nearest normal image": sizes[1]}
        )

    def _nearest(self, found: _Evidence) -> list[int]:
        """Image of the bank with the smallest sum of scaled distances, by all banks in use."""
        total = sum(self.scaling[name](d) for name, d in found.distances.items())
        return [int(i) for i in np.asarray(total).argmin(axis=1)]

    # Labels and segmenter.

    def _new_segmenter(self, data: FitData) -> "PartSegmenter":
        from methods.psad.segmentation import Material, PartSegmenter

        known = labelling.Known.of(data, self.labels_dir)
        self.classes = known.classes
        types = self.n_types or labelling.TYPES.get(data.category, 1)
        number = self.n_labelled or (types if types > 1 else labelling.N_L)
        candidates, spec = sorted(known.sources), self._image_spec(data.train)
        pooled = self._pooled(data.train, spec, needed=types > 1 or len(candidates) > number)
        labelled = labelling.to_label(candidates, number, pooled)
        others = self._unlabelled(len(data.train), labelled)
        labels = tuple(known.read(data.train, i) for i in labelled)
        match = labelling.matched(others, labelled, pooled) if types > 1 and others else None
        chosen, rest = data.train.subset(labelled), data.train.subset(others)
        material = Material(chosen, labels, rest, match, len(known.classes))
        return PartSegmenter(spec, self._recipe(data.category, len(rest)), material, self.context)

    def _unlabelled(self, n: int, labelled: Sequence[int]) -> list[int]:
        if self.unlabelled == "off":
            return []
        return [i for i in range(n) if i not in labelled] or list(labelled)

    def _pooled(self, train: ImageSet, spec: FeatureSpec, needed: bool) -> NDArray[np.float32]:
        from methods.psad.embedding import globally_averaged

        return (
            globally_averaged(train, spec, self.context) if needed else np.zeros((len(train), 1), np.float32)
        )

    def _recipe(self, category: str, unlabelled: int) -> "TrainingSpec":
        from methods.psad.training import TrainingSpec

        epoch = self.epoch_steps or max(EPOCH, ceil(unlabelled / self.batch_size))
        l1, l2, l3 = self.lambdas
        return TrainingSpec(
            losses=self.losses,
            hist_loss=self.hist_loss,
            lambdas=(l1, l2, l3),
            warm_up=self.warm_up_epochs * epoch,
            joint=self.epochs * epoch,
            second=self.pseudo_epochs * epoch if self.pseudo_label_stage else 0,
            batch=self.batch_size,
            learning_rate=self.learning_rate,
            rotation=rotation_of(category) if self.rotation is None else self.rotation,
            seed=self.context.run_seed,
        )

    # Networks.

    def _image_spec(self, train: ImageSet) -> FeatureSpec:
        """The whole image, its longer side `image_size`; the first image gives the aspect ratio."""
        height, width = labelling.native_size(train, 0)
        scale = self.image_size / max(height, width)
        geometry = Geometry(max(1, round(scale * height)), max(1, round(scale * width)))
        return FeatureSpec(self.backbone, self.weights, tuple(self.layers), geometry, self.precision)

    @property
    def _patch_spec(self) -> FeatureSpec:
        geometry = Geometry.square(self.patch_size)
        return FeatureSpec(self.backbone, self.weights, tuple(self.patch_layers), geometry, self.precision)

    @property
    def _comp_spec(self) -> FeatureSpec:
        spec = self.segmenter.spec
        if self.comp_encoder == "wrn101_p3":
            return spec
        weights = labelling.comp_weights(self.weights, self.comp_weights)
        return FeatureSpec(labelling.RESNET, weights, labelling.RESNET_LAYERS, spec.geometry, self.precision)

    # Banks.

    def _vectors(self, images: ImageSet) -> dict[str, Floats]:
        """Elements of the banks with one vector per image: bank -> (m, d)."""
        found = {}
        if "h" in self.banks:
            labels, n = self.segmenter.labels(images), len(self.classes)
            found["hist"] = np.stack([histogram(m, n, self.hist_bg) for m in labels])
        if "c" in self.banks:
            found["comp"] = np.stack(self._compositions(images))
        return found

    def _compositions(self, images: ImageSet) -> list[Floats]:
        spec = self._comp_spec
        params = {
            **spec.op(",".join(spec.layers), self.context.device).params,
            "segmenter": self.segmenter.key,
            "pool": self._comp_pool,
            "mean": self.comp_mean,
        }

        def compute(missing: list[int]) -> list[Floats]:
            return self._composed(images.subset(missing), spec)

        return self.context.artifacts.get_many(Op("psad_composition", params), images.keys(), compute)

    @property
    def _comp_pool(self) -> int:
        return NEIGHBOURHOOD if self.comp_encoder == "wrn101_p3" else 5

    def _composed(self, images: ImageSet, spec: FeatureSpec) -> list[Floats]:
        from methods.psad.embedding import averaged

        device, found = self.context.device, []
        maps = features(images, spec, self.context.artifacts, device)
        for layers, labels in zip(maps, self.segmenter.labels(images), strict=True):
            pooled = [averaged(layers[name], self._comp_pool, device) for name in spec.layers]
            n = len(self.classes)
            found.append(np.concatenate([composition(f, labels, n, self.comp_mean) for f in pooled]))
        return found

    def _evidence(self, images: ImageSet) -> _Evidence:
        distances = {n: self.vectors[n].distances(v) for n, v in self._vectors(images).items()}
        scores = {name: d.min(axis=1) for name, d in distances.items()}
        if "p" not in self.banks:
            return _Evidence(distances, scores, None)
        minima = [rows[: len(self.bank)] for rows in self.search.minima(images)]
        patch = [self._patch_score(images, i, rows, slice(len(rows))) for i, rows in enumerate(minima)]
        distances["patch"] = np.stack([rows.max(axis=1).astype(np.float64) for rows in minima])
        scores["patch"] = np.array(patch)
        return _Evidence(distances, scores, np.stack([self._map(rows) for rows in minima]))

    def _patch_score(
        self, images: ImageSet, i: int, minima: NDArray[np.float32], bank: NDArray[np.intp] | slice
    ) -> float:
        if self.patch_score == "max_min":
            nearest = max_min(minima[bank])
            return nearest if self.distance == "l2" else nearest**2
        (patches,) = self.search.patches(images.subset([i]))
        chosen = np.arange(len(minima))[bank]
        return self.search.bank.score(patches, minima, chosen, self.patch_score, self.distance)

    def _map(self, minima: NDArray[np.float32]) -> NDArray[np.float32]:
        nearest = minima.min(axis=0)
        side = round(len(nearest) ** 0.5)
        sigma = self.map_smoothing * side / self.patch_size
        return gaussian_filter(nearest.reshape(side, side), sigma).astype(np.float32, copy=False)

    # Scaling.

    def _reference(self, data: FitData) -> dict[str, Floats]:
        """S_train of every bank: each training image against the others, or validation images."""
        n = len(self.bank)
        if self.norm_source == "validation" or n == 1:
            if len(data.validation):
                return self._evidence(data.validation).scores
            return {BANKS[b]: np.empty(0) for b in self.banks}
        found = {name: bank.reference(self.as_reference) for name, bank in self.vectors.items()}
        if "p" in self.banks:
            others = [np.delete(np.arange(n), k) for k in range(n)]
            rows = enumerate(rows[:n] for rows in self.search.minima(self.bank))
            found["patch"] = np.array([self._patch_score(self.bank, k, r, others[k]) for k, r in rows])
        return found
