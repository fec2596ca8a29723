"""WinCLIP: windows, their harmonic means, and the scores, each against a slow twin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.artifacts import ArtifactStore, no_store
from harness.data import FitData, ImageSet
from harness.datasets.demo import CATEGORIES
from harness.errors import ConfigError, DataError, NeedNotMet
from harness.method import Context
from harness.params import resolve
from methods.shared.openclip.model import model_of
from methods.shared.openclip.prompts import abnormality, normal_and_abnormal
from methods.shared.openclip.spec import ClipSpec
from methods.shared.openclip.text import text_embeddings
from methods.shared.pixels import Geometry, resized
from methods.winclip import WinClip
from methods.winclip.states import SHIPPED, find, read
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


# Texts of one's own

OWN = "normal: [a plate, a white plate]\nabnormal: [a broken plate]\n"


def assets(**params: Any) -> list[str]:
    found = WinClip.card.assets(resolve(WinClip, {"weights": "demo", **params}), "plate")
    return [f"{a.name} {a.sha256[:8]}" for a in found]


def test_texts_of_ones_own_take_the_place_of_the_ensemble(images: ImageSet, tmp_path: Path):
    store = ArtifactStore(tmp_path / "store")
    path = tmp_path / "juice_bottle.yaml"
    path.write_text(OWN + "templates: ['{}', 'a photo of {}.']")
    method = fitted(images, store, [0], prompts=str(tmp_path))
    said = [["a plate", "a white plate"], ["a broken plate"]]
    expected = text_embeddings(said, ("{}", "a photo of {}."), SPEC, store, "cpu")
    np.testing.assert_array_equal(method.texts, expected)
    np.testing.assert_array_equal(fitted(images, store, [0], prompts=str(path)).texts, expected)
    own = normal_and_abnormal("juice bottle", SPEC, store, "cpu")
    np.testing.assert_array_equal(fitted(images, store, [0]).texts, own)


def test_texts_are_part_of_a_trial_by_their_content(tmp_path: Path):
    path = tmp_path / "plate.yaml"
    path.write_text(OWN)
    first = assets(prompts=str(path))
    path.write_text("# a comment\n" + OWN)
    assert assets(prompts=str(tmp_path)) == first
    path.write_text(OWN.replace("broken", "cracked"))
    assert assets(prompts=str(path)) != first
    assert assets() == first[:1], "the paper's own texts are no file"
    assert "prompts" in WinClip.card.paths


@pytest.mark.parametrize("path", sorted((SHIPPED / "demo").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_texts_are_in_words_that_the_demo_model_knows(path: Path):
    """A word that it never saw has the zero vector, and a text of such words says nothing."""
    states = read(path)
    model: Any = model_of(SPEC, "cpu")
    for text in (*states.normal, *states.abnormal):
        tokens = model.tokenizer([text])[0]
        known = model.model.token_embedding(tokens[tokens > 0]).abs().sum(dim=1) > 0
        assert known.all(), text
    assert not set(states.normal) & set(states.abnormal)


def test_every_demo_category_has_texts():
    assert {p.stem for p in (SHIPPED / "demo").glob("*.yaml")} == set(CATEGORIES)
    assert find("demo", "juice_bottle/cherry") == SHIPPED / "demo" / "juice_bottle.yaml"


def test_missing_texts_are_told_what_to_write(tmp_path: Path):
    with pytest.raises(DataError, match=r"nothing for 'screwbag' .did you mean 'screw_bag'.*screwbag\.yaml"):
        find("demo", "screwbag")
    with pytest.raises(DataError, match="no file or folder"):
        find(str(tmp_path / "nowhere"), "plate")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("normal: [", "not a readable YAML file"),
        ("normal: [a]", "abnormal: is required"),
        ("normal: []\nabnormal: [b]", "normal"),
        (OWN + "abnorml: [c]", "unknown key.*did you mean 'abnormal'"),
        (OWN + "templates: [a photo]", "templates: 'a photo' has no {} for the text"),
    ],
)
def test_wrong_files_of_texts_are_refused(tmp_path: Path, content: str, words: str):
    path = tmp_path / "plate.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
