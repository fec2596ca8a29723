"""WinCLIP: windows, their harmonic means, and the scores, each against a slow twin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.artifacts import ArtifactStore, no_store
from harness.data import FitData, ImageSet
from harness.errors import ConfigError, NeedNotMet
from harness.method import Context
from methods.shared.openclip.model import model_of
from methods.shared.openclip.prompts import abnormality
from methods.shared.openclip.spec import ClipSpec
from methods.shared.pixels import Geometry, resized
from methods.winclip import WinClip
from methods.winclip.windows import harmonic, patch_distances, window_distances, window_embeddings, windows

SPEC = ClipSpec("ViT-B-16-plus-240", "laion400m_e31", "demo", 40)  # 5 × 5 patches


@pytest.fixture
def images() -> ImageSet:
    rng = np.random.default_rng(0)
    return ImageSet.of_arrays([rng.integers(0, 256, (40, 40, 3), np.uint8) for _ in range(3)])


def fitted(images: ImageSet, store: ArtifactStore, shots: list[int], **params: Any) -> WinClip:
    method = WinClip(Context(artifacts=store), weights="demo", image_size=40, **params)
    return method.fit(FitData(train=images.subset(shots), category="juice_bottle"))


def test_windows_are_all_squares():
    assert windows(3, 2).tolist() == [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]
    assert windows(15, 2).shape == (196, 4)
    assert windows(15, 3).shape == (169, 9)
    assert windows(3, 1).tolist() == [[i] for i in range(9)]


@pytest.mark.parametrize("side", [1, 2, 3])
def test_harmonic_means_equal_plain_loops(side: int):
    values = np.random.default_rng(side).random((2, (5 - side + 1) ** 2))
    found = harmonic(values, 5, side)
    for n in range(2):
        for patch in range(25):
            around = [v for v, w in zip(values[n], windows(5, side), strict=True) if patch in w]
            assert found[n].flat[patch] == pytest.approx(len(around) / sum(1 / v for v in around))


def test_a_window_without_distance_makes_its_patches_zero():
    found = harmonic(np.array([[0.0, 1, 1, 1]]), 3, 2)[0]
    np.testing.assert_allclose(found, [[0, 0, 1], [0, 0, 1], [1, 1, 1]])


def test_window_embeddings_equal_one_window_at_a_time(images: ImageSet):
    model = model_of(SPEC, "cpu")
    visual: Any = model.visual
    pixels = resized(images.subset([1]), Geometry.square(40), no_store())
    found = window_embeddings(images, 2, SPEC, no_store(), "cpu")[1]
    with torch.inference_mode():
        tokens = model.embedded(pixels)
        for row, window in zip(found, windows(5, 2), strict=True):
            seen = torch.cat([tokens[:, :1], *(tokens[:, 1 + p : 2 + p] for p in window)], dim=1)
            expected = visual.ln_post(visual.transformer(seen))[0, 0] @ visual.proj
            np.testing.assert_allclose(row, (expected / expected.norm()).numpy(), atol=1e-5)


def test_scores_and_maps_equal_the_formulas(images: ImageSet, tmp_path: Path):
    store = ArtifactStore(tmp_path)
    method = fitted(images, store, [0, 1])
    scores = method.score(images)
    text = scores.parts["text"]
    zero = [np.broadcast_to(text[:, None, None], (3, 5, 5))]
    patches = patch_distances(images, images.subset([0, 1]), "last", SPEC, store, "cpu")
    few = [patches.min(axis=1).reshape(3, 5, 5) / 2]
    for side in (2, 3):
        seen = np.stack(window_embeddings(images, side, SPEC, store, "cpu"))
        zero.append(harmonic(abnormality(seen, method.texts, 0.07), 5, side))
        bank = seen[:2].reshape(-1, seen.shape[-1])
        few.append(harmonic(np.clip(1 - seen @ bank.T, 0, None).min(axis=-1) / 2, 5, side))
    zero_shot = 3 / (1 / zero[0] + 1 / zero[1] + 1 / zero[2])
    association = (few[0] + few[1] + few[2]) / 3
    assert scores.maps is not None
    np.testing.assert_allclose(scores.maps[2], ((zero_shot + association) / 2)[2], atol=1e-5)
    np.testing.assert_allclose(scores.parts["association"][2], association[2].max(), atol=1e-5)
    np.testing.assert_allclose(scores.image, (text + scores.parts["association"]) / 2)
    np.testing.assert_allclose(scores.parts["association"][:2], 0, atol=1e-5)
    zero_scores = fitted(images, store, [], mode="zero_shot").score(images)
    assert zero_scores.maps is not None
    np.testing.assert_allclose(zero_scores.maps, zero_shot, atol=1e-6)
    np.testing.assert_array_equal(zero_scores.image, text)


def test_patches_are_compared_behind_ln_post_or_before_the_last_block(images: ImageSet):
    visual: Any = model_of(SPEC, "cpu").visual
    with torch.inference_mode():
        batch = model_of(SPEC, "cpu").embedded(resized(images, Geometry.square(40), no_store()))
        *front, last = visual.transformer.resblocks
        for block in front:
            batch = block(batch)
        final = visual.ln_post(last(batch))[:, 1:]
    for layer, tokens in (("last", final), ("penultimate", batch[:, 1:])):
        rows = torch.nn.functional.normalize(tokens, dim=-1)
        expected = (1 - rows[1] @ rows[0].T).amin(dim=1).numpy()
        found = patch_distances(images, images.subset([0]), layer, SPEC, no_store(), "cpu")
        np.testing.assert_allclose(found[1, 0], expected, atol=1e-5)


def test_images_are_seen_once_whatever_the_shots(images: ImageSet, tmp_path: Path):
    store = ArtifactStore(tmp_path)
    for shots in ([0], [0, 1], [2]):
        fitted(images, store, shots).score(images)
    assert store.counters["backbone_passes"] == 3
    assert store.counters["window_passes"] == 6  # two sizes of windows
    found = window_distances(images, images, 2, SPEC, store, "cpu")
    assert store.counters["winclip_window_distances.computes"] == 18
    np.testing.assert_allclose(found[[0, 1, 2], [0, 1, 2]], 0, atol=1e-6)


def test_what_it_needs_and_ignores(images: ImageSet):
    assert WinClip.card.ignores({"mode": "zero_shot"}) == {"shots", "split_seed", "run_seed"}
    assert WinClip.card.ignores({"mode": "few_shot"}) == {"run_seed"}
    with pytest.raises(NeedNotMet, match="at least one training image"):
        fitted(images, no_store(), [])
    with pytest.raises(ConfigError, match=r"scales \[2, 6\]: the image has 5 patches"):
        fitted(images, no_store(), [0], scales=(2, 6))
