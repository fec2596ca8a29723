"""Pixel and image metrics against exact rational arithmetic, worked cases, and wrong input."""

import metrics_twin
import numpy as np
import pytest

from harness.errors import ConfigError, DataError
from harness.metrics import (
    LIMITS,
    METRICS,
    PRO_LIMITS,
    Region,
    aupro,
    auspro,
    image_metrics,
    upsample,
)

SUBSETS = ("logical", "structural", "all")
DTYPES = (np.uint8, np.float16, np.float32, np.float64)


def random_case(seed: int):
    """A few tiny images: overlaps, saturation of both kinds, full masks, ties, every dtype."""
    rng = np.random.default_rng(seed)
    maps, regions, labels = [], [], []
    dtype, levels = DTYPES[seed % 4], (1, 2, 6, 200)[seed // 4 % 4]
    for _ in range(rng.integers(1, 6)):
        size = tuple(rng.integers(2, 7, 2))
        maps.append(rng.integers(0, levels, size).astype(dtype))
        labels.append(str(rng.choice(["good", "logical", "structural"])))
        number = 0 if labels[-1] == "good" else rng.integers(1, 4)
        regions.append([random_region(rng, size) for _ in range(number)])
    return maps, regions, labels


def random_region(rng: np.random.Generator, size: tuple[int, ...]) -> Region:
    mask = rng.random(size) < rng.choice([0.15, 0.5, 1.1])
    mask[rng.integers(size[0]), rng.integers(size[1])] = True
    if rng.integers(2):
        return Region(mask, float(rng.uniform(0.1, 1.0)), True)
    return Region(mask, int(rng.integers(1, 15)), False)


@pytest.mark.parametrize("seed", range(48))
def test_auspro_equals_rational_arithmetic(seed: int):
    maps, regions, labels = random_case(seed)
    found = auspro(maps, regions, labels)
    for subset in SUBSETS:
        for limit in LIMITS:
            expected = metrics_twin.auspro(maps, regions, labels, subset, limit)
            assert found[subset][limit] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(24))
def test_aupro_equals_rational_arithmetic(seed: int):
    rng = np.random.default_rng(seed)
    sizes = [tuple(rng.integers(3, 9, 2)) for _ in range(rng.integers(1, 5))]
    maps = [rng.integers(0, (3, 50)[seed % 2], size).astype(np.float32) for size in sizes]
    masks = [(rng.random(size) < rng.choice([0, 0.3])).astype(np.uint8) * 255 for size in sizes]
    found = aupro(maps, masks)
    for limit in PRO_LIMITS:
        assert found[limit] == pytest.approx(metrics_twin.aupro(maps, masks, limit), abs=1e-12)


def test_auspro_worked_by_hand():
    """One good image 1..4, one region of three pixels of which one is enough.

    Normals are 1, 2, 3, 4 and the region's best pixel 3.5 lies above three of them: sPRO is 0 up to a
    false-positive rate of 1/4 and 1 after it. Up to 0.3 that leaves 0.05 of 0.3, up to 1 it leaves 3/4.
    """
    good, bad = np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[0.0, 0.5, 3.5]])
    region = Region(np.ones((1, 3)), 1, False)
    found = auspro([good, bad], [[], [region]], ["good", "logical"])
    assert found["logical"] == pytest.approx({0.01: 0, 0.05: 0, 0.1: 0, 0.3: 0.05 / 0.3, 1.0: 0.75})
    assert found["all"] == found["logical"]
    assert found["structural"] == found["mean"] == dict.fromkeys(LIMITS)


def test_ties_are_joined_by_straight_lines():
    """A constant map ranks nothing: the curve is the diagonal and the area to L is L / 2."""
    maps = [np.full((4, 4), 7, np.uint8)] * 2
    found = auspro(maps, [[], [Region(np.eye(4))]], ["good", "structural"])
    assert found["structural"] == pytest.approx({limit: limit / 2 for limit in LIMITS})


