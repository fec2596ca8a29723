"""PromptAD: value–value attention, contexts, losses and scores, each against a slow twin; kept trainings."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harness.artifacts import ArtifactStore, no_store
from harness.data import FitData, ImageSet
from harness.errors import ConfigError, DataError, HarnessError, NeedNotMet
from harness.method import Context
from harness.params import Problem, resolve
from methods.promptad import PromptAD
from methods.promptad.contexts import Contexts, Sizes, Texts
from methods.promptad.losses import terms
from methods.promptad.scoring import harmonic
from methods.promptad.states import GENERIC, SHIPPED, find, read, texts
from methods.promptad.training import rate
from methods.shared.openclip.features import readings
from methods.shared.openclip.model import model_of
from methods.shared.openclip.spec import ClipSpec
from methods.shared.pixels import Geometry, resized

READS = ("global", 1, "1+", "vv")
SPEC = ClipSpec("ViT-B-16-plus-240", "laion400m_e32", "demo", 40, stages=(1,), reads=READS)
TINY: dict[str, Any] = {
    "weights": "demo",
    "image_size": 40,
    "memory_blocks": (1, 3),
    "normal_contexts": 2,
    "abnormal_contexts": 1,
    "steps": 4,
    "learning_rate": 0.02,
}


@pytest.fixture
def images() -> ImageSet:
    rng = np.random.default_rng(0)
    return ImageSet.of_arrays([rng.integers(0, 256, (40, 40, 3), np.uint8) for _ in range(4)])


def fitted(images: ImageSet, shots: list[int], context: Context | None = None, **params: Any) -> PromptAD:
    method = PromptAD(context or Context(), **(TINY | params))
    return method.fit(FitData(train=images.subset(shots), category="juice_bottle"))


def test_the_second_path_and_the_halves_equal_plain_attention(images: ImageSet):
    found = readings(images, READS, SPEC, no_store(), "cpu")[0]
    clip = model_of(SPEC, "cpu")
    visual: Any = clip.visual
    with torch.inference_mode():
        tokens = clip.embedded([resized(images, Geometry.square(40), no_store())[0]])[0]
        second, outputs = tokens.clone(), []
        for block in visual.transformer.resblocks:
            normed, width = block.ln_1(tokens), tokens.shape[1]
            weight, bias = block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :]
            values, seen = normed @ weight.T + bias, []
            for v in values.split(width // block.attn.num_heads, dim=1):
                seen.append(torch.softmax(v @ v.T / v.shape[1] ** 0.5, dim=1) @ v)
            second = second + block.attn.out_proj(torch.cat(seen, dim=1))
            outputs.append(block(tokens[None])[0])
            tokens = outputs[-1]
        after = visual.transformer.resblocks[1]
        normed = after.ln_1(outputs[0])[None]
        half = outputs[0] + after.attn(normed, normed, normed, need_weights=False)[0][0]
        dense = visual.ln_post(second) @ visual.proj
    np.testing.assert_allclose(found["vv"], dense[1:], atol=2e-5)
    np.testing.assert_allclose(found["1+"], half[1:], atol=2e-5)
    np.testing.assert_allclose(found[1], outputs[0][1:], atol=2e-5)


def test_one_pass_gives_everything_once(images: ImageSet, tmp_path: Path):
    store = ArtifactStore(tmp_path)
    fitted(images, [0, 1], Context(artifacts=store)).score(images)
    assert store.counters["backbone_passes"] == len(images)
    fitted(images, [0], Context(artifacts=store, run_seed=1)).score(images)
    assert store.counters["backbone_passes"] == len(images)


def test_prompts_with_the_words_own_vectors_are_the_texts():
    clip = model_of(SPEC, "cpu")
    contexts = Contexts(clip, "juice bottle", ["damaged juice bottle"], Sizes(2, 1, 1, 1), 0)
    with torch.no_grad():
        token = clip.model.token_embedding(clip.tokenizer(["N"]))[0, 1]
        contexts.normal.copy_(token.expand_as(contexts.normal))
        contexts.abnormal.copy_(token.expand_as(contexts.abnormal))
        found = torch.cat(list(contexts()))
    said = ["N N juice bottle.", "N N damaged juice bottle.", "N N N juice bottle."]
    np.testing.assert_allclose(F.normalize(found, dim=1), clip.texts(said), atol=2e-6)


def test_every_suffix_meets_every_context():
    contexts = Contexts(model_of(SPEC, "cpu"), "x", ["a x", "b x"], Sizes(4, 2, 1, 2), 0)
    with torch.no_grad():
        found = contexts()
    assert [len(each) for each in found] == [2, 4, 4]
    assert sorted(contexts.plan[6:]) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_losses_equal_plain_sums():
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(3, 5, generator=generator), dim=1)
    said = Texts(*(torch.randn(n, 5, generator=generator) for n in (2, 4, 3)))
    found = terms(features, said, 4.6)
    normal = said.normal.mean(0) / said.normal.mean(0).norm()
    abnormal = torch.cat([said.manual, said.learned])
    centre = abnormal.mean(0) / abnormal.mean(0).norm()
    contrast, margin = [], []
    for f in features:
        exponents = [torch.exp(4.6 * f @ normal)] + [torch.exp(4.6 * f @ a / a.norm()) for a in abnormal]
        contrast.append(-torch.log(exponents[0] / sum(exponents)))
        margin.append(max(((f - normal) ** 2).sum() - ((f - centre) ** 2).sum(), torch.tensor(0.0)))
    means = [torch.stack([t / t.norm() for t in each]).mean(0) for each in (said.manual, said.learned)]
    assert float(found["contrast"]) == pytest.approx(float(sum(contrast) / 3), rel=1e-5)
    assert float(found["margin"]) == pytest.approx(float(sum(margin) / 3), rel=1e-5)
    assert float(found["match"]) == pytest.approx(float(((means[0] - means[1]) ** 2).sum()), rel=1e-5)


def test_the_rate_falls_along_half_a_cosine():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.002)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=10, eta_min=1e-5)
    for epoch in range(10):
        assert 0.002 * rate(epoch, 10, (0.002, 1e-5)) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        plan.step()


def test_training_lowers_the_loss_and_every_image_stands_for_itself(images: ImageSet, tmp_path: Path):
    method = fitted(images, [0, 1], Context(scratch=tmp_path), steps=12)
    rows = list(csv.DictReader((tmp_path / "losses-images.csv").read_text().splitlines()))
    assert float(rows[-1]["contrast"]) < float(rows[0]["contrast"])
    whole, apart = method.score(images), [method.score(images.subset([i])) for i in range(4)]
    np.testing.assert_array_equal(whole.image, np.concatenate([each.image for each in apart]))
    assert whole.maps is not None and whole.maps.shape == (4, 400, 400)
    text, memory = whole.parts["text"], whole.parts["memory"]
    assert (memory[:2] < 1e-6).all() and (memory[2:] > 1e-4).all()
    np.testing.assert_allclose(whole.image[2:], 1 / (1 / text[2:] + 1 / memory[2:]))


def test_more_shots_never_raise_the_distance_and_their_order_does_not_matter(images: ImageSet):
    few, more = (fitted(images, shots, maps=False).score(images) for shots in ([0], [0, 1]))
    assert (more.parts["memory"] <= few.parts["memory"] + 1e-7).all()
    turned = fitted(images, [1, 0], maps=False).score(images)
    np.testing.assert_allclose(turned.image, more.image, rtol=1e-4)


def test_a_loss_that_is_not_finite_names_its_step(images: ImageSet):
    with pytest.raises(HarnessError, match="training of the images diverged at step"):
        fitted(images, [0], learning_rate=1e38)


def test_harmonic_of_nothing_is_nothing():
    assert harmonic(np.array([0.5, 0.0]), np.array([0.0, 0.5])).tolist() == [0, 0]


def test_no_training_image_is_said(images: ImageSet):
    with pytest.raises(NeedNotMet):
        fitted(images, [])


def test_words_of_every_category_are_read_and_own_ones_asked_for(tmp_path: Path):
    files = sorted(SHIPPED.rglob("*.yaml"))
    assert len(files) == 37 and all(read(file).abnormal for file in files)
    name, said = texts(find(None, "juice_bottle/cherry"), "juice_bottle/cherry")
    assert name == "cherry juice bottle" and said[0] == "damaged cherry juice bottle"
    assert "cherry juice bottle without a text label" in said
    assert texts(find(None, "unheard_of"), "unheard_of")[1] == [
        s.replace("{}", "unheard of") for s in GENERIC
    ]
    (tmp_path / "caps.yaml").write_text("abnormal: ['{} upside down']\n")
    assert texts(find(str(tmp_path), "caps"), "caps")[1][-1] == "caps upside down"
    with pytest.raises(DataError, match="did you mean 'caps'"):
        find(str(tmp_path), "cap")


def test_vectors_that_leave_no_room_for_a_word_are_said():
    clip = model_of(SPEC, "cpu")  # of 32 tokens
    assert len(Contexts(clip, "box", [], Sizes(normal=26, abnormal=3), 0)().normal) == 3
    with pytest.raises(ConfigError, match=r"normal_length 27 and abnormal_length 3: .* room for 29"):
        Contexts(clip, "box", [], Sizes(normal=27, abnormal=3), 0)
    with pytest.raises(Problem, match="normal_length"):
        resolve(PromptAD, {"weights": "demo", "normal_length": 33})


def test_attention_of_the_last_block_is_refused_while_planning():
    asked = resolve(
        PromptAD, {"weights": "demo", "image_size": 48, "memory_blocks": [1, 3], "memory_tokens": "attention"}
    )
    assert PromptAD.card.problems(asked) == [
        ("memory_blocks", "3: with `memory_tokens: attention` two blocks must follow")
    ]
    assert not PromptAD.card.problems(asked | {"memory_blocks": [1, 2]})
