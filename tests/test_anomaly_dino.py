"""AnomalyDINO against a slow twin written from the paper, and what must hold of a nearest neighbour."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Context
from methods.anomaly_dino import AnomalyDINO
from methods.anomaly_dino.mask import first_component, foreground, masked
from methods.shared.backbones.frozen import load
from methods.shared.pixels import Geometry, resized
from methods.shared.turning import Turn, turned
from methods.shared.weights import find

SIDE = 64


def anomaly_dino(store: Path | None = None, **params: Any) -> AnomalyDINO:
    return AnomalyDINO(Context(artifacts=ArtifactStore(store)), **dict(AnomalyDINO.check_params) | params)


def fitted(k: int = 2, order: list[int] | None = None, **params: Any) -> AnomalyDINO:
    return anomaly_dino(**params).fit(FitData(plates().train.subset(order or range(k))))


def tokens(images: list[np.ndarray], layer: str = "norm") -> list[np.ndarray]:
    network = load(find("vit_small_patch14_dinov2", "demo"), (layer,), "cpu")
    return [maps[layer].reshape(64, -1).T.astype(float) for maps in network(images)]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def enlarged(grid: np.ndarray) -> np.ndarray:
    """Bilinear to 64 × 64 pixels, σ 4 over these, and of every patch the four pixels about its centre."""
    at = np.clip((np.arange(SIDE) + 0.5) / 8 - 0.5, 0, 7)
    large = map_coordinates(grid, np.meshgrid(at, at, indexing="ij"), order=1)
    smooth = gaussian_filter(large, 4)
    return smooth.reshape(8, 8, 8, 8)[:, 3:5, :, 3:5].mean(axis=(1, 3))


def slowly(train: ImageSet, image: np.ndarray, rotations: int, layers: tuple[str, ...]) -> np.ndarray:
    """Cosine distance of every patch to all patches of all turned images, the least of each."""
    angles = [360 * i / rotations for i in range(rotations)]
    copies = [turned(each, Turn(angle)) for each in train for angle in angles]
    total = 0
    for layer in layers:
        bank = unit(np.concatenate(tokens(copies, layer)))
        total = total + (1 - unit(tokens([image], layer)[0]) @ bank.T) / len(layers)
    return np.asarray(total).min(axis=1)


@pytest.mark.parametrize(("rotations", "layers"), [(1, ("norm",)), (4, ("norm",)), (2, ("blocks.3", "norm"))])
def test_scores_follow_the_paper(rotations: int, layers: tuple[str, ...]):
    method = fitted(2, rotations=rotations, layers=layers)
    scores = method.score(plates().test.subset([3, 12]))
    assert scores.maps is not None
    for i, place in enumerate([3, 12]):
        expected = slowly(plates().train.subset([0, 1]), plates().test[place], rotations, layers)
        assert scores.image[i] == pytest.approx(expected.max(), rel=1e-4)  # one of 64 patches is 1 %
        np.testing.assert_allclose(scores.maps[i], enlarged(expected.reshape(8, 8)), rtol=0.02)


def test_the_score_is_the_mean_of_the_farthest_patches():
    expected = np.sort(slowly(plates().train.subset([0]), plates().test[12], 1, ("norm",)))[::-1]
    scores = fitted(1, rotations=1, top_fraction=0.1).score(plates().test.subset([12]))
    assert scores.image[0] == pytest.approx(expected[:6].mean(), rel=1e-4)
    assert scores.parts["largest"][0] == pytest.approx(expected[0], rel=1e-4)


def test_more_shots_never_raise_a_distance():
    maps = [fitted(k, map_smoothing=0.0).score(plates().test.subset(range(6))).maps for k in (1, 2, 4)]
    assert maps[0] is not None and maps[1] is not None and maps[2] is not None
    assert (maps[1] <= maps[0]).all() and (maps[2] <= maps[1]).all()
    assert (maps[2] < maps[0]).any()


def test_the_order_of_the_support_does_not_matter():
    one, other = (fitted(order=order).score(plates().test) for order in ([0, 1, 2], [2, 0, 1]))
    np.testing.assert_allclose(one.image, other.image, rtol=1e-5)


def test_an_image_of_another_shape_is_brought_to_that_of_the_first():
    wide = [np.concatenate([image, image[:, :30]], axis=1) for image in plates().train]
    method = anomaly_dino().fit(FitData(ImageSet.of_arrays(wide[:2])))
    assert method.geometry == Geometry(64, 94)
    scores = method.score(ImageSet.of_arrays([wide[3], plates().test[0]]))
    assert scores.maps is not None and scores.maps.shape == (2, 8, 11)
    square = anomaly_dino(aspect="square").fit(FitData(ImageSet.of_arrays(wide[:2])))
    assert square.geometry == Geometry(64, 64)


def test_one_pass_per_image_and_angle(tmp_path: Path):
    store = tmp_path / "store"
    anomaly_dino(store, rotations=4).fit(FitData(plates().train.subset([0, 1, 2])))
    again = anomaly_dino(store, rotations=4)
    again.fit(FitData(plates().train.subset([1, 2, 3]))).score(plates().train)
    # of image 3 four; of 4 and 5 one each, upright; all others were there
    assert again.context.artifacts.counters["backbone_passes"] == 4 + 2


# The mask


def blob(rng: np.random.Generator, sign: float) -> np.ndarray:
    """Features of 14 × 14 patches of which a square in the middle differs along one direction."""
    vectors = rng.normal(0, 0.1, (14, 14, 5))
    vectors[4:10, 4:10, 3] += 40 * sign
    return vectors.reshape(196, 5).astype(np.float32)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_mask_keeps_the_middle_whichever_sign_it_has(sign: float):
    kept = foreground(blob(np.random.default_rng(0), sign), (14, 14), 10).reshape(14, 14)
    expected = np.zeros((14, 14), bool)
    expected[3:11, 3:11] = True  # enlarged by one
    assert np.array_equal(kept, expected)


def test_closing_fills_a_hole_and_leaves_the_border_alone():
    vectors = blob(np.random.default_rng(0), 1.0).reshape(14, 14, 5)
    vectors[7, 7, 3] = 0
    vectors[:2, :, 3] += 40  # up to the border
    kept = foreground(vectors.reshape(196, 5), (14, 14), 10).reshape(14, 14)
    assert kept[7, 7] and kept[0].all()


def test_the_first_component_is_that_of_a_singular_value_decomposition():
    vectors = np.random.default_rng(2).normal(0, [1, 3, 2, 1], (50, 4)).astype(np.float32)
    centred = vectors - vectors.mean(axis=0)
    direction = np.linalg.svd(centred.astype(float), full_matrices=False)[2][0]
    expected = centred @ (direction * np.sign(direction[np.abs(direction).argmax()]))
    np.testing.assert_allclose(first_component(vectors), expected, atol=1e-5)


def test_masked_patches_have_distance_zero_and_the_bank_keeps_them():
    """A threshold that no patch reaches leaves nothing of a test image."""
    method = fitted(1, mask="pca", mask_threshold=1e9)
    scores = method.score(plates().test.subset([12]))
    assert scores.image[0] == 0 and len(method.bank) == len(fitted(1).bank)
    raw = tokens([plates().train[0]])[0].astype(np.float32)
    threshold = float(np.quantile(first_component(raw), 0.9))
    some = fitted(1, rotations=1, mask="pca", mask_threshold=threshold, mask_reference=True)
    assert len(some.bank) == foreground(raw, (8, 8), threshold).sum() < 64


def test_the_papers_choice_is_per_object():
    assert masked("paper", "screw") and masked("paper", "pcb1")
    assert not masked("paper", "bottle") and not masked("paper", "juice_bottle/cherry")
    assert masked("pca", "bottle") and not masked("off", "screw")


def test_no_image_is_a_need():
    with pytest.raises(NeedNotMet, match="at least one training image"):
        anomaly_dino().fit(FitData(ImageSet((), ())))


def test_sizes_are_those_it_asks_for():
    sizes = AnomalyDINO.card.sizes({"image_size": 448, "aspect": "keep"}, (1280, 1600))
    assert list(sizes) == [Geometry(448, 560)]
    assert resized(plates().train.subset([0]), Geometry(8, 8), ArtifactStore(None))[0].shape == (8, 8, 3)
