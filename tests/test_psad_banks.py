"""PSAD's banks and adaptive scaling against slow twins, and what must hold for any of them."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from methods.psad.banks import (
    PatchBank,
    Standard,
    composition,
    histogram,
    image_distances,
    max_min,
    reweighted,
)
from methods.psad.contraction import FEW, Blocks, Contraction
from methods.psad.scaling import AdaptiveScaling, reference_scores

LABELS = np.array([[0, 0, 2], [1, 2, 2]])


def patches(images: int, seed: int = 0, d: int = 48, rank: int = 6, noise: float = 0.05) -> np.ndarray:
    """Vectors (images, 60, d) of low rank and some noise, as features of networks are, off the origin."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(rank, d))
    inner = rng.normal(size=(images, 60, rank)) @ mixing
    return (3 + inner + noise * rng.normal(size=(images, 60, d))).astype(np.float32)


def slow_minima(bank: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Distance of every patch to the nearest of every image, one pair of patches at a time."""
    distance = [[[np.linalg.norm(q - r) for r in image] for q in queries] for image in bank.astype(float)]
    return np.min(distance, axis=2)


# Class histograms and component compositions


def test_histogram_counts_pixels():
    assert histogram(LABELS, 4, background=True).tolist() == [2, 1, 3, 0]
    assert histogram(LABELS, 4, background=False).tolist() == [1, 3, 0]


def slow_composition(features: np.ndarray, labels: np.ndarray, n_classes: int, more: int) -> np.ndarray:
    """Features enlarged to the labels' size, then summed pixel by pixel."""
    large = F.interpolate(
        torch.from_numpy(features)[None], size=labels.shape, mode="bilinear", align_corners=True
    )[0].numpy()
    embeddings = []
    for c in range(1, n_classes):
        vectors = [large[:, y, x] for y, x in np.argwhere(labels == c)]
        zeros = np.zeros(len(features))
        embeddings.append(sum(vectors, zeros) / (len(vectors) + more) if vectors else zeros)
    return np.concatenate(embeddings)


@pytest.mark.parametrize(("class_mean", "more"), [("mean", 0), ("count_plus_one", 1)])
@pytest.mark.parametrize("size", [(6, 9), (23, 31), (1, 5)])
def test_composition_is_the_mean_over_enlarged_features(class_mean: Any, more: int, size: tuple[int, int]):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, size)
    features = rng.normal(size=(5, min(6, size[0]), 4))
    found = composition(features, labels, 5, class_mean)
    assert found.shape == (4 * 5,)
    np.testing.assert_allclose(found, slow_composition(features, labels, 5, more), atol=1e-12)
    assert not found[-5:].any(), "nobody has class 4"


def test_standard_is_zero_mean_and_unit_deviation():
    train = np.random.default_rng(0).normal(5, 3, (7, 4))
    z = Standard.of(train)(train)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0, ddof=1), 1)


def test_standard_of_one_image_leaves_differences_as_they_are():
    train = np.array([[4.0, 9.0]])
    assert Standard.of(train)(np.array([[5.0, 6.0]])).tolist() == [[1, -3]]


def test_image_distances_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    queries, train = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    slow = [[sum((a - b) ** 2 for a, b in zip(q, e, strict=True)) for e in train] for q in queries]
    np.testing.assert_allclose(image_distances(queries, train, "l2_squared"), slow)
    np.testing.assert_allclose(image_distances(queries, train), np.sqrt(slow))


# The patch bank

COMPRESSIBLE = {"noise": 0.05}
NOT_COMPRESSIBLE = {"noise": 5.0}  # as large as the rest: no direction holds more than another


@pytest.mark.parametrize("images", [1, FEW, FEW + 5])
@pytest.mark.parametrize("kind", [COMPRESSIBLE, NOT_COMPRESSIBLE])
def test_minima_are_those_of_all_pairs(images: int, kind: dict[str, float]):
    bank, queries = patches(images, **kind), patches(1, seed=1, **kind)[0]
    found = PatchBank(bank).minima(queries)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow_minima(bank, queries), rtol=1e-6)


@pytest.mark.parametrize("images", [1, FEW, FEW + 5])
@pytest.mark.parametrize("kind", [COMPRESSIBLE, NOT_COMPRESSIBLE])
@pytest.mark.parametrize("blocks", [Blocks.on("cuda:0"), Blocks(4 * 60 * 60, 100)])
def test_a_card_finds_the_same_in_large_blocks(images: int, kind: dict[str, float], blocks: Blocks):
    bank, queries = patches(images, **kind), patches(1, seed=1, **kind)[0]
    found = Contraction.of(bank, "cpu", blocks).minima(queries)
    np.testing.assert_allclose(found, slow_minima(bank, queries), rtol=1e-6)


