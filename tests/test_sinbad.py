"""SINBAD against explicit inverses and loops, its switches, and what shots and seeds share."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from checkpoints import checkpoint

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Context, Task
from harness.params import Problem, resolve
from methods.shared.backbones import names
from methods.shared.backbones.frozen import load
from methods.sinbad import SINBAD
from methods.sinbad.banks import _weights
from methods.sinbad.crops import PIXELS, crop, drawn_directions
from methods.sinbad.sets import descriptor, thresholds
from methods.sinbad.whitening import Whitened

TEST, VALIDATION = plates().test.subset([0, 9, 19]), plates().validation.subset([0, 1])
SMALL = {"projections": 7, "pixel_repetitions": 2}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint("test_resnet", tmp_path_factory.mktemp("weights")))


def fitted(weights: str, images: list[int], store: Path | None = None, **params: Any) -> SINBAD:
    method = SINBAD(
        Context(artifacts=ArtifactStore(store)),
        **{**SINBAD.check_params, **SMALL, "norm_source": "validation", "weights": weights, **params},
    )
    return method.fit(FitData(plates().train.subset(images), VALIDATION))


# Slow twins


def slow_distance(train: np.ndarray, vector: np.ndarray, shrinkage: float, power: float) -> float:
    """The covariance made, shrunk and inverted."""
    spread = np.cov(train, rowvar=False, bias=True)
    d = len(spread)
    shrunk = (1 - shrinkage) * spread + shrinkage * np.trace(spread) / d * np.eye(d)
    values, vectors = np.linalg.eigh(shrunk if spread.any() else np.eye(d))
    whitening = vectors / values**power @ vectors.T
    return float((((train - vector) @ whitening) ** 2).sum(axis=1).min())


@pytest.mark.parametrize("number", [1, 2, 5, 30, 60])
@pytest.mark.parametrize("shrinkage", [0.1, 1.0])
@pytest.mark.parametrize(("whiten", "power"), [("inverse", 1.0), ("inverse_root", 0.5)])
def test_whitened_distances_are_those_of_an_explicit_inverse(
    number: int, shrinkage: float, whiten: Literal["inverse", "inverse_root"], power: float
):
    rng = np.random.default_rng(number)
    train, vectors = rng.uniform(size=(number, 30)), rng.uniform(size=(4, 30))
    bank = Whitened.of(train, shrinkage, whiten)
    for vector in (*vectors, train[0]):
        expected = slow_distance(train, vector, shrinkage, power)
        assert bank.nearest(vector) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("train", [np.full((1, 9), 0.3), np.full((3, 9), 0.1), np.zeros((4, 9))])
def test_without_variance_distances_are_plain(train: np.ndarray):
    assert Whitened.of(train, 0.1, "inverse").nearest(train[0] + 2) == pytest.approx(36)


def test_thresholds_and_fractions_by_hand():
    values = np.arange(101, dtype=np.float32).reshape(1, 1, 101)
    limits = thresholds(values)  # 1 % is 1, 99 % is 99
    np.testing.assert_allclose(limits[0], 1 + 98 * np.arange(1, 6) / 6, rtol=1e-6)
    np.testing.assert_allclose(
        descriptor(values[0], limits), [18 / 101, 34 / 101, 50 / 101, 67 / 101, 83 / 101]
    )


def cubic(x: float) -> float:
    """The kernel with a = -0.75, which OpenCV and torch have."""
    x = abs(x)
    if x <= 1:
        return 1.25 * x**3 - 2.25 * x**2 + 1
    return -0.75 * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


@pytest.mark.parametrize("own", [1, 2, 3, 4])
def test_the_mean_of_an_enlarged_grid_is_a_weighted_mean(own: int):
    line = np.zeros(own)
    for place in (np.arange(4) + 0.5) * own / 4 - 0.5:
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            line[np.clip(tap, 0, own - 1)] += cubic(place - tap) / 4
    np.testing.assert_allclose(_weights(own * own, 4, "cubic"), np.outer(line, line).ravel(), atol=1e-7)
    np.testing.assert_allclose(_weights(own * own, 4, "plain"), 1 / own**2)


def test_a_crop_takes_the_nearest_pixels():
    canvas = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    found = crop(canvas, (8, 4, 30), 20)
    for y, x in np.ndindex(20, 20):
        assert (found[y, x] == canvas[8 + int(y * 1.5), 4 + int(x * 1.5)]).all()
    assert (crop(canvas, (8, 4, 30), 30) == canvas[8:38, 4:34]).all()


def test_there_are_thirty_crops_of_four_sizes(weights: str):
    spec = SINBAD(Context(), weights=weights, backbone="test_resnet")._spec.crops
    assert [len(spec.boxes(ratio)) for ratio in spec.ratios] == [16, 9, 4, 1]
    assert [spec.boxes(ratio)[-1] for ratio in spec.ratios] == [
        (768, 768, 256),
        (512, 512, 512),
        (256, 256, 716),
        (0, 0, 1013),
    ]


def test_scores_are_those_of_plain_loops(weights: str):
    """Pictures of 64 × 64 fill the canvas; everything else as in the paper, crop by crop."""
    method = fitted(weights, [0, 1, 2], crop_mean="plain")
    train, test = plates().train.subset([0, 1, 2]), TEST
    spec = method._spec.crops
    network = load(spec.features.file, tuple(sorted(method.layers)), "cpu")
    crops = lambda image: network([crop(image, box, 32) for box in spec.every_box])  # noqa: E731
    sets = {
        name: [crops(image) for image in images]
        for name, images in (("train", train), ("validation", VALIDATION), ("test", test))
    }
    total = np.zeros(len(test))
    for layer in method.layers:
        ratios = []
        for places in (range(9), range(9, 10)):
            distances = {"validation": np.zeros(len(VALIDATION)), "test": np.zeros(len(test))}
            for place in places:
                values = {
                    name: [_projected(image[place][layer], layer, place) for image in images]
                    for name, images in sets.items()
                }
                for name in distances:
                    distances[name] += _slow_sets(values["train"], values[name]) / len(places)
            ratios.append(distances["test"] / distances["validation"].mean())
        total += np.mean(ratios, axis=0) / 2
    pixels = []
    for repetition in range(2):
        values = [
            [
                drawn_directions(0, PIXELS, repetition, 10, 3)
                @ (crop(image, (0, 0, 63), 32).reshape(-1, 3).T / 255)
                for image in images
            ]
            for images in (train, VALIDATION, test)
        ]
        found, scale = (_slow_sets(values[0], values[i], 1.0) for i in (2, 1))
        pixels.append(found / scale.mean())
    scores = method.score(test)
    np.testing.assert_allclose(scores.image, total + 0.1 * np.median(pixels, axis=0), rtol=1e-3)
    np.testing.assert_allclose(scores.parts["pixels"], np.median(pixels, axis=0), rtol=1e-3)


def _projected(maps: np.ndarray, layer: str, place: int) -> np.ndarray:
    """As it is kept: float16."""
    drawn = drawn_directions(0, layer, place, 7, len(maps))
    return (drawn @ maps.reshape(len(maps), -1)).astype(np.float16)


def _slow_sets(train: list[np.ndarray], test: list[np.ndarray], shrinkage: float = 0.1) -> np.ndarray:
    limits = []
    for direction in range(len(train[0])):
        values = np.concatenate([each[direction] for each in train]).astype(np.float32)
        low, high = np.quantile(values, 0.01), np.quantile(values, 0.99)
        limits.append([low + (high - low) * (i + 1) / 6 for i in range(5)])

    def described(image: np.ndarray) -> np.ndarray:
        return np.array(
            [np.mean(v.astype(np.float32) < t) for v, ts in zip(image, limits, strict=True) for t in ts]
        )

    vectors = np.stack([described(each) for each in train])
    return np.array([slow_distance(vectors, described(each), shrinkage, 1.0) for each in test])


# Reuse, invariants, switches


def test_shots_and_seeds_touch_each_image_once(weights: str, tmp_path: Path):
    passes = 0
    for images in ([0], [1, 0], [1, 0, 2, 3]):
        method = fitted(weights, images, store=tmp_path)
        method.score(TEST)
        passes += method.context.artifacts.counters["backbone_passes"]
    assert passes == 4 + len(VALIDATION) + len(TEST)
    fewer = fitted(weights, [3], store=tmp_path, layers=("layer3",))
    fewer.score(TEST)
    assert fewer.context.artifacts.counters["backbone_passes"] == 0


def test_order_of_support_is_irrelevant(weights: str):
    forth, back = (fitted(weights, order).score(TEST).image for order in ([0, 1, 2], [2, 1, 0]))
    np.testing.assert_allclose(forth, back, rtol=1e-6)


def test_an_image_scores_as_alone_in_whatever_company(weights: str):
    """The public code fits thresholds anew on every split: there it does not."""
    method = fitted(weights, [0, 1])
    assert method.score(TEST).image[1] == method.score(TEST.subset([1])).image[0]


def test_a_support_image_scores_zero(weights: str):
    assert fitted(weights, [0, 1]).score(plates().train.subset([1])).image[0] == pytest.approx(0, abs=1e-9)


def test_one_image_has_no_covariance_and_is_compared_plainly(weights: str):
    by = {w: fitted(weights, [0], whiten=w).score(TEST).image for w in ("inverse", "inverse_root")}
    np.testing.assert_array_equal(by["inverse"], by["inverse_root"])
    assert (by["inverse"] > 0).all()


def test_a_picture_that_does_not_fill_the_canvas(weights: str):
    wide = ImageSet.of_arrays([image[:20] for image in plates().test.subset([0, 19])])
    method = fitted(weights, [0, 1], norm_source="none").fit(FitData(wide.subset([0])))
    assert method.score(wide).image[0] == 0
    assert method.score(wide).image[1] > 0


def test_scales_come_from_whom_the_parameter_says(weights: str):
    method = fitted(weights, [0, 1, 2], norm_source="support_loo")
    others = [fitted(weights, [j for j in range(3) if j != i], norm_source="none") for i in range(3)]
    raw = [m.bank.distances(m._readings(plates().train.subset([i]))[0]) for i, m in enumerate(others)]
    np.testing.assert_allclose(method.scales["layer3"], np.mean([r["layer3"] for r in raw], axis=0))
    assert fitted(weights, [0], norm_source="none").scales == {}


@pytest.mark.parametrize(
    ("source", "n_train", "n_validation", "words"),
    [
        ("validation", 1, 0, "needs a validation image"),
        ("validation", 1, 1, None),
        ("support_loo", 1, 9, "2 or more training images"),
        ("support_loo", 2, 0, None),
        ("none", 1, 0, None),
    ],
)
def test_too_few_normal_images_are_an_unmet_need(
    source: str, n_train: int, n_validation: int, words: str | None, weights: str
):
    params = resolve(SINBAD, {"norm_source": source})
    reason = SINBAD.card.unmet(params, Task("d", "c", n_train, n_train, n_validation, False))
    assert words in reason if words and reason else reason is None
    if words:
        data = FitData(plates().train.subset(range(n_train)), VALIDATION.subset(range(min(2, n_validation))))
        with pytest.raises(NeedNotMet, match=words):
            SINBAD(Context(), weights=weights, **{**SINBAD.check_params, "norm_source": source}).fit(data)


@pytest.mark.parametrize("given", [{"layers": ["layer4", "layer4"]}, {"ratios": [0.5, 0.5]}])
def test_layers_and_sizes_are_named_once(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(names, "facts", lambda backbone: None)  # asks a process that imports timm
    assert SINBAD.card.problems(resolve(SINBAD, given))[0] == (next(iter(given)), "names something twice")


@pytest.mark.parametrize("given", [{"shrinkage": 0.0}, {"ratios": [1.5]}, {"whiten": "root"}])
def test_wrong_parameters_are_refused(given: dict[str, Any]):
    with pytest.raises(Problem, match=next(iter(given))):
        resolve(SINBAD, given)


def test_no_training_image_is_an_unmet_need(weights: str):
    with pytest.raises(NeedNotMet, match="at least one"):
        SINBAD(Context(), weights=weights).fit(FitData(ImageSet((), ())))
