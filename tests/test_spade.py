"""SPADE against loops, the public code's gallery, and what shots and seeds share."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Context
from methods.shared.maps import pixel_map
from methods.spade import SPADE
from methods.spade.gallery import kept

TEST = plates().test.subset(range(0, 20, 4))
LAYERS = SPADE.layers


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint("test_resnet", tmp_path_factory.mktemp("weights")))


def fitted(weights: str, images: list[int], store: Path | None = None, **params: Any) -> SPADE:
    small: dict[str, Any] = dict(SPADE.check_params) | {"weights": weights} | params
    method = SPADE(Context(artifacts=ArtifactStore(store)), **small)
    return method.fit(FitData(plates().train.subset(images)))


# Slow twins


def slow_scores(method: SPADE, train: ImageSet, test: ImageSet, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Loops over images, normal images and positions, as the paper has them."""
    normal, seen = method._features(train), method._features(test)
    image, maps = [], []
    for query in seen:
        means = [np.linalg.norm(_pooled(query) - _pooled(each)) for each in normal]
        nearest = np.argsort(means)[:k]
        image.append(np.mean([means[i] for i in nearest]))
        grids = [_slow_grid(query[layer], [normal[i][layer] for i in nearest]) for layer in LAYERS]
        maps.append(pixel_map(grids, (64, 64), 4.0))
    return np.array(image), np.stack(maps)


def _pooled(maps: Any) -> np.ndarray:
    return maps["global_pool"].astype(np.float64)[:, 0, 0]


def _slow_grid(query: np.ndarray, normal: list[np.ndarray]) -> np.ndarray:
    gallery = np.concatenate([each.reshape(len(each), -1).T for each in normal]).astype(np.float64)
    grid = np.empty(query.shape[1:])
    for y, x in np.ndindex(*grid.shape):
        grid[y, x] = np.linalg.norm(gallery - query[:, y, x], axis=1).min()
    return grid


@pytest.mark.parametrize("k", [1, 2, 50])
def test_scores_are_those_of_plain_loops(weights: str, k: int):
    images = [0, 2, 3]
    method = fitted(weights, images, num_neighbours=k)
    scores = method.score(TEST)
    image, maps = slow_scores(method, plates().train.subset(images), TEST, k)
    np.testing.assert_allclose(scores.image, image, rtol=1e-6)
    assert scores.maps is not None
    np.testing.assert_allclose(scores.maps, maps, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(scores.parts["map"], scores.maps.max(axis=(1, 2)))


def test_squares_change_the_mean_and_not_the_nearest(weights: str):
    plain, squared = (
        fitted(weights, [0, 1, 2], num_neighbours=1, squared=s).score(TEST) for s in (False, True)
    )
    np.testing.assert_allclose(squared.image, plain.image**2)


# The public code's gallery


@pytest.mark.parametrize(
    ("images", "size", "expected"),
    [
        (1, 196, [100]),  # the numbers of the public code at 224: 100 of 196, 300 of 392
        (2, 196, [196, 104]),
        (5, 196, [196, 196, 196, 196, 116]),
        (4, 64, [64, 64, 64, 8]),
        (3, 49, [49, 49, 2]),
        (5, 45, [45, 45, 45, 45, 20]),
        (3, 36, [36, 36, 28]),
        (8, 16, [16, 16, 16, 16, 16, 16, 4, 0]),
        (1, 64, [64]),  # fewer than a hundred: the code has nothing left
    ],
)
def test_the_public_code_counts_by_the_hundred(images: int, size: int, expected: list[int]):
    assert kept(images, size, truncated=True) == expected
    assert kept(images, size, truncated=False) == [size] * images


def test_a_truncated_gallery_lacks_the_last_columns(weights: str):
    """Four images of 8 × 8 positions: 200 of 256 stay, of the farthest image the first column."""
    size = {"layers": ("layer2",), "num_neighbours": 4, "map_smoothing": 0.0, "truncated_gallery": True}
    method = fitted(weights, [0, 1, 2, 3], **size)
    query = method._features(TEST.subset([0]))[0]
    order = np.argsort([np.linalg.norm(_pooled(query) - _pooled(each)) for each in method.gallery.maps])
    whole = [method.gallery.maps[i]["layer2"] for i in order]
    grid = whole[0].shape[1:]
    assert grid == (8, 8)
    maps = method.score(TEST.subset([0])).maps
    expected = pixel_map([_slow_grid(query["layer2"], [*whole[:3], whole[3][:, :, :1]])], (64, 64), 0)
    assert maps is not None
    np.testing.assert_allclose(maps[0], expected, rtol=1e-4)


# Reuse and invariants


def test_shots_and_seeds_make_one_pass_and_one_array_per_pair(weights: str, tmp_path: Path):
    counters = []
    for images in ([0], [1, 0], [1, 0, 2, 3], [3]):
        method = fitted(weights, images, store=tmp_path, num_neighbours=50)
        method.score(TEST)
        counters.append(method.context.artifacts.counters)
    assert sum(c["backbone_passes"] for c in counters) == len(TEST) + 4
    assert sum(c["position_distances.computes"] for c in counters) == len(TEST) * 4 * len(LAYERS)


def test_fewer_layers_share_passes_and_distances(weights: str, tmp_path: Path):
    fitted(weights, [0, 1], store=tmp_path).score(TEST)
    fewer = fitted(weights, [0, 1], store=tmp_path, layers=("layer3", "layer1"))
    fewer.score(TEST)
    assert fewer.context.artifacts.counters["backbone_passes"] == 0
    assert fewer.context.artifacts.counters["position_distances.computes"] == 0


def test_more_shots_never_raise_a_distance(weights: str):
    shots = ([0], [0, 1], [0, 1, 2, 3])
    nearest = [fitted(weights, images, num_neighbours=1).score(TEST).image for images in shots]
    maps = [fitted(weights, images, num_neighbours=50).score(TEST).maps for images in shots]
    for few, more in pairwise(nearest):
        assert (more <= few).all()
    for few, more in pairwise(maps):
        assert few is not None and more is not None
        assert (more <= few + 1e-5).all()


def test_order_of_support_is_irrelevant(weights: str):
    forth, back = (fitted(weights, order).score(TEST) for order in ([0, 1, 2], [2, 1, 0]))
    np.testing.assert_array_equal(forth.image, back.image)
    assert forth.maps is not None
    assert back.maps is not None
    np.testing.assert_array_equal(forth.maps, back.maps)


def test_an_image_twice_in_a_batch_scores_as_alone(weights: str):
    method = fitted(weights, [0, 1])
    twice, alone = method.score(TEST.subset([1, 1, 2])), method.score(TEST.subset([1]))
    assert twice.image[0] == twice.image[1] == alone.image[0]


def test_a_support_image_scores_zero(weights: str):
    scores = fitted(weights, [0, 1], num_neighbours=1).score(plates().train.subset([1]))
    assert scores.image[0] == 0
    assert scores.maps is not None
    assert scores.maps.max() < 1e-4


def test_the_mean_of_any_layer_may_stand_for_an_image(weights: str):
    pooled, mean = (
        fitted(weights, [0, 1], global_layer=name).score(TEST) for name in ("global_pool", "layer4")
    )
    np.testing.assert_allclose(pooled.image, mean.image, rtol=1e-5)


def test_no_training_image_is_an_unmet_need(weights: str):
    with pytest.raises(NeedNotMet, match="at least one"):
        SPADE(Context(), weights=weights, backbone="test_resnet").fit(FitData(ImageSet((), ())))