def test_full_masks_add_no_normal_pixel():
    """Without a good image nothing is defined; with one, only its pixels make the false-positive rate."""
    full = Region(np.ones((2, 2)), 0.5, True)
    bad = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert auspro([bad], [[full]], ["logical"])["logical"][0.05] is None
    found = auspro([bad, np.full((5, 5), 2.5)], [[full], []], ["logical", "good"])
    assert found["logical"][0.05] == 1.0


def test_overlapping_regions_are_found_in_each_and_never_false():
    score = np.array([[3.0, 2.0, 1.0, 0.0]])
    left, right = Region(np.array([[1, 1, 0, 0]])), Region(np.array([[0, 1, 1, 0]]))
    assert auspro([score], [[left, right]], ["structural"])["structural"][1.0] == 1.0


@pytest.mark.parametrize("transform", [np.exp, lambda x: x**3, lambda x: 1e9 * x - 5])
def test_increasing_transforms_change_nothing(transform):
    rng = np.random.default_rng(3)
    maps = [rng.integers(0, 9, (6, 7)).astype(np.float64) for _ in range(4)]
    regions = [[], [Region(rng.random((6, 7)) < 0.4)], [Region(rng.random((6, 7)) < 0.4, 5, False)], []]
    labels = ["good", "logical", "structural", "good"]
    assert auspro(maps, regions, labels) == auspro([transform(m) for m in maps], regions, labels)


def test_saturation_is_truncated_as_in_mvtecs_code():
    mask = np.ones((10, 10))
    assert Region(mask, 0.29, True).saturation == 28  # 0.29 * 100 is 28.999999999999996
    assert Region(mask, 0.001, True).saturation == 1
    assert Region(mask, 63, False).saturation == 63
    assert Region(mask, 6300, False).saturation == 100


@pytest.mark.parametrize("seed", range(30))
def test_image_metrics_equal_rational_arithmetic(seed: int):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-3, (0, 6, 1000)[seed % 3] + 1, rng.integers(2, 25)) / 7
    anomalous = np.arange(scores.size) < rng.integers(1, scores.size)
    bad, good = scores[anomalous].tolist(), scores[~anomalous].tolist()
    found = image_metrics(scores, anomalous)
    assert found["auroc"] == float(metrics_twin.auroc(bad, good))
    assert found["ap"] == pytest.approx(float(metrics_twin.average_precision(bad, good)), abs=1e-12)
    assert found["f1max"] == pytest.approx(float(metrics_twin.best_f1(bad, good)), abs=1e-12)


@pytest.mark.parametrize(
    ("good", "bad", "auroc"),
    [([0, 0], [0, 0], 0.5), ([0], [0], 0.5), ([1, 2, 3], [2, 3, 4], 7 / 9), ([1e-9], [-5e8], 0.0)],
)
def test_auroc_with_ties_and_of_any_range(good, bad, auroc: float):
    assert image_metrics(good + bad, [0] * len(good) + [1] * len(bad))["auroc"] == pytest.approx(auroc)


@pytest.mark.parametrize("anomalous", [[], [False, False], [True, True]])
def test_image_metrics_of_one_class_are_none(anomalous):
    found = image_metrics(np.arange(len(anomalous), dtype=float), np.array(anomalous, bool))
    assert found == {"auroc": None, "ap": None, "f1max": None}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(bad: float):
    with pytest.raises(DataError, match="image 1: image score is"):
        image_metrics([0.0, bad], [0, 1])
    with pytest.raises(DataError, match="image 0: anomaly map has 1 NaN or infinite values of 4"):
        auspro([np.array([[0, 0], [0, bad]])], [[]], ["good"])


REGION = Region(np.ones((2, 2)))
MAP = np.zeros((2, 2))


