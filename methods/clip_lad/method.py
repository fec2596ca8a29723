"""CLIP-LAD: parts named by text, counted, and compared with those of a few normal images."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, final

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from harness.artifacts import ArtifactStore
from harness.citation import Citation
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Asset, Card, Context, Demo, Resources, Scores, Segmentation, Task
from harness.views import View
from methods.clip_lad.banks import Floats, HistogramBank, PatchBank
from methods.clip_lad.network import Network
from methods.clip_lad.parts import Clustering, Segmenter
from methods.clip_lad.prompt_files import Clusters, Prompts, find, missing, read, shipped
from methods.clip_lad.scoring import HistScore, Normalisation
from methods.shared.norm_source import too_few
from methods.shared.openclip.features import chunk_size
from methods.shared.openclip.possible import problems
from methods.shared.openclip.spec import ClipSpec, Precision
from methods.shared.openclip.spec import assets as model_assets
from methods.shared.pixels import Side, batches, square_input

Stages = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
FEWEST_VALIDATION = 2


def _assets(params: Mapping[str, Any], category: str) -> tuple[Asset, ...]:
    """The weights and, where there are any, the prompts of the category."""
    path = find(params["prompts"], params["weights"], category)
    prompts = () if path is None else (Asset("prompts", read(path).sha256, str(path)),)
    return (*model_assets(params), *prompts)


def _ignores(params: Mapping[str, Any]) -> frozenset[str]:
    """Only K-means is random, and has a seed of its own."""
    return frozenset() if params["kmeans_seed"] is None else frozenset({"run_seed"})


def _unmet(params: Mapping[str, Any], task: Task) -> str | None:
    if find(params["prompts"], params["weights"], task.category) is None:
        return missing(task.category, shipped(params["weights"]))
    return too_few(params["norm_source"], task.n_train, task.n_validation, FEWEST_VALIDATION)


_LOGSAD = Citation(
    "Zhang et al.",
    "Towards Training-free Anomaly Detection with Vision and Language Foundation Models (LogSAD)",
    "CVPR 2025",
)


@final
@dataclass
class ClipLad:
    """Coarse-to-fine segmentation by text, part histograms, and nearest support patches.

    Args:
        context: artifact store, device; the run seed only where `kmeans_seed` is None.
        model: an architecture of open_clip (`methods.shared.openclip.spec`).
        pretrained: tag of its weights in open_clip.
        weights: None for those, a path, or "demo".
        image_size: side in pixels to which images are resized.
        precision: of the network; all but float32 also store what it gives as float16.
        pos_embed: how position embeddings are resized.
        naclip_sigma: of NACLIP's Gaussian neighbourhood, in patches.
        naclip_arch: NACLIP's last block without ("reduced") or with residual and MLP.
        prompts: a prompt file, a folder of them, or None for those that ship (README.md).
        upsample: factor between the grid of tokens and that of the segmentation.
        n_clusters: N_c; None for the prompt file's.
        cluster_stages: 1-based blocks whose tokens are clustered, side by side; None for the ends of
            the first and second quarter of the depth (6, 12 of 24).
        cluster_grid: whether clusters live on the upsampled grid or on that of the tokens.
        kmeans_init: how K-means begins.
        kmeans_seed: its seed; None for the run seed.
        min_region: connected pieces of a cluster with at most so many patches belong to no region.
        pool: whether tokens are normalised before they are averaged over a region (Eq. 1).
        coarse_threshold: similarity that a foreground region must exceed; None for the prompt file's.
        fine_level: fine classes by patch or by region; None for the prompt file's.
        hist_score: reading of Eq. 2 (`scoring.histogram_distances`).
        hist_epsilon: least denominator of Eq. 2, as a part of the image; the default is one patch of the
            paper's 64 × 64.
        hist_norm: histograms as counts or as fractions of the foreground.
        patch_stages: 1-based blocks whose patches are compared; None for the ends of the four quarters
            (6, 12, 18, 24 of 24).
        patch_metric: cosine or Euclidean distance of unit vectors (Eq. 3).
        patch_grid: whether patches are compared on the grid of tokens or on the upsampled one.
        stage_fuse: mean or sum of the stages' maps, or one map of concatenated stages.
        stage4: the last block's output as the model itself computes it, or as NACLIP does.
        norm_source: normal images that scale the two scores (Eq. 4): validation images, support
            images each against the others, or none (the scores are added).
        maha: Σ⁻¹, or Σ as printed in Eq. 4.
        maha_one_sided: whether a score below the mean counts as the mean.
    """

    card: ClassVar[Card] = Card(
        title="CLIP-LAD",
        summary="Parts segmented by text prompts and counted and patches compared with k normal images.",
        version=2,
        paper=Citation(
            "anonymous",
            "CLIP-LAD: Unleash the Potential of CLIP for Few-Shot Logical Anomaly Detection",
            "OpenReview bESxQeXTlo, 2024",
            "https://openreview.net/forum?id=bESxQeXTlo",
        ),
        further=(("Words and settings that it leaves open", _LOGSAD),),
        licence="Apache-2.0",
        weights_licence="MIT (ViT-L-14, datacomp_xl_s13b_b90k)",
        trained=False,
        uses=frozenset({"text", "rules per category"}),
        demo=Demo(
            {"image_size": 224, "patch_stages": [4]},
            "patches of one stage; a few-shot method: with all images there are many pairs",
            {"shots": [1, 4]},
        ),
        paths=frozenset({"weights", "prompts"}),
        assets=_assets,
        ignores=_ignores,
        unmet=_unmet,
        problems=lambda params: problems(params, ("cluster_stages", "patch_stages")),
        sizes=square_input,
        resources=Resources(gpus=0.25, cpus=2, timeout_minutes=120),
        seconds=60.0,
    )
    check_params: ClassVar[Mapping[str, Any]] = {"weights": "demo", "image_size": 112}

    context: Context
    _: KW_ONLY
    model: str = "ViT-L-14"
    pretrained: str | None = "datacomp_xl_s13b_b90k"
    weights: str | None = None
    image_size: Side = 448
    precision: Precision = "float32"
    pos_embed: Literal["openclip", "naclip"] = "openclip"
    naclip_sigma: PositiveFloat = 5.0
    naclip_arch: Literal["reduced", "vanilla"] = "reduced"
    prompts: str | None = None
    upsample: PositiveInt = 2
    n_clusters: Clusters | None = None
    cluster_stages: Stages | None = None
    cluster_grid: Literal["upsampled", "tokens"] = "upsampled"
    kmeans_init: Literal["kmeans++", "random"] = "kmeans++"
    kmeans_seed: NonNegativeInt | None = 0
    min_region: NonNegativeInt = 0
    pool: Literal["normalised", "raw"] = "normalised"
    coarse_threshold: float | None = None
    fine_level: Literal["patch", "region"] | None = None
    hist_score: HistScore = "rel_diff"
    hist_epsilon: Annotated[float, Field(gt=0, le=1)] = 1 / 4096
    hist_norm: Literal["count", "fraction"] = "count"
    patch_stages: Stages | None = None
    patch_metric: Literal["cosine", "l2"] = "cosine"
    patch_grid: Literal["tokens", "upsampled"] = "tokens"
    stage_fuse: Literal["mean", "sum", "concat"] = "mean"
    stage4: Literal["vanilla", "naclip"] = "vanilla"
    norm_source: Literal["validation", "support_loo", "none"] = "validation"
    maha: Literal["inverse", "literal"] = "inverse"
    maha_one_sided: bool = False
    m_hist: HistogramBank = field(init=False, repr=False)
    normalisation: Normalisation = field(init=False, repr=False)
    _support: ImageSet = field(init=False, repr=False)
    _words: Prompts = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Cluster the support images, fill both memory banks, and learn the scores' scales.

        Raises:
            ConfigError, DataError, WeightsError: see `methods.shared.openclip.features` and `prompt_files`.
            NeedNotMet: no training image, no prompts for the category, too few images for `norm_source`.
        """
        if not len(data.train):
            raise NeedNotMet("CLIP-LAD needs at least one training image")
        given = self.norm_source, len(data.train), len(data.validation)
        if reason := too_few(*given, FEWEST_VALIDATION):
            raise NeedNotMet(reason)
        self._words = self._read(data.category)
        keys = data.train.keys()
        self._support = data.train.subset(sorted(range(len(keys)), key=keys.__getitem__))  # order-free
        h, eps = self._parts.histograms(self._support), self.hist_epsilon * self._grid**2
        self.m_hist = HistogramBank(h, self.hist_score, eps, self.hist_norm)
        self.normalisation = self._normalisation(data.validation)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Mahalanobis distance of (s_log, s_str) from normal images (Eq. 4).

        Returns:
            Scores with the parts "s_log" (Eq. 2) and "s_str" (Eq. 3) and maps of patch distances,
            (n, grid, grid).
        """
        pairs, maps = self._measured(images)
        parts = {"s_log": pairs[:, 0].astype(float), "s_str": pairs[:, 1].astype(float)}
        return Scores(self.normalisation(pairs), parts, maps.astype(np.float32))

    def explain(self, images: ImageSet) -> list[tuple[View, ...]]:
        """Clusters, coarse foreground, parts, patch distances, histogram and nearest support image."""
        from methods.clip_lad.views import views

        names = self._words.coarse_parts, self._words.parts
        nearest = self.m_hist.distances(self._parts.histograms(images)).argmin(axis=1)
        found = zip(self._parts.of(images), self._patches.maps(images), nearest, strict=True)
        bank, ids = self.m_hist.h, self._support.ids
        return [views(each, heat, *names, bank[i], ids[i]) for each, heat, i in found]

    def segment(self, images: ImageSet) -> Segmentation:
        """The fine segmentation, on the upsampled grid."""
        labels = [each.parts for each in self._parts.of(images)]
        return Segmentation(np.stack(labels), ("background", *self._words.parts))

    def _measured(self, images: ImageSet) -> tuple[Floats, Floats]:
        """(s_log, s_str) of every image, (n, 2), and maps; run by run, so that tokens serve both."""
        pairs, maps = [], []
        for part in batches(images, chunk_size(self._network.spec)):
            maps.append(self._patches.maps(part))
            s_log = self.m_hist.s_log(self._parts.histograms(part))
            pairs.append(np.stack([s_log, maps[-1].max(axis=(1, 2))], axis=1))  # Eq. 3
        return np.concatenate(pairs), np.concatenate(maps)

    def _normalisation(self, validation: ImageSet) -> Normalisation:
        if self.norm_source == "none":
            return Normalisation.nothing()
        if self.norm_source == "validation":
            pairs, _ = self._measured(validation)
        else:  # the centres stay those of all support images
            pairs = np.stack([self.m_hist.left_out(), self._patches.left_out()], axis=1)
        return Normalisation.of(pairs, self.maha, self.maha_one_sided)

    def _read(self, category: str) -> Prompts:
        """The category's prompts, with what the parameters change of them."""
        path = find(self.prompts, self.weights, category)
        if path is None:
            raise NeedNotMet(missing(category, shipped(self.weights)))
        return read(path).changed(self.n_clusters, self.coarse_threshold, self.fine_level)

    # Built when asked for: the store below is no part of what is pickled.

    @property
    def _parts(self) -> Segmenter:
        network, grid = self._network, self._grid
        side = grid if self.cluster_grid == "upsampled" else network.spec.grid
        seed = self.context.run_seed if self.kmeans_seed is None else self.kmeans_seed
        how = Clustering(network.clustered, side, self._words.n_clusters, self.kmeans_init, seed)
        where = (network.spec, self._store, self.context.device)
        return Segmenter(self._support, self._words, how, grid, self.min_region, self.pool, *where)

    @property
    def _patches(self) -> PatchBank:
        network = self._network
        side = self._grid if self.patch_grid == "upsampled" else network.spec.grid
        how = (network.compared, side, self.patch_metric, self.stage_fuse)
        return PatchBank(self._support, *how, network.spec, self._store, self.context.device)

    @cached_property
    def _network(self) -> Network:
        given = (self.model, self.pretrained, self.weights, self.image_size, self.precision, self.pos_embed)
        model = ClipSpec(*given, naclip_sigma=self.naclip_sigma, naclip_arch=self.naclip_arch)
        return Network.of(model, self.cluster_stages, self.patch_stages, self.stage4)

    @property
    def _grid(self) -> int:
        return self._network.spec.grid * self.upsample

    @cached_property
    def _store(self) -> ArtifactStore:
        """The artifact store; where the context keeps nothing, a folder that lives as long as this method.

        One pass of the network serves half a dozen calls, so that something has to keep it.
        """
        given = self.context.artifacts
        if given.root is not None:
            return given
        folder = tempfile.mkdtemp(prefix="clip_lad-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        store = ArtifactStore(Path(folder))
        store.counters = given.counters
        return store

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_store"}
