"""PUAD on EfficientAD's students: the covariance against a slow twin, the sum, and one training for both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData
from harness.method import Context
from methods.efficientad import PUAD, PUADDFSC, EfficientAD, EfficientADDFSC
from methods.efficientad.gaussian import Gaussian, ledoit_wolf

QUICK = {"weights": "demo", "image_size": 64, "steps": 6}
Kinds = [(PUAD, EfficientAD), (PUADDFSC, EfficientADDFSC)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def made(cls: Any, store: Path, k: int = 4, validation: bool = True, **params: Any) -> Any:
    data = FitData(plates().train.subset(range(k)), plates().validation.subset(range(3 if validation else 0)))
    return cls(Context(artifacts=ArtifactStore(store)), **QUICK, **params).fit(data)


def slow_covariance(rows: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf's Lemma 3.1–3.4, vector by vector; norms are those of matrices over d."""
    n, d = rows.shape
    x = rows - rows.mean(axis=0)
    S = sum(np.outer(v, v) for v in x) / n
    mu = np.trace(S) / d
    d2 = np.linalg.norm(S - mu * np.eye(d)) ** 2 / d
    b2 = min(sum(np.linalg.norm(np.outer(v, v) - S) ** 2 / d for v in x) / n**2, d2)
    return b2 / d2 * mu * np.eye(d) + (1 - b2 / d2) * S


@pytest.mark.parametrize(("n", "d"), [(3, 20), (12, 5), (50, 4), (2, 6)])
def test_the_covariance_is_ledoits_and_wolfs(n: int, d: int):
    rows = np.random.default_rng(n).normal(0, np.arange(1, d + 1), (n, d)) + 5
    np.testing.assert_allclose(ledoit_wolf(rows), slow_covariance(rows), rtol=1e-9, atol=1e-12)


def test_two_vectors_have_a_covariance_of_rank_one_and_one_has_none():
    """Why there is no distance below three images."""
    rows = np.random.default_rng(0).normal(size=(2, 6))
    assert np.linalg.matrix_rank(ledoit_wolf(rows)) == 1
    assert not ledoit_wolf(rows[:1]).any()


def test_the_distance_is_mahalanobis():
    rows = np.random.default_rng(1).normal(0, [1, 2, 3], (30, 3))
    x = np.array([1.0, -2.0, 4.0])
    difference = x - rows.mean(axis=0)
    expected = np.sqrt(difference @ np.linalg.inv(slow_covariance(rows)) @ difference)
    assert Gaussian.of(rows).distance(x) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("puad", "below"), Kinds)
def test_the_score_is_the_sum_of_both_on_the_scale_of_validation_images(puad: Any, below: Any, store: Path):
    method, images = made(puad, store), plates().test.subset([0, 3, 12])
    plain, scores = made(below, store), method.score(images)
    normal = method.score(plates().validation.subset(range(3)))
    expected = np.zeros(3)
    for part in ("efficientad", "mahalanobis"):
        scale = normal.parts[part]
        expected += (scores.parts[part] - scale.mean()) / scale.std()
    np.testing.assert_allclose(scores.image, expected, rtol=1e-12)
    assert np.array_equal(scores.parts["efficientad"], plain.score(images).image)
    assert np.array_equal(scores.maps, plain.score(images).maps)


@pytest.mark.parametrize("of", ["student", "teacher"])
def test_the_means_are_those_of_the_maps(of: str, store: Path):
    method, images = made(PUAD, store, of=of), plates().test.subset([5])
    task = method.detector.task
    mean, deviation = (each[:, None, None] for each in task.statistics())
    T = (task.teacher.maps(images, task.context.artifacts)[0] - mean) / deviation
    student, teacher = method.detector.reader.means(images)[0]
    np.testing.assert_allclose(teacher, T.mean(axis=(1, 2)), rtol=1e-3, atol=1e-5)
    used = student if of == "student" else teacher
    expected = method.unusual.gaussian.distance(used.astype(float))
    assert method.score(images).parts["mahalanobis"][0] == expected
    assert not np.allclose(student, teacher, atol=1e-3)


@pytest.mark.parametrize(("puad", "below"), Kinds)
@pytest.mark.parametrize("order", [1, -1])
def test_both_train_once_and_pass_once(puad: Any, below: Any, order: int, tmp_path: Path):
    first, second = (made(cls, tmp_path, k=3) for cls in (puad, below)[::order])
    images = plates().test.subset([0, 1])
    first.score(images)
    second.score(images)
    passes = [m.context.artifacts.counters["student_passes"] for m in (first, second)]
    # training images are looked at by PUAD only, and none a second time
    assert sum(passes) == 3 + 2 + 3 and (order == -1 or passes[1] == 0)
    assert np.array_equal(first.detector.weights, second.detector.weights)


@pytest.mark.parametrize("k", [1, 2])
def test_below_three_images_the_score_is_that_of_the_detector_below(k: int, store: Path):
    images = plates().test.subset([0, 12])
    scores = made(PUAD, store, k=k).score(images)
    assert np.array_equal(scores.image, made(EfficientAD, store, k=k).score(images).image)
    assert not scores.parts["mahalanobis"].any()
    assert made(PUAD, store, k=4, least_images=5).unusual is None


def test_without_validation_images_the_training_images_set_the_scale(store: Path):
    method = made(PUAD, store, k=3, validation=False)
    own = method.score(plates().train.subset(range(3)))
    assert own.image.mean() == pytest.approx(0, abs=1e-9)
