"""ComAD against slow twins of its parts, and what is defined at one shot."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harness.checks.plates import plates
from harness.data import FitData
from harness.method import Context
from methods.comad import ComAD
from methods.comad.components import (
    NOISE,
    Sizes,
    areas_of,
    colour,
    dbscan,
    distance,
    is_object,
    otsu,
    steadiest,
)
from methods.comad.heat import SURE, Heater, centres, coreset, enlarged, unit
from methods.comad.lattice import mean_field, over_places, permutohedral

RNG = np.random.default_rng


def comad(order: Sequence[int] = (0, 1, 2), **params: Any) -> ComAD:
    given = dict(ComAD.check_params) | {"crf_iterations": 0} | params
    return ComAD(Context(), **given).fit(FitData(plates().train.subset(order)))


# The mean field


def dense(features: np.ndarray) -> np.ndarray:
    return np.exp(-np.square(features[:, None] - features).sum(axis=2) / 2)


@pytest.mark.parametrize(("d", "worst"), [(2, 0.03), (3, 0.06), (5, 0.1)])
def test_the_lattice_filters_as_a_sum_over_all_pairs(d: int, worst: float):
    """Of a smooth function of points that lie densely along a surface, as those of an image do."""
    t = RNG(d).random((900, 2)) * 4
    features = np.concatenate([t, np.sin(t @ RNG(1).normal(size=(2, 3)))], axis=1)[:, :d]
    values = np.stack([np.sin(2 * t[:, 0]), t[:, 1]], axis=1)
    found, K = permutohedral(features), dense(features)
    ones = np.ones((900, 1))
    quick, slow = found(values) / found(ones), K @ values / K.sum(axis=1, keepdims=True)
    assert np.abs(quick - slow).mean() < worst * np.ptp(slow)
    assert np.corrcoef(quick[:, 0], slow[:, 0])[0, 1] > 0.97


def test_weights_at_the_corners_of_a_simplex_are_a_share_and_give_the_point_back():
    """On the lattice itself: spreading ones is a partition, in any dimension and wherever a point lies."""
    from methods.comad.lattice import _elevation, _simplices

    for d in (1, 2, 5):
        features = RNG(d).normal(0, 20, (200, d))
        spread, corners = _simplices(features)
        np.testing.assert_allclose(spread.sum(axis=1), 1)
        assert spread.data.min() >= -1e-9 and len(corners) == spread.shape[1]
        np.testing.assert_allclose(spread @ corners, (features @ _elevation(d).T)[:, :d], atol=1e-8)


def test_over_places_is_the_sum_over_all_pairs_of_places():
    values = RNG(0).random((6 * 5, 2))
    places = np.indices((6, 5)).reshape(2, -1).T
    np.testing.assert_allclose(over_places((6, 5), 1.0)(values), dense(places) @ values, rtol=1e-6)


def test_the_mean_field_follows_the_papers_update():
    p = RNG(0).dirichlet(np.ones(3), 12 * 10)
    places = np.indices((12, 10)).reshape(2, -1).T
    K = dense(places)
    normalised = K / np.sqrt(np.outer(K.sum(axis=0), K.sum(axis=0)))
    Q = p
    for _ in range(2):
        Q = p * np.exp(3 * normalised @ Q)
        Q = Q / Q.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mean_field(p, [(3, over_places((12, 10), 1.0))], 2), Q, rtol=1e-6)
    assert mean_field(p, [], 0) is p


def test_heat_keeps_to_the_edges_of_the_image():
    """Blurred tokens of a square: with the mean field more of its pixels, and fewer of others, are hot."""
    image = np.full((64, 64, 3), 40, np.uint8)
    image[19:45, 19:45] = (220, 60, 60)
    inside = image[..., 0] > 100
    share = cv2.resize(inside.astype(np.float64), (8, 8), interpolation=cv2.INTER_AREA).ravel()
    tokens = np.stack([share, 1 - share], axis=1)
    wrong = []
    for iterations in (0, 2):
        hot, cold = Heater(np.eye(2), iterations, False).maps(tokens, (8, 8), image)
        wrong.append(((hot > cold) != inside).sum())
    assert wrong[1] < wrong[0]


# Heat


def test_enlarged_is_torchs_bilinear_corner_to_corner():
    maps = RNG(0).random((5, 4, 3))
    expected = F.interpolate(
        torch.from_numpy(maps).permute(2, 0, 1)[None], (17, 9), mode="bilinear", align_corners=True
    )
    np.testing.assert_allclose(enlarged(maps, (17, 9)), expected[0].permute(1, 2, 0).numpy(), atol=1e-12)


def test_a_heat_map_without_mean_field_is_a_softmax_of_cosines():
    tokens, middles = RNG(0).normal(size=(16, 6)), unit(RNG(1).normal(size=(3, 6)))
    heats = Heater(middles, 0, False).maps(tokens, (4, 4), np.zeros((4, 4, 3), np.uint8))
    cosines = np.array([[t @ c / np.linalg.norm(t) for c in middles] for t in tokens])
    warm = np.clip(cosines - cosines.mean(axis=0), 0, None)
    expected = np.exp(warm) / np.exp(warm).sum(axis=1, keepdims=True)
    assert np.array_equal(np.stack(heats, axis=-1).reshape(16, 3), np.round(SURE * expected).astype(np.uint8))


def test_the_coreset_is_the_farthest_first():
    tokens = np.array([[0.0, 0], [10, 0], [0, 1], [9, 0], [0, 6]])
    assert np.array_equal(coreset(tokens, 3), tokens[[1, 4, 0]])


def test_centres_are_those_of_clear_clusters_and_no_more_than_there_are_rows():
    middles = np.array([[0.0, 0], [50, 0], [0, 50]])
    tokens = np.concatenate([RNG(i).normal(m, 0.1, (20, 2)) for i, m in enumerate(middles)])
    found = centres(tokens, 3, 0)
    apart = np.linalg.norm(found[:, None] - middles, axis=2)
    assert sorted(apart.argmin(axis=0)) == [0, 1, 2] and apart.min(axis=0).max() < 0.2
    assert len(centres(np.ones((4, 2)), 5, 0)) == 1


# Components


def slow_dbscan(values: np.ndarray, eps: float, least: int) -> list[set[int]]:
    """Clusters of cores, grown one by one."""
    cores = [i for i, v in enumerate(values) if sum(abs(values - v) <= eps) >= least]
    groups: list[set[int]] = []
    for i in cores:
        near = [g for g in groups if any(abs(values[i] - values[j]) <= eps for j in g)]
        groups = [g for g in groups if g not in near] + [set.union({i}, *near)]
    return groups


@pytest.mark.parametrize("least", [1, 2, 4])
def test_dbscan_of_numbers_finds_the_clusters_of_dbscan(least: int):
    for seed in range(20):
        values = np.sort(RNG(seed).integers(0, 60, 25)).astype(float)
        labels, groups = dbscan(values, 2.0, least), slow_dbscan(values, 2.0, least)
        cores = set().union(*groups)
        assert {
            frozenset(i for i in np.flatnonzero(labels == label) if i in cores)
            for label in range(labels.max() + 1)
        } == {frozenset(g) for g in groups}
        beside = {i for i, v in enumerate(values) if any(abs(v - values[j]) <= 2 for j in cores)}
        assert set(np.flatnonzero(labels != NOISE)) == beside


def test_components_are_joined_over_corners_and_specks_are_left_out():
    mask = np.zeros((224, 224), bool)
    mask[10:20, 10:20] = mask[20:30, 20:30] = True  # touch at a corner
    mask[100:107, 100:107] = True  # 49
    assert areas_of(mask) == [200]


def squares(*sides: int) -> np.ndarray:
    mask = np.zeros((224, 224), bool)
    for i, side in enumerate(sides):
        mask[50 * i + 4 : 50 * i + 4 + side, 4 : 4 + side] = True
    return mask


def test_components_are_counted_by_kind():
    sizes = Sizes.learnt([squares(10, 10, 40), squares(10, 10, 40)], 2, 2)
    assert sizes.number == 2
    assert sizes.histogram(squares(10, 10, 40)).tolist() == [2, 1]
    assert sizes.histogram(squares(10, 40)).tolist() == [1, 1]
    assert sizes.histogram(squares()).tolist() == [0, 0]


def test_where_there_is_no_component_or_no_kind_there_is_nothing_to_count():
    for sizes in (Sizes.learnt([squares()], 5, 1), Sizes.learnt([squares(10, 40)], 5, 2)):
        assert sizes.number == 0 and sizes.histogram(squares(10)).shape == (0,)


def test_a_background_fills_three_corners():
    inner = np.zeros((224, 224), np.uint8)
    inner[80:140, 80:140] = SURE
    assert is_object(inner) and not is_object(SURE - inner) and not is_object(inner // 3)


def test_the_steadiest_factor_is_taken_and_of_equals_the_first():
    heat = np.full((224, 224), 50, np.uint8)
    heat[100:110, 100:110] = 100
    assert steadiest([heat]) == 1.0 and steadiest([heat, heat]) == 1.0
    other = heat.copy()
    other[120:] = 58  # above Otsu's threshold of 50, below 1.2 times it
    assert (otsu(heat), otsu(other)) == (50, 50)
    assert steadiest([heat, other]) == 1.2


def test_the_colour_of_nothing_is_zero():
    lab = np.full((4, 4, 3), 100, np.uint8)
    lab[..., 2] = 200
    assert colour(lab, np.zeros((4, 4), bool)) == 0 and colour(lab, np.ones((4, 4), bool)) == 4


def test_a_distance_is_the_mean_to_as_many_neighbours_as_there_are():
    rows = np.array([[0.0], [1], [5]])
    assert distance(np.array([0.0]), rows, 2) == 0.5 and distance(np.array([0.0]), rows, 5) == 2


# The method


def test_the_order_of_the_support_does_not_matter():
    images = plates().test.subset([0, 5, 12])
    one, other = (comad(order).score(images) for order in ([0, 1, 2], [2, 0, 1]))
    assert np.array_equal(one.image, other.image)


def test_a_training_image_alone_scores_nothing_and_others_are_defined():
    method = comad([0])
    assert method.score(plates().train.subset([0])).image[0] == 0
    scores = method.score(plates().test)
    assert np.isfinite(scores.image).all() and np.array_equal(scores.image, sum(scores.parts.values()))


@pytest.mark.parametrize(
    "params", [{"jpeg": True}, {"crf_iterations": 1}, {"clusters": 2}, {"neighbours": 1}]
)
def test_switches_act(params: dict[str, Any]):
    images = plates().test.subset([0, 12])
    assert not np.array_equal(comad().score(images).image, comad(**params).score(images).image)