def test_a_card_leaves_an_image_out_of_its_block():
    bank = patches(FEW + 3)
    found = Contraction.of(bank, "cpu", Blocks(4 * 60 * 60, 100)).minima(bank[5], without=5)
    np.testing.assert_allclose(found, PatchBank(bank).minima(bank[5], without=5), rtol=1e-6)
    assert np.isinf(found[5]).all() and np.isfinite(np.delete(found, 5, axis=0)).all()


def test_the_contraction_has_few_dimensions_only_where_that_is_worth_it():
    def dimensions(bank: np.ndarray) -> int:
        return Contraction.of(bank, "cpu").contracted.shape[2] - 1

    assert dimensions(patches(FEW + 1, **COMPRESSIBLE)) == 6 + 1
    assert dimensions(patches(FEW + 1, **NOT_COMPRESSIBLE)) == dimensions(patches(FEW)) == 48


def test_the_contraction_never_takes_vectors_apart():
    bank = patches(FEW + 1, noise=0.15)
    flat = bank.reshape(-1, bank.shape[2])[::7]
    phi = Contraction.of(bank, "cpu").contracted[..., :-1].flatten(0, 1)[::7].numpy()
    assert phi.shape[1] < flat.shape[1]
    assert (image_distances(phi, phi) <= image_distances(flat, flat) + 1e-4).all()


def test_misleading_contractions_change_nothing():
    """Patches that differ only in the directions left out: none can be told from another by φ."""
    rng = np.random.default_rng(5)
    bank = patches(FEW + 2, noise=0.0)
    away = rng.normal(size=bank.shape).astype(np.float32)
    bank = bank + 0.3 * away / np.linalg.norm(away, axis=2, keepdims=True)
    bank[:, 1:30] = bank[:, :1] + 0.01 * rng.normal(size=bank[:, 1:30].shape).astype(np.float32)
    queries = bank[4] + 0.02 * rng.normal(size=bank[4].shape).astype(np.float32)
    for blocks in (Blocks.on("cpu"), Blocks.on("cuda:0")):
        found = Contraction.of(bank, "cpu", blocks).minima(queries)
        np.testing.assert_allclose(found, slow_minima(bank, queries), rtol=1e-5)


def test_an_image_of_the_bank_is_at_distance_zero():
    bank = patches(FEW + 2)
    assert not PatchBank(bank).minima(bank[3])[3].any()


def test_any_part_of_the_training_images_is_a_minimum_over_rows():
    bank, queries = patches(FEW + 6), patches(1, seed=2)[0]
    whole = PatchBank(bank)
    minima = whole.minima(queries)
    for part in (np.arange(FEW + 1), np.array([2, 9, 5, 0, 1, 3, 11, 12, 13]), np.array([7])):
        alone = PatchBank(np.ascontiguousarray(bank[part]))
        expected = alone.score(queries, alone.minima(queries))
        assert whole.score(queries, minima, part) == pytest.approx(expected, rel=1e-6)
        assert max_min(minima[part]) == whole.score(queries, minima, part)


def test_leave_one_out_equals_a_bank_rebuilt_without_the_image():
    bank = patches(FEW + 3)
    found = list(PatchBank(bank).leave_one_out())
    for k, minima in enumerate(found):
        assert np.isinf(minima[k]).all()
        without = np.delete(bank, k, axis=0)
        rebuilt = PatchBank(np.ascontiguousarray(without)).minima(bank[k])
        np.testing.assert_allclose(np.delete(minima, k, axis=0), rebuilt, rtol=1e-6)


def test_a_pickled_bank_gives_the_same():
    bank, queries = PatchBank(patches(FEW + 1)), patches(1, seed=1)[0]
    minima = bank.minima(queries)
    copied = pickle.loads(pickle.dumps(bank))  # noqa: S301 (our own)
    assert np.array_equal(copied.minima(queries), minima)


def test_squared_distance_squares_the_score():
    bank, queries = PatchBank(patches(3)), patches(1, seed=1)[0]
    minima = bank.minima(queries)
    plain, squared = (bank.score(queries, minima, distance=d) for d in ("l2", "l2_squared"))
    assert squared == pytest.approx(plain**2)
    twice = bank.score(queries, minima, patch_score="reweighted_k9", distance="l2_squared")
    once = bank.score(queries, minima, patch_score="reweighted_k9")
    assert twice == pytest.approx(once * plain / 10, rel=1e-6)