@pytest.mark.parametrize(
    ("maps", "regions", "labels", "message"),
    [
        ([MAP], [[REGION]], [], "1 maps, 1 lists of regions and 0 labels"),
        ([MAP], [[REGION]], ["bad"], "image 0: label 'bad' must be good, logical or structural"),
        ([MAP], [[REGION]], ["good"], "image 0: labelled 'good' but has 1 anomalous regions"),
        ([MAP], [[]], ["logical"], "image 0: labelled 'logical' but has 0 anomalous regions"),
        ([np.zeros((3, 2))], [[REGION]], ["logical"], r"image 0: anomaly map is \(3, 2\) but its mask is"),
        ([np.zeros(4)], [[]], ["good"], r"image 0: an anomaly map must be \(h, w\), got \(4,\)"),
        ([MAP.astype(complex)], [[]], ["good"], "must hold real numbers, got complex128"),
    ],
)
def test_wrong_maps_are_refused(maps, regions, labels, message: str):
    with pytest.raises(DataError, match=message):
        auspro(maps, regions, labels)


@pytest.mark.parametrize("limit", [0, -0.1, 1.1])
def test_wrong_limits_are_refused(limit: float):
    with pytest.raises(DataError, match=r"must be in \(0, 1\]"):
        auspro([MAP], [[]], ["good"], limits=[limit])


@pytest.mark.parametrize(
    ("mask", "threshold", "relative", "message"),
    [
        (np.zeros((2, 2)), 1.0, True, "region 'scratch' has no anomalous pixel"),
        (np.ones(3), 1.0, True, r"must be \(h, w\), got \(3,\)"),
        (np.ones((2, 2)), 1.5, True, r"relative ones must be in \(0, 1\]"),
        (np.ones((2, 2)), 0, True, r"relative ones must be in \(0, 1\]"),
        (np.ones((2, 2)), 0.5, False, "absolute ones must be a whole number"),
        (np.ones((2, 2)), 2.5, False, "absolute ones must be a whole number"),
    ],
)
def test_wrong_regions_are_refused(mask, threshold, relative, message: str):
    with pytest.raises(DataError, match=message):
        Region(mask, threshold, relative, "scratch")


def test_masks_of_two_sizes_are_refused():
    regions = [[REGION, Region(np.ones((2, 3)))]]
    with pytest.raises(DataError, match=r"its mask is \(2, 3\)"):
        auspro([MAP], regions, ["logical"])


def test_every_metric_of_the_table_loads_and_unknown_ones_are_answered():
    for name in METRICS.own:
        entry = METRICS.load(name)
        assert callable(entry.function) and entry.scale.unit == "%" and entry.higher_is_better
    with pytest.raises(ConfigError, match=r"unknown metric 'auspr' \(did you mean 'auspro'"):
        METRICS.load("auspr")


@pytest.mark.parametrize("size", [(40, 31), (5, 100), (7, 9), (3, 4), (1, 1)])
def test_upsampling_is_torchs_bilinear(size: tuple[int, int]):
    torch = pytest.importorskip("torch")
    scores = np.random.default_rng(0).random((7, 9))
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(scores)[None, None], size=size, mode="bilinear", align_corners=False
    )[0, 0]
    assert np.abs(upsample(scores, size) - resized.numpy()).max() < 1e-12
    assert np.abs(upsample(scores.astype(np.float32), size) - resized.numpy()).max() < 1e-6


def test_upsampling_keeps_constant_areas_constant():
    """0.1 + w (0.1 - 0.1) is 0.1; (1 - w) 0.1 + w 0.1 need not be, and would break ties."""
    scores = np.full((5, 6), 0.1, np.float32)
    assert np.unique(upsample(scores, (123, 77))).tolist() == [np.float32(0.1)]


def test_upsampling_refuses_integers_and_empty_maps():
    with pytest.raises(DataError, match="must be floating"):
        upsample(np.zeros((2, 2), int), (4, 4))
    with pytest.raises(DataError, match="cannot resize"):
        upsample(np.zeros((2, 0)), (4, 4))
