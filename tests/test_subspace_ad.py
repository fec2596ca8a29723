"""SubspaceAD against a slow twin that holds all vectors at once, and the sums that make it cheap."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import ConfigError, NeedNotMet
from harness.method import Context
from methods.shared.backbones.features import FeatureSpec
from methods.shared.backbones.frozen import load
from methods.shared.pixels import Geometry
from methods.shared.turning import turned
from methods.shared.weights import find
from methods.subspace_ad import SubspaceAD
from methods.subspace_ad.moments import MomentSpec, combined, total_moments
from methods.subspace_ad.subspace import Subspace

LAYERS = ("blocks.6", "blocks.7", "blocks.8")
SPEC = MomentSpec(
    FeatureSpec("vit_small_patch14_dinov2", "demo", LAYERS, Geometry(64, 64)), "mean", 3, 0, "mirror"
)


def subspace_ad(store: Path | None = None, **params: Any) -> SubspaceAD:
    return SubspaceAD(Context(artifacts=ArtifactStore(store)), **dict(SubspaceAD.check_params) | params)


def fitted(order: list[int], **params: Any) -> SubspaceAD:
    return subspace_ad(**params).fit(FitData(plates().train.subset(order)))


def tokens(image: np.ndarray, combine: str = "mean") -> np.ndarray:
    """Vectors of the patches of one image, row by row, (64, d)."""
    network = load(find("vit_small_patch14_dinov2", "demo"), LAYERS, "cpu")
    layers = [np.array([maps[:, y, x] for y in range(8) for x in range(8)], float)
              for maps in network([image])[0].values()]  # fmt: skip
    return np.mean(layers, axis=0) if combine == "mean" else np.concatenate(layers, axis=1)


def everything(images: ImageSet, combine: str = "mean") -> np.ndarray:
    """All vectors of images and of their turned copies."""
    turns = [SPEC.turns(images.key(i)) for i in range(len(images))]
    copies = [turned(image, t) for image, ts in zip(images, turns, strict=True) for t in ts]
    return np.concatenate([tokens(image, combine) for image in (*images, *copies)])


def residuals(train: np.ndarray, vectors: np.ndarray, explained: float) -> np.ndarray:
    """By a singular value decomposition of all centred vectors, and the projection taken away."""
    mean = train.mean(axis=0)
    _, s, directions = np.linalg.svd(train - mean, full_matrices=False)
    r = next(i for i in range(1, len(s) + 1) if (s[:i] ** 2).sum() >= explained * (s**2).sum())
    kept = directions[:r]
    rest = (vectors - mean) - (vectors - mean) @ kept.T @ kept
    return (rest**2).sum(axis=1)


@pytest.mark.parametrize("combine", ["mean", "concat"])
@pytest.mark.parametrize("explained", [0.8, 0.99])
def test_maps_are_the_residuals_of_a_singular_value_decomposition(combine: str, explained: float):
    method = fitted([0, 1], combine=combine, pca_ev=explained)
    scores = method.score(plates().test.subset([3, 12]))
    train = everything(plates().train.subset([0, 1]), combine)
    assert scores.maps is not None
    for i, place in enumerate([3, 12]):
        expected = residuals(train, tokens(plates().test[place], combine), explained)
        np.testing.assert_allclose(scores.maps[i].ravel(), expected, rtol=2e-3)
        assert scores.parts["patches"][i] == pytest.approx(expected.max(), rel=2e-3)  # one of 64 is 1 %


def test_the_score_is_taken_from_the_enlarged_map():
    """Bilinear with half-pixel centres, 3 × 3 Gaussian mirrored at the border, the largest hundredth."""
    method = fitted([0])
    scores = method.score(plates().test.subset([12]))
    assert scores.maps is not None
    at = np.clip((np.arange(64) + 0.5) / 8 - 0.5, 0, 7)
    rows = np.array([np.interp(at, np.arange(8), column) for column in scores.maps[0].T.astype(float)]).T
    large = np.pad(np.array([np.interp(at, np.arange(8), row) for row in rows]), 1, mode="reflect")
    w = np.exp(-np.array([1, 0, 1]) / 32)
    w = np.outer(w, w) / w.sum() ** 2
    parts = [w[y, x] * large[y : y + 64, x : x + 64] for y in range(3) for x in range(3)]
    blurred = np.sum(parts, axis=0)
    expected = np.sort(blurred.ravel())[-40:].mean()
    assert scores.image[0] == scores.parts["map"][0] == pytest.approx(expected, rel=1e-5)
    other = fitted([0], score_of="patches").score(plates().test.subset([12]))
    assert other.image[0] == scores.parts["patches"][0]


def test_moments_are_counts_sums_and_products():
    images = plates().train.subset([0, 2])
    x = everything(images)
    found = total_moments(images, SPEC, ArtifactStore(None), "cpu")
    assert found.dtype == np.float64 and found[-1, -1] == len(x) == 2 * 4 * 64
    np.testing.assert_allclose(found[-1, :-1], x.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[:-1, :-1], x.T @ x, rtol=1e-4, atol=1e-2)


def test_a_large_mean_does_not_drown_a_small_spread():
    """The reason for float64: tokens whose mean is 10,000 times their spread."""
    rng = np.random.default_rng(0)
    x = 1e4 + rng.normal(0, [1, 0.5, 0.1], (500, 3))
    extended = np.concatenate([x, np.ones((500, 1))], axis=1)
    found = Subspace.of(extended.T @ extended, 0.9)
    test = 1e4 + rng.normal(0, 1, (20, 3))
    np.testing.assert_allclose(found.residuals(test.astype(np.float32)), residuals(x, test, 0.9), rtol=0.02)


def test_a_support_set_is_a_sum_and_needs_no_pass(tmp_path: Path):
    subspace_ad(tmp_path).fit(FitData(plates().train.subset([0, 1, 2])))
    again = subspace_ad(tmp_path).fit(FitData(plates().train.subset([2, 1])))
    assert again.context.artifacts.counters["backbone_passes"] == 0
    more = subspace_ad(tmp_path).fit(FitData(plates().train.subset([1, 3])))
    assert more.context.artifacts.counters["backbone_passes"] == 1 + 3


def test_the_order_of_the_support_changes_no_bit():
    one, other = (fitted(order).score(plates().test.subset([4, 9])) for order in ([0, 1, 2], [2, 0, 1]))
    assert np.array_equal(one.image, other.image)


def test_angles_depend_on_the_image_and_the_seed():
    one, other = (SPEC.turns(plates().train.key(i)) for i in range(2))
    assert one == SPEC.turns(plates().train.key(0)) and one != other
    assert len({t.degrees for t in (*one, *other)}) == 6
    again = fitted([0], rotation_seed=1).score(plates().test.subset([3])).image
    assert again[0] != fitted([0]).score(plates().test.subset([3])).image[0]


@pytest.mark.parametrize("number", [1, 5])
def test_fewer_vectors_than_dimensions_are_defined(number: int):
    x = np.random.default_rng(0).normal(size=(number, 8))
    extended = np.concatenate([x, np.ones((number, 1))], axis=1)
    found = Subspace.of(extended.T @ extended, 0.99)
    np.testing.assert_allclose(found.residuals(x.astype(np.float32)), 0, atol=0.05 * (x**2).sum())
    far = found.residuals(x.astype(np.float32) + 10)
    assert np.isfinite(far).all() and (far > 0).all()
    assert found.outside.shape[1] == 8 - (number - 1)


def test_layers_of_different_widths_have_no_mean():
    maps = {"a": np.zeros((3, 2, 2)), "b": np.zeros((4, 2, 2))}
    with pytest.raises(ConfigError, match="a has 3, b has 4"):
        combined(maps, "mean", "cpu")
    assert combined(maps, "concat", "cpu")[0].shape == (4, 7)


def test_no_image_is_a_need():
    with pytest.raises(NeedNotMet, match="at least one training image"):
        subspace_ad().fit(FitData(ImageSet((), ())))


def test_no_rotation_is_the_images_alone():
    images = plates().train.subset([0])
    method = fitted([0], rotations=0)
    expected = residuals(tokens(images[0]), tokens(plates().test[3]), 0.99)
    scores = method.score(plates().test.subset([3]))
    assert scores.parts["patches"][0] == pytest.approx(expected.max(), rel=2e-3)