def slow_reweighted(bank: np.ndarray, queries: np.ndarray) -> float:
    """The released formula on all distances of all patches."""
    distances = np.linalg.norm(queries[:, None].astype(float) - bank.reshape(1, -1, bank.shape[-1]), axis=2)
    nearest = np.sort(distances, axis=1)[:, :9] / 10
    worst = nearest[nearest[:, 0].argmax()]
    return (1 - np.exp(worst).max() / np.exp(worst).sum()) * worst[0]


@pytest.mark.parametrize("part", [[0], [1, 4, 2], list(range(FEW + 6))])
def test_reweighting_takes_the_nine_nearest_of_the_part(part: list[int]):
    bank, queries = patches(FEW + 6), patches(1, seed=2)[0]
    whole = PatchBank(bank)
    found = whole.score(queries, whole.minima(queries), np.array(part), "reweighted_k9")
    assert found == pytest.approx(slow_reweighted(bank[part], queries), rel=1e-6)


def test_reweighting_leaves_out_an_infinite_row():
    bank = patches(2)
    whole = PatchBank(bank)
    minima = whole.minima(bank[0], without=0)
    found = whole.score(bank[0], minima, patch_score="reweighted_k9")
    assert found == pytest.approx(slow_reweighted(bank[1:], bank[0]), rel=1e-6)


def test_reweighting_survives_large_distances_and_a_single_neighbour():
    assert reweighted(np.array([2e4, 2e4])) == pytest.approx(1e3)
    assert reweighted(np.array([30.0])) == 3


# Adaptive scaling


def slow_random_pair(distances: np.ndarray) -> list[float]:
    """The image whose number is the rank of image 1."""
    references = []
    for row in distances:
        rank = sorted(range(len(row)), key=lambda j: row[j]).index(1)
        references.append(row[rank])
    return references


@pytest.mark.parametrize("n", [2, 3, 40])
def test_reference_scores_are_those_of_loops(n: int):
    vectors = np.random.default_rng(n).normal(size=(n, 9))
    distances = image_distances(vectors, vectors)
    loo = [min(distances[k, j] for j in range(n) if j != k) for k in range(n)]
    assert reference_scores(distances).tolist() == loo
    assert reference_scores(distances, "repo_random_pair").tolist() == slow_random_pair(distances)


def test_the_released_reference_is_much_larger_than_the_nearest_neighbour():
    vectors = np.random.default_rng(0).normal(size=(300, 9))
    distances = image_distances(vectors, vectors)
    released, paper = (reference_scores(distances, r).max() for r in ("repo_random_pair", "loo_nn"))
    assert 1.5 < released / paper < 3


def test_scaling_by_the_maximum_makes_the_largest_reference_one():
    loo = np.array([1.0, 4.0, 2.0])
    assert AdaptiveScaling.of(loo)(loo).tolist() == [0.25, 1, 0.5]


def test_scaling_by_the_deviation_standardises():
    loo = np.array([1.0, 4.0, 2.5])
    scaled = AdaptiveScaling.of(loo, "std")(loo)
    np.testing.assert_allclose([scaled.mean(), scaled.std(ddof=1)], [0, 1], atol=1e-9)


@pytest.mark.parametrize("as_scale", ["max", "std", "none"])
def test_one_training_image_leaves_scores_as_they_are(as_scale: Any):
    loo = reference_scores(np.zeros((1, 1)))
    assert AdaptiveScaling.of(loo, as_scale)(np.array([3.0])).tolist() == [3]


def test_two_training_images_have_one_distance_and_no_spread():
    loo = reference_scores(np.array([[0.0, 5.0], [5.0, 0.0]]))
    assert loo.tolist() == [5, 5]
    assert AdaptiveScaling.of(loo)(np.array([10.0])).tolist() == [2]
    assert AdaptiveScaling.of(loo, "std")(np.array([10.0])).tolist() == [10]


def test_equal_training_images_do_not_divide_by_zero():
    for as_scale in ("max", "std"):
        scaling = AdaptiveScaling.of(np.zeros(4), as_scale)
        assert scaling(np.zeros(1)).tolist() == [0]
        assert np.isfinite(scaling(np.ones(1))).all()
