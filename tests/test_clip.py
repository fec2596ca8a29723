"""CLIP: visual, textual and both; text alone needs no image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifacts import ArtifactStore
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Context
from methods.clip import Clip
from methods.shared.openclip.features import global_embeddings
from methods.shared.openclip.prompts import ABNORMAL, NORMAL, abnormality, class_name, templates


@pytest.fixture
def images() -> ImageSet:
    rng = np.random.default_rng(0)
    return ImageSet.of_arrays([rng.integers(0, 256, (40, 40, 3), np.uint8) for _ in range(5)])


def fitted(images: ImageSet, store: ArtifactStore, shots: list[int], mode: Any) -> Clip:
    method = Clip(Context(artifacts=store), clip_mode=mode, weights="demo", image_size=48)
    return method.fit(FitData(train=images.subset(shots), category="juice_bottle"))


def test_visual_score_is_the_distance_to_the_nearest_support(images: ImageSet, tmp_path: Path):
    store = ArtifactStore(tmp_path)
    method = fitted(images, store, [1, 3], "visual")
    scores = method.score(images)
    embeddings = global_embeddings(images, method._spec, store, "cpu")
    expected = [min(1 - e @ embeddings[1], 1 - e @ embeddings[3]) for e in embeddings]
    np.testing.assert_allclose(scores.image, expected, atol=1e-6)
    np.testing.assert_allclose(scores.image[[1, 3]], 0, atol=1e-6)
    assert list(scores.parts) == ["visual"]


def test_every_shot_mode_and_draw_is_a_lookup(images: ImageSet, tmp_path: Path):
    store = ArtifactStore(tmp_path)
    for shots in ([0], [0, 1], [2, 4]):
        for mode in ("visual", "text", "text+visual"):
            fitted(images, store, shots, mode).score(images)
    assert store.counters["backbone_passes"] == 5
    assert store.counters["clip_text.computes"] == 2


def test_more_support_never_raises_the_score(images: ImageSet, tmp_path: Path):
    store = ArtifactStore(tmp_path)
    one, two = (fitted(images, store, shots, "visual").score(images).image for shots in ([0], [0, 1]))
    assert (two <= one + 1e-12).all()
    assert (two < one).any()


def test_both_is_the_mean_of_two_scores_in_the_unit_interval(images: ImageSet, tmp_path: Path):
    scores = fitted(images, ArtifactStore(tmp_path), [0], "text+visual").score(images)
    np.testing.assert_allclose(scores.image, (scores.parts["text"] + scores.parts["visual"] / 2) / 2)
    assert ((scores.parts["text"] > 0) & (scores.parts["text"] < 1)).all()


def test_only_text_does_without_support(images: ImageSet, tmp_path: Path):
    store = ArtifactStore(tmp_path)
    assert np.isfinite(fitted(images, store, [], "text").score(images).image).all()
    assert Clip.card.ignores({"clip_mode": "text"}) == {"shots", "split_seed", "run_seed"}
    assert Clip.card.ignores({"clip_mode": "visual"}) == {"run_seed"}
    with pytest.raises(NeedNotMet, match="clip_mode 'text\\+visual'"):
        fitted(images, store, [], "text+visual")


def test_abnormality_is_a_softmax_over_two_texts():
    texts = np.array([[1, 0], [0, 1]], np.float32)
    embedding = np.array([[0.6, 0.8]], np.float32)
    damaged, flawless = np.exp(0.8 / 0.07), np.exp(0.6 / 0.07)
    np.testing.assert_allclose(abnormality(embedding, texts, 0.07), damaged / (damaged + flawless), rtol=1e-5)


def test_the_prompt_ensemble():
    found = templates()
    assert len(set(found)) == len(found) == 22
    assert all(t.count("{}") == 1 for t in (*found, *NORMAL, *ABNORMAL))
    assert {"a cropped photo of the {}.", "a photo of a small {}.", "a photo of the {}."} <= set(found)
    assert (len(NORMAL), len(ABNORMAL)) == (7, 4)


def test_categories_are_called_by_their_names():
    assert class_name("breakfast_box") == "breakfast box"
    assert class_name("juice_bottle/cherry") == "cherry juice bottle"
    assert class_name("my/own_part") == "my own part"
