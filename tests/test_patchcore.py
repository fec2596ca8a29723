"""PatchCore against slow twins, the reuse of its features, and its switches."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import checkpoint
from PIL import Image

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import ConfigError, NeedNotMet
from harness.method import Context
from harness.params import Problem, resolve
from methods.patchcore import PatchCore
from methods.shared.backbones.features import features
from methods.shared.nearest import MemoryBank
from methods.shared.patchcore.bank import embedded
from methods.shared.patchcore.coreset import STARTS, distances, k_centres
from methods.shared.patchcore.embedding import patch_features
from methods.shared.patchcore.score import reweighted

REAL = Path(os.environ.get("LADDER_DATA", "")) / "mvtec_loco_part" / "juice_bottle"
XCEPTION = Path(os.environ.get("LADDER_WEIGHTS", "")) / "legacy_xception_imagenet_no_head.safetensors"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint("test_resnet", tmp_path_factory.mktemp("weights")))


def patchcore(weights: str, store: Path | None = None, run_seed: int = 0, **params: Any) -> PatchCore:
    small = dict(PatchCore.check_params) | {"coreset_ratio": 1.0, "weights": weights} | params
    return PatchCore(Context(run_seed=run_seed, artifacts=ArtifactStore(store)), **small)


def fitted(weights: str, k: int | None = None, **options: Any) -> PatchCore:
    train = plates().train if k is None else plates().train.subset(range(k))
    return patchcore(weights, **options).fit(FitData(train))


# Slow twins


def slow_k_centres(points: np.ndarray, number: int, seed: int) -> list[int]:
    """Algorithm 1 word by word: all distances shortened after every selection."""
    z = torch.from_numpy(points)
    starts = np.random.default_rng([seed, 1]).choice(len(z), min(STARTS, len(z)), replace=False)
    farness = distances(z, z[torch.from_numpy(starts)]).mean(dim=1)
    chosen: list[int] = []
    for _ in range(number):
        chosen.append(int(farness.argmax()))
        farness = torch.minimum(farness, distances(z, z[chosen[-1:]])[:, 0])
        farness[chosen] = -1
    return chosen


@pytest.mark.parametrize("candidates", [1, 7, 200, 5000])
@pytest.mark.parametrize("seed", [0, 1])
def test_coreset_is_what_the_plain_loop_selects(candidates: int, seed: int):
    points = np.random.default_rng(seed).gamma(1.0, size=(1500, 16)).astype(np.float32)
    fast = k_centres(points, 300, seed, candidates=candidates)
    assert fast.tolist() == slow_k_centres(points, 300, seed)


def test_coreset_of_duplicates_takes_each_point_once():
    points = np.repeat(np.eye(5, dtype=np.float32) * 9, 4, axis=0)
    chosen = k_centres(points, 20, 0, candidates=6)
    assert sorted(chosen) == list(range(20))
    assert len({i // 4 for i in chosen[:5]}) == 5, "one of each kind comes before any duplicate"


def test_nearest_neighbours_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    rows, queries = (rng.normal(5, 1, (n, 40)).astype(np.float32) for n in (700, 90))
    brute = np.linalg.norm(queries[:, None].astype(float) - rows[None], axis=2)
    found, indices = MemoryBank(rows).search(queries, 5)
    assert np.array_equal(indices, np.argsort(brute, axis=1)[:, :5])
    np.testing.assert_allclose(found, np.sort(brute, axis=1)[:, :5], rtol=1e-6)


def test_a_bank_smaller_than_k_gives_what_it_has():
    found, indices = MemoryBank(np.eye(3, dtype=np.float32)).search(np.zeros((2, 3), np.float32), 9)
    assert found.shape == indices.shape == (2, 3)


def test_reweighting_is_equation_7():
    rng = np.random.default_rng(1)
    bank = rng.normal(size=(50, 6)).astype(np.float32)
    m_test = rng.normal(size=6).astype(np.float32)
    d = np.linalg.norm(bank.astype(float) - m_test, axis=1)
    nearest, b = int(d.argmin()), 9
    neighbours = np.argsort(np.linalg.norm(bank - bank[nearest], axis=1))[:b]
    expected = (1 - np.exp(d[nearest]) / np.exp(d[neighbours]).sum()) * d[nearest]
    score = reweighted(MemoryBank(bank), m_test, float(d[nearest]), nearest, b)
    assert score == pytest.approx(expected, rel=1e-6)
    assert reweighted(MemoryBank(bank), m_test, float(d[nearest]), nearest, 1) == d[nearest]


def test_reweighting_survives_large_distances():
    bank = MemoryBank(np.array([[0.0], [1e4]], np.float32))
    assert reweighted(bank, np.array([-2e3], np.float32), 2e3, 0, 9) == pytest.approx(2e3)


def neighbourhood_means(layer: np.ndarray) -> np.ndarray:
    c, h, w = layer.shape
    padded = np.zeros((c, h + 2, w + 2))
    padded[:, 1:-1, 1:-1] = layer
    return np.array([[padded[:, y : y + 3, x : x + 3].mean((1, 2)) for x in range(w)] for y in range(h)])


def bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """Half-pixel centres, edges repeated; (n, n, c) -> (size, size, c)."""
    at = (np.arange(size) + 0.5) * len(image) / size - 0.5
    rows = np.apply_along_axis(lambda v: np.interp(at, np.arange(len(v)), v), 0, image)
    return np.apply_along_axis(lambda v: np.interp(at, np.arange(len(v)), v), 1, rows)


def test_patch_features_are_pooled_upsampled_and_concatenated():
    rng = np.random.default_rng(0)
    deep, shallow = rng.normal(size=(5, 4, 4)), rng.normal(size=(3, 8, 8))
    vectors, grid = patch_features({"deep": deep, "shallow": shallow}, 3, None)
    expected = np.concatenate([bilinear(neighbourhood_means(deep), 8), neighbourhood_means(shallow)], axis=2)
    assert grid == (8, 8)
    np.testing.assert_allclose(vectors, expected.reshape(64, 8), atol=1e-6)


def test_dimension_averages_channels_and_neighbourhood_down():
    rng = np.random.default_rng(0)
    layer = rng.normal(size=(4, 5, 5))
    vectors, _ = patch_features({"a": layer, "b": 2 * layer}, 3, 6)
    padded = np.pad(layer, ((0, 0), (1, 1), (1, 1)))
    flat = padded[:, 2:5, 1:4].reshape(6, 6).mean(axis=1)  # 4 channels × 9 pixels of patch (2, 1), in sixes
    expected = np.concatenate([flat, 2 * flat]).reshape(6, 2).mean(axis=1)
    np.testing.assert_allclose(vectors[2 * 5 + 1], expected, atol=1e-6)


def test_scores_follow_from_the_bank(weights: str):
    method = fitted(weights, num_neighbours=1, map_smoothing=0.0)
    scores = method.score(plates().test)
    spec = method.bank.recipe.spec
    (maps,) = features(plates().test.subset([3]), spec, method.context.artifacts, "cpu")
    vectors = embedded(maps, method.bank.recipe, "cpu")[0].astype(float)
    brute = np.linalg.norm(vectors[:, None] - method.bank.memory.rows[None], axis=2).min(axis=1)
    assert scores.maps is not None
    np.testing.assert_allclose(scores.maps[3].ravel(), brute, rtol=1e-5)
    assert scores.image[3] == pytest.approx(brute.max(), rel=1e-5)


# Reuse


def test_shots_and_seeds_touch_each_image_once(weights: str, tmp_path: Path):
    store = ArtifactStore(tmp_path)
    for k in (1, 2, 4):
        for seed in range(5):
            support = np.random.default_rng(seed).permutation(6)[:k]
            method = patchcore(weights, coreset_ratio=0.5)
            method.context = Context(run_seed=seed, artifacts=store)
            method.fit(FitData(plates().train.subset([int(i) for i in support]))).score(plates().test)
    images = len(plates().test) + 6
    assert store.counters["backbone_passes"] == images
    assert store.counters["resized.computes"] == images
    assert store.counters["features.computes"] == 2 * images  # two layers


def test_a_warm_store_needs_no_network(weights: str, tmp_path: Path):
    cold = fitted(weights, store=tmp_path).score(plates().test)
    warm = fitted(weights, store=tmp_path)
    assert np.array_equal(warm.score(plates().test).image, cold.image)
    assert warm.context.artifacts.counters["backbone_passes"] == 0
    assert warm.context.artifacts.counters["features.computes"] == 0


def test_layers_are_shared_between_sets_of_layers(weights: str, tmp_path: Path):
    fitted(weights, store=tmp_path, layers=("layer1", "layer2", "layer3"))
    fewer = fitted(weights, store=tmp_path, layers=("layer3", "layer1"))
    assert fewer.context.artifacts.counters["backbone_passes"] == 0


def test_the_store_changes_no_score(weights: str, tmp_path: Path):
    kept, computed = fitted(weights, store=tmp_path), fitted(weights)
    assert np.array_equal(kept.score(plates().test).image, computed.score(plates().test).image)


@pytest.mark.parametrize(
    "other", [{"precision": "bfloat16"}, {"image_size": 32}, {"mean": (0.1, 0.1, 0.1)}, {"crop": 32}]
)
def test_what_changes_features_changes_their_key(weights: str, tmp_path: Path, other: dict[str, Any]):
    fitted(weights, store=tmp_path)
    assert fitted(weights, store=tmp_path, **other).context.artifacts.counters["backbone_passes"] == 6


# Invariants and switches


def test_support_images_score_zero(weights: str):
    scores = fitted(weights, k=2, num_neighbours=1).score(plates().train.subset([1, 0]))
    assert scores.image.max() < 1e-5


def test_more_shots_never_score_higher(weights: str):
    by_k = [fitted(weights, k=k, num_neighbours=1).score(plates().test).image for k in (1, 2, 4)]
    assert (by_k[1] <= by_k[0] + 1e-6).all()
    assert (by_k[2] <= by_k[1] + 1e-6).all()


def test_order_of_support_is_irrelevant_without_a_coreset(weights: str):
    forth, back = (
        patchcore(weights).fit(FitData(plates().train.subset(order))).score(plates().test).image
        for order in ([0, 1, 2], [2, 1, 0])
    )
    np.testing.assert_allclose(forth, back, rtol=1e-6)


def test_coreset_keeps_its_ratio_and_depends_on_the_run_seed(weights: str):
    whole, first, again, other = (
        fitted(weights, coreset_ratio=ratio, run_seed=seed).bank.memory.rows
        for ratio, seed in ((1.0, 0), (0.25, 0), (0.25, 0), (0.25, 1))
    )
    assert len(first) == len(whole) // 4
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert {row.tobytes() for row in first} <= {row.tobytes() for row in whole}


def test_few_shots_keep_everything(weights: str):
    assert len(fitted(weights, k=4, coreset_ratio=0.1, coreset_above=4).bank.memory) == 4 * 64
    assert len(fitted(weights, k=5, coreset_ratio=0.1, coreset_above=4).bank.memory) == 5 * 64 // 10


@pytest.mark.parametrize(("ratio", "ignored"), [(1.0, {"run_seed"}), (0.1, set())])
def test_run_seed_is_ignored_without_a_coreset(ratio: float, ignored: set[str]):
    assert PatchCore.card.ignores(resolve(PatchCore, {"coreset_ratio": ratio})) == ignored


def test_a_crop_leaves_the_margin_of_the_map_empty(weights: str):
    maps = fitted(weights, crop=32).score(plates().test).maps
    assert maps is not None
    assert maps.shape[1:] == (8, 8)
    assert (maps[:, :2] == 0).all()
    assert (maps[:, 2:6, 2:6] > 0).all()


def test_a_crop_larger_than_the_image_is_refused(weights: str):
    with pytest.raises(ConfigError, match="crop 96 is larger than the image size 64"):
        fitted(weights, crop=96)


def test_lower_precision_stores_half_and_scores_alike(weights: str, tmp_path: Path):
    exact = fitted(weights).score(plates().test).image
    method = fitted(weights, store=tmp_path, precision="bfloat16")
    np.testing.assert_allclose(method.score(plates().test).image, exact, rtol=0.1)
    store = ArtifactStore(tmp_path)
    stored = features(plates().test, method.bank.recipe.spec, store, "cpu")
    assert {maps.dtype for image in stored for maps in image.values()} == {np.dtype(np.float16)}
    assert store.counters["features.computes"] == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"coreset_ratio": 0}, "coreset_ratio"),
        ({"neighbourhood": 4}, "must be odd"),
        ({"layers": []}, "layers"),
        ({"precison": "float32"}, "did you mean 'precision'"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(given: dict[str, Any], words: str):
    with pytest.raises(Problem, match=words):
        resolve(PatchCore, given)


def test_no_training_image_is_an_unmet_need(weights: str):
    with pytest.raises(NeedNotMet, match="at least one"):
        patchcore(weights).fit(FitData(ImageSet((), ())))


def test_three_lines_of_python(weights: str, tmp_path: Path):
    for part, images in (("good", plates().train), ("test", plates().test)):
        (tmp_path / part).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / part / f"{i:02d}.png")
    method = PatchCore(Context(), backbone="test_resnet", weights=weights, image_size=64)
    method = method.fit(FitData(train=ImageSet.of_folder(tmp_path / "good")))
    assert method.score(ImageSet.of_folder(tmp_path / "test")).image.shape == (20,)


@pytest.mark.slow
@pytest.mark.skipif(not (REAL.is_dir() and XCEPTION.is_file()), reason="LADDER_DATA and LADDER_WEIGHTS unset")
def test_real_bottles_at_four_shots(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    method = PatchCore(
        Context(artifacts=store),
        backbone="legacy_xception",
        weights=str(XCEPTION),
        layers=("block2", "block7"),
    ).fit(FitData(ImageSet.of_folder(REAL / "train" / "good").subset(range(4))))
    good, bad = (
        method.score(ImageSet.of_folder(REAL / "test" / name)).image for name in ("good", "logical_anomalies")
    )
    assert (bad[:, None] > good[None]).mean() > 0.9
