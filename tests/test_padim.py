"""PaDiM against explicit inverses, its switches, and what shots and seeds share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import checkpoint

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Context
from harness.params import resolve
from methods.padim import PaDiM
from methods.padim.embedding import chosen_channels, position_vectors
from methods.padim.gaussian import FewSamples, ManySamples, gaussians
from methods.shared.maps import around, pixel_map


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint("test_resnet", tmp_path_factory.mktemp("weights")))


def padim(weights: str, store: Path | None = None, run_seed: int = 0, **params: Any) -> PaDiM:
    small: dict[str, Any] = dict(PaDiM.check_params) | {"weights": weights} | params
    return PaDiM(Context(run_seed=run_seed, artifacts=ArtifactStore(store)), **small)


def fitted(weights: str, images: list[int], **options: Any) -> PaDiM:
    return padim(weights, **options).fit(FitData(plates().train.subset(images)))


# Slow twins


def slow_distances(samples: np.ndarray, vectors: np.ndarray, floor: float) -> np.ndarray:
    """One position after the other, the covariance inverted; none where there is one sample."""
    found = []
    for own, vector in zip(samples.astype(np.float64), vectors.astype(np.float64), strict=True):
        spread = np.cov(own, rowvar=False) if len(own) > 1 else np.zeros((own.shape[1],) * 2)
        inverse = np.linalg.inv(spread + floor * np.eye(own.shape[1]))
        delta = vector - own.mean(axis=0)
        found.append(np.sqrt(delta @ inverse @ delta))
    return np.array(found)


@pytest.mark.parametrize("number", [1, 2, 4, 19, 20, 21, 60])
def test_distances_are_those_of_explicit_inverses(number: int):
    rng = np.random.default_rng(number)
    samples = rng.normal(1, 2, (7, number, 20)).astype(np.float32)
    samples[3] = samples[3, :1]  # all alike: no variance at all
    vectors = rng.normal(1, 2, (7, 20)).astype(np.float32)
    normal = gaussians(torch.tensor(samples), 0.01)
    assert isinstance(normal, FewSamples if number <= 20 else ManySamples)
    expected = slow_distances(samples, vectors, 0.01)
    np.testing.assert_allclose(normal.distances(torch.tensor(vectors)), expected, rtol=2e-5)


def test_samples_themselves_keep_their_digits():
    """Of two samples each lies at √½, however large they are: nothing of it is lost beside 1 / λ."""
    samples = np.random.default_rng(0).normal(0, 30, (5, 2, 500)).astype(np.float32)
    found = gaussians(torch.tensor(samples), 0.01).distances(torch.tensor(samples[:, 1]))
    np.testing.assert_allclose(found, np.sqrt(0.5), rtol=1e-4)


def test_one_sample_measures_ten_times_the_euclidean_distance():
    rng = np.random.default_rng(0)
    only, vectors = (rng.normal(size=(6, 30)).astype(np.float32) for _ in range(2))
    found = gaussians(torch.tensor(only[:, None]), 0.01).distances(torch.tensor(vectors))
    np.testing.assert_allclose(found, 10 * np.linalg.norm(vectors - only, axis=1), rtol=1e-6)


def test_a_vector_is_the_chosen_channels_of_the_layers_above_a_position():
    rng = np.random.default_rng(0)
    maps = {"a": rng.normal(size=(3, 4, 4)), "b": rng.normal(size=(5, 2, 2))}
    vectors, grid = position_vectors(maps, 6, 7)
    assert grid == (4, 4)
    first, second = chosen_channels([3, 5], 6, 7)
    for y in range(4):
        for x in range(4):
            expected = [*maps["a"][first, y, x], *maps["b"][second, y // 2, x // 2]]
            np.testing.assert_allclose(vectors[4 * y + x], expected, rtol=1e-6)


def test_channels_are_drawn_once_per_seed():
    assert chosen_channels([30, 70], 10, 1) == chosen_channels([30, 70], 10, 1)
    assert chosen_channels([30, 70], 10, 1) != chosen_channels([30, 70], 10, 2)
    assert sum(map(len, chosen_channels([30, 70], 10, 1))) == 10
    for every in (None, 100, 550):
        assert chosen_channels([3, 4], every, 0) == [[0, 1, 2], [0, 1, 2, 3]]


def test_a_map_is_interpolated_at_pixel_centres_then_smoothed():
    grid = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    at = (np.arange(16) + 0.5) / 4 - 0.5
    rows = np.stack([np.interp(at, np.arange(4), row) for row in grid])
    expected = np.stack([np.interp(at, np.arange(4), column) for column in rows.T]).T
    np.testing.assert_allclose(pixel_map([grid, 3 * grid], (16, 16), 0), 2 * expected, atol=1e-6)
    assert pixel_map([grid], (16, 16), 4).std() < expected.std()


def test_the_margin_of_a_crop_is_empty():
    whole = around(np.ones((3, 3), np.float32), 8)
    assert whole.shape == (8, 8)
    assert whole.sum() == whole[2:5, 2:5].sum() == 9


def test_scores_follow_from_the_features(weights: str):
    method = fitted(weights, [0, 1, 2], map_smoothing=0.0)
    train = np.stack(
        [method._vectors(maps)[0] for maps in method._features(plates().train.subset([0, 1, 2]))]
    )
    vectors, grid = method._vectors(method._features(plates().test.subset([3]))[0])
    distances = slow_distances(train.swapaxes(0, 1), vectors.numpy(), 0.01).reshape(grid)
    scores = method.score(plates().test.subset([3]))
    assert scores.maps is not None
    np.testing.assert_allclose(scores.maps[0], pixel_map([distances], (64, 64), 0), rtol=1e-4)
    assert scores.image[0] == scores.maps.max()


# Reuse, invariants, switches


def test_shots_and_seeds_touch_each_image_once(weights: str, tmp_path: Path):
    test = plates().test.subset(range(4))
    for images, seed in (([0], 0), ([1, 0], 0), ([2], 1), ([2, 3, 1, 0], 1)):
        method = fitted(weights, images, store=tmp_path, run_seed=seed)
        method.score(test)
        passes = method.context.artifacts.counters["backbone_passes"]
        assert passes == {(0, 1): 5, (0, 2): 1, (1, 1): 1, (1, 4): 1}[seed, len(images)]


def test_order_of_support_is_irrelevant(weights: str):
    forth, back = (fitted(weights, order).score(plates().test).image for order in ([0, 1, 2], [2, 1, 0]))
    np.testing.assert_allclose(forth, back, rtol=1e-5)


def test_a_support_image_scores_zero_where_it_is_alone(weights: str):
    assert fitted(weights, [2]).score(plates().train.subset([2])).image[0] < 1e-4


def test_more_samples_than_dimensions_score_alike(weights: str):
    """The two ways to the same distance, over the same images and channels."""
    few = fitted(weights, [0, 1, 2, 3], dimension=4)
    many = fitted(weights, [0, 1, 2, 3], dimension=3)
    assert isinstance(few.normal, FewSamples)
    assert isinstance(many.normal, ManySamples)
    assert (few.score(plates().test).image > 0).all()
    assert (many.score(plates().test).image > 0).all()


@pytest.mark.parametrize(("dimension", "ignored"), [(None, {"run_seed"}), (60, set())])
def test_run_seed_chooses_the_channels(weights: str, dimension: int | None, ignored: set[str]):
    assert PaDiM.card.ignores(resolve(PaDiM, {"dimension": dimension})) == ignored
    one, other = (
        fitted(weights, [0], dimension=dimension, run_seed=s).score(plates().test).image for s in (0, 1)
    )
    assert np.array_equal(one, other) == bool(ignored)


def test_a_crop_looks_at_the_centre(weights: str):
    maps = fitted(weights, [0], crop=32).score(plates().test.subset([0])).maps
    assert maps is not None
    assert maps.shape == (1, 64, 64)
    assert (maps[:, :16] == 0).all()
    assert (maps[:, 16:48, 16:48] > 0).any()


def test_no_training_image_is_an_unmet_need(weights: str):
    with pytest.raises(NeedNotMet, match="at least one"):
        padim(weights).fit(FitData(ImageSet((), ())))
