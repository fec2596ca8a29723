"""What CLIP-LAD computes on arrays, against slow twins: clusters, regions, histograms, scores, prompts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.ndimage import label

from harness.errors import DataError
from methods.clip_lad.grids import nearest_centres, squared_lengths
from methods.clip_lad.prompt_files import SHIPPED, find, missing, read
from methods.clip_lad.scoring import Normalisation, histogram_distances, patch_map
from methods.clip_lad.segmentation import (
    NO_REGION,
    Classes,
    enlarged,
    histogram,
    region_means,
    segment,
    without_small,
)
from methods.shared.kmeans import kmeans
from methods.shared.openclip.tokens import on_grid, unit

RNG = np.random.default_rng(0)


# K-means


def slow_lloyd(x: NDArray[Any], mu: NDArray[Any]) -> NDArray[Any]:
    """Point by point, until nothing moves."""
    while True:
        labels = [int(np.argmin([np.sum((p - m) ** 2) for m in mu])) for p in x]
        members = [[p for p, j in zip(x, labels, strict=True) if j == i] for i in range(len(mu))]
        new = np.array([np.mean(m, axis=0) if m else old for m, old in zip(members, mu, strict=True)])
        if np.allclose(new, mu):
            return mu
        mu = new


def blobs(number: int = 300, dimension: int = 6) -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    centres = rng.normal(0, 4, (5, dimension))
    return (centres[rng.integers(0, 5, number)] + rng.normal(size=(number, dimension))).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kmeans_is_what_the_plain_loop_finds(seed: int):
    x = blobs()
    first = np.random.default_rng(seed).choice(len(x), 5, replace=False)
    np.testing.assert_allclose(
        kmeans(x, 5, seed, init="random"), slow_lloyd(x.astype(float), x[first].astype(float)), atol=1e-4
    )


def inertia(x: NDArray[Any], mu: NDArray[Any]) -> float:
    return float(((x[:, None] - mu[None]) ** 2).sum(axis=2).min(axis=1).sum())


def test_kmeans_is_no_worse_than_scipys():
    x = blobs()
    ours = min(inertia(x, kmeans(x, 5, seed)) for seed in range(5))
    scipys = min(inertia(x, kmeans2(x, 5, iter=50, minit="++", rng=seed)[0]) for seed in range(5))
    assert ours <= scipys * 1.001


def test_kmeans_plus_plus_takes_one_point_of_each_lonely_group():
    x = np.repeat(np.eye(6, dtype=np.float32) * 100, 20, axis=0)
    for seed in range(5):
        assert inertia(x, kmeans(x, 6, seed)) == 0


def test_kmeans_of_equal_points_gives_that_point():
    x = np.ones((12, 3), np.float32)
    assert np.array_equal(kmeans(x, 4, 0), np.ones((4, 3)))


# Clusters


@pytest.mark.parametrize(("side", "grid"), [(4, 8), (7, 14), (5, 15), (6, 6), (2, 4)])
def test_lengths_of_upsampled_tokens_come_from_neighbours(side: int, grid: int):
    tokens = RNG.normal(size=(side * side, 9)).astype(np.float32)
    expected = on_grid(tokens, grid).double().square().sum(dim=1).numpy()
    np.testing.assert_allclose(squared_lengths(tokens, grid), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid", [6, 12])
def test_nearest_centres_are_those_of_upsampled_unit_tokens(grid: int):
    tokens = RNG.normal(size=(36, 20)).astype(np.float32)
    mu = RNG.normal(0, 0.3, (7, 20)).astype(np.float32)
    features = unit(on_grid(tokens, grid)).double().numpy()
    expected = ((features[:, None] - mu[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(nearest_centres(tokens, mu, grid).ravel(), expected)


# Segmentation


def test_small_pieces_leave_their_region():
    clusters = RNG.integers(0, 3, (20, 20)).astype(np.uint8)
    kept = without_small(clusters, 4)
    for y, x in np.ndindex(clusters.shape):
        pieces, _ = label(clusters == clusters[y, x], structure=np.ones((3, 3)))
        small = (pieces == pieces[y, x]).sum() <= 4
        assert kept[y, x] == (NO_REGION if small else clusters[y, x])
    assert np.array_equal(without_small(clusters, 0), clusters)


def test_region_logits_from_similarities_are_those_of_pooled_tokens():
    tokens, texts = RNG.normal(size=(64, 12)), RNG.normal(size=(5, 12))
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    clusters = RNG.integers(0, 4, (8, 8)).astype(np.uint8)
    clusters[0, :3] = NO_REGION
    found = region_means(clusters, tokens @ texts.T, 6)
    for region in range(4):
        pooled = tokens[clusters.ravel() == region].mean(axis=0)  # Eq. 1
        np.testing.assert_allclose(found[region], texts @ pooled, atol=1e-12)
    assert (found[4:] == 0).all()


def test_enlarged_labels_repeat_patches():
    labels = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert np.array_equal(enlarged(labels, 6), labels.repeat(2, 0).repeat(2, 1))


def slow_parts(clusters, similarities, coarse: Classes, fine: Classes, level: str) -> NDArray[np.int64]:
    grid, split = len(clusters), len(coarse.background)
    maps = similarities.reshape(grid, grid, -1)
    parts = np.zeros((grid, grid), int)
    names = [i for i, is_background in enumerate(fine.background) if not is_background]
    for region in set(clusters.ravel().tolist()) - {NO_REGION}:
        inside = clusters == region
        mean = maps[inside].mean(axis=0)
        best = int(mean[:split].argmax())
        if coarse.background[best] or mean[best] <= coarse.thresholds[best]:
            continue
        for y, x in zip(*np.nonzero(inside), strict=True):
            values = maps[y, x, split:] if level == "patch" else mean[split:]
            chosen = int(values.argmax())
            parts[y, x] = names.index(chosen) + 1 if chosen in names else 0
    return parts


@pytest.mark.parametrize("level", ["patch", "region"])
def test_segmentation_is_that_of_the_plain_loop(level: Any):
    coarse = Classes((False, True, False), (0.0, 0.0, 0.02))
    fine = Classes((True, False, False, False), (0.0,) * 4)
    clusters = without_small(RNG.integers(0, 8, (16, 16)).astype(np.uint8), 2)
    clusters[3, 4] = NO_REGION
    similarities = RNG.normal(0, 0.3, (256, 7))
    found = segment(clusters, similarities, coarse, fine, 8, level)
    expected = slow_parts(clusters, similarities, coarse, fine, level)
    assert np.array_equal(found.parts, expected)
    assert 0 < (expected > 0).sum() < 256
    assert histogram(found.parts, 3).tolist() == [(expected == i).sum() for i in (1, 2, 3)]
    assert found.coarse[3, 4] == 0


# Scores


def test_readings_of_equation_2_by_hand():
    h_test, bank = np.array([[10.0, 0.0, 6.0]]), np.array([[5.0, 2.0, 0.0]])
    by_hand = {
        "rel_diff": 5 / 5 + 2 / 2 + 6 / 1,
        "ratio_literal": 10 / 5 + 0 / 2 + 6 / 1,
        "sym_ratio": (10 / 5 - 1) + (2 / 1 - 1) + (6 / 1 - 1),
        "l1": 5 + 2 + 6,
        "l2": (25 + 4 + 36) ** 0.5,
        "cosine": 1 - 50 / ((136**0.5) * (29**0.5)),
    }
    for score, expected in by_hand.items():
        found = histogram_distances(h_test, bank, score)  # type: ignore[arg-type]
        assert found.shape == (1, 1)
        assert found[0, 0] == pytest.approx(expected), score
    fraction = histogram_distances(h_test, bank, "rel_diff", norm="fraction")
    a, b = h_test[0] / 16, bank[0] / 7
    assert fraction[0, 0] == pytest.approx((np.abs(a - b) / np.maximum(b, 1 / 16)).sum())


@pytest.mark.parametrize("score", ["rel_diff", "sym_ratio", "l1", "l2", "cosine"])
@pytest.mark.parametrize("norm", ["count", "fraction"])
def test_a_histogram_in_the_bank_is_at_distance_zero(score: Any, norm: Any):
    bank = np.array([[3.0, 0.0, 9.0], [0.0, 0.0, 0.0], [7.0, 1.0, 1.0]])
    found = histogram_distances(bank, bank, score, 1.0, norm)
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-12)
    assert (found[~np.eye(3, dtype=bool)] > 0).all()


def test_no_foreground_at_all_scores_the_number_of_parts():
    assert histogram_distances(np.zeros((1, 4)), np.full((1, 4), 20.0), "rel_diff")[0, 0] == 4


def test_a_part_that_no_support_image_has_counts_in_units_of_the_image():
    """Eq. 2 divides by 0 there: the part contributes its area over epsilon, on a grid of any fineness."""
    h_test, bank = np.array([[30.0, 12.0]]), np.array([[30.0, 0.0]])
    for finer in (1, 4, 16):
        found = histogram_distances(h_test * finer, bank * finer, "rel_diff", eps=2.0 * finer)
        assert found[0, 0] == 12 / 2


def test_patch_map_takes_the_nearest_support_then_fuses_stages():
    rows = RNG.random((4, 3, 10))
    expected = [np.mean([min(rows[s, i, p] for i in range(3)) for s in range(4)]) for p in range(10)]
    np.testing.assert_allclose(patch_map(rows, "mean"), expected)
    np.testing.assert_allclose(patch_map(rows, "sum"), 4 * np.array(expected))


def test_mahalanobis_distance_by_hand():
    normal, x = RNG.normal(size=(12, 2)) * (1, 50) + (3, 100), np.array([[5.0, 80.0], [1.0, 130.0]])
    mu, sigma = normal.mean(axis=0), np.cov(normal.T)
    inverse = [np.sqrt((v - mu) @ np.linalg.inv(sigma) @ (v - mu)) for v in x]
    literal = [np.sqrt((v - mu) @ sigma @ (v - mu)) for v in x]
    np.testing.assert_allclose(Normalisation.of(normal, "inverse", False)(x), inverse, rtol=1e-5)
    np.testing.assert_allclose(Normalisation.of(normal, "literal", False)(x), literal, rtol=1e-9)


UNITS = [(a, b) for a in (1e-6, 1.0, 1e6) for b in (1e-6, 1.0, 1e6)]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("number", [2, 3, 12])
def test_the_unit_of_a_score_is_irrelevant(unit: tuple[float, float], one_sided: bool, number: int):
    """s_log counts in parts of a histogram and s_str in cosines: 10⁴ lie between them in real runs."""
    rng = np.random.default_rng(number)
    normal, x = rng.gamma(2, 0.05, (number, 2)), rng.gamma(2, 0.1, (40, 2))
    plain = Normalisation.of(normal, "inverse", one_sided)(x)
    other = Normalisation.of(normal * unit, "inverse", one_sided)(x * np.array(unit))
    np.testing.assert_allclose(other, plain, rtol=1e-6)
    assert np.array_equal(other.argsort(), plain.argsort())


@pytest.mark.parametrize("unit", UNITS)
def test_a_score_that_never_varies_is_measured_by_its_mean(unit: tuple[float, float]):
    flat = np.stack([RNG.normal(4, 1, 9), np.full(9, 0.2)], axis=1)
    x = np.array([[flat[:, 0].mean(), 0.5], [flat[:, 0].mean() + flat[:, 0].std(ddof=1), 0.2]])
    found = Normalisation.of(flat * unit, "inverse", False)(x * np.array(unit))
    np.testing.assert_allclose(found, [1.5, 1.0], rtol=1e-5)


def test_one_sided_counts_only_what_is_above_the_mean():
    normal = RNG.normal(size=(12, 2))
    fused = Normalisation.of(normal, "inverse", True)
    below, above = normal.mean(axis=0) - 3, normal.mean(axis=0) + 3
    assert fused(below[None])[0] == 0
    assert fused(above[None])[0] == pytest.approx(Normalisation.of(normal, "inverse", False)(above[None])[0])


def test_two_normal_images_give_z_scores():
    normal = np.array([[1.0, 10.0], [3.0, 14.0]])
    found = Normalisation.of(normal, "inverse", False)(np.array([[4.0, 12.0]]))
    assert found[0] == pytest.approx((4 - 2) / 2**0.5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_scores_that_never_vary_divide_by_no_zero(value: float):
    normal = np.full((5, 2), value)
    found = Normalisation.of(normal, "inverse", False)(np.array([[value, value], [value + 0.5, value]]))
    np.testing.assert_allclose(found, [0, 0.5], rtol=1e-6)


def test_two_scores_that_say_the_same_divide_by_no_zero():
    normal = RNG.normal(size=(9, 1)) * [1.0, 3.0]
    assert np.isfinite(Normalisation.of(normal, "inverse", False)(RNG.normal(size=(5, 2)))).all()


def test_without_normalisation_scores_are_added():
    assert Normalisation.nothing()(np.array([[2.0, 3.0]]))[0] == 5


# Prompts


@pytest.mark.parametrize("path", sorted(SHIPPED.rglob("*.yaml")), ids=lambda p: p.parent.name + "-" + p.stem)
def test_shipped_prompts_are_sound(path: Path):
    prompts = read(path)
    coarse = prompts.classes("coarse")
    assert any(coarse.background), "without background nothing is left out"
    assert 1 <= len(prompts.parts) == prompts.classes("fine").parts.max()
    assert len(prompts.words) == len(prompts.coarse) + len(prompts.fine)


NINE = ["breakfast_box", "pushpins", "screw_bag"]
NINE += [f"juice_bottle/{name}" for name in ("banana", "cherry", "orange")]
NINE += [f"splicing_connectors/{name}" for name in ("blue", "red", "yellow")]


@pytest.mark.parametrize("category", NINE)
@pytest.mark.parametrize("weights", [None, "demo"])
def test_every_category_of_the_tables_has_prompts(category: str, weights: str | None):
    path = find(None, weights, category)
    assert path is not None
    assert path.stem == category.partition("/")[0]
    assert (path.parent.name == "demo") == (weights == "demo")


def test_cluster_numbers_and_levels_are_those_of_the_reference():
    numbers = {name: read(SHIPPED / f"{name}.yaml").n_clusters for name in ("pushpins", "screw_bag")}
    assert numbers == {"pushpins": 10, "screw_bag": 10}
    assert read(SHIPPED / "splicing_connectors.yaml").n_clusters == 10
    assert read(SHIPPED / "breakfast_box.yaml").n_clusters == 3
    bottle = read(SHIPPED / "juice_bottle.yaml")
    assert (bottle.n_clusters, bottle.fine_level) == (8, "region")


OWN = """
coarse: {bolt: [bolt, screw], background: [table]}
fine: {long bolt: [long bolt], background: [table]}
"""


def test_a_sub_type_may_have_its_own_file(tmp_path: Path):
    (tmp_path / "bolts").mkdir()
    (tmp_path / "bolts.yaml").write_text(OWN)
    (tmp_path / "bolts" / "red.yaml").write_text(OWN)
    assert find(str(tmp_path), None, "bolts/red") == tmp_path / "bolts" / "red.yaml"
    assert find(str(tmp_path), None, "bolts/blue") == tmp_path / "bolts.yaml"
    assert find(str(tmp_path / "bolts.yaml"), None, "anything") == tmp_path / "bolts.yaml"


def test_a_category_without_prompts_is_told_what_to_write(tmp_path: Path):
    assert find(None, None, "transistor") is None
    assert "Write transistor.yaml with the keys `coarse` and `fine`" in missing("transistor")
    assert "did you mean 'screw_bag'" in missing("screwbag")
    with pytest.raises(DataError, match=r"no prompts for 'transistor'.* has: none"):
        find(str(tmp_path), None, "transistor")
    with pytest.raises(DataError, match="no file or folder"):
        find(str(tmp_path / "nowhere"), None, "transistor")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("coarse: [", "not a readable YAML file"),
        ("- a list", "coarse: is required"),
        ("coarse: {bolt: [bolt]}", "fine: is required"),
        (OWN + "clusters: 5", "unknown key.*n_clusters"),
        (OWN + "n_clusters: 0", "n_clusters"),
        (OWN + "background: [backgruond]", "no class is called 'backgruond' .did you mean 'background'"),
        (OWN + "coarse_threshold: {bold: 0.2}", "coarse_threshold: no class is called 'bold'"),
        (OWN + "templates: [a photo]", "has no {} for the word"),
        (OWN + "fine_level: pixel", "fine_level"),
        (OWN.replace("[long bolt]", "[]"), "fine"),
        (OWN + "background: [bolt, background]", "coarse: at least one class must not be background"),
    ],
)
def test_wrong_prompt_files_are_refused(tmp_path: Path, content: str, words: str):
    path = tmp_path / "bolts.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_prompts_are_identified_by_their_content_alone(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(OWN)
    (tmp_path / "b.yaml").write_text("# a comment\n" + OWN)
    (tmp_path / "c.yaml").write_text(OWN + "n_clusters: 4")
    a, b, c = (read(tmp_path / f"{name}.yaml").sha256 for name in "abc")
    assert a == b != c
