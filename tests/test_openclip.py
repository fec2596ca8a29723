"""The room of open_clip models: one pass serves every reading, and each reading has a slow twin."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from harness.artifacts import ArtifactStore, Op, no_store
from harness.data import ImageSet
from harness.errors import ConfigError, WeightsError
from methods.shared.backbones.frozen import half
from methods.shared.openclip import features
from methods.shared.openclip.distances import distance_rows
from methods.shared.openclip.features import dense_tokens, global_embeddings, readings
from methods.shared.openclip.model import blocks, model_of
from methods.shared.openclip.naclip import neighbourhood
from methods.shared.openclip.recent import Recent
from methods.shared.openclip.spec import ClipSpec, assets
from methods.shared.openclip.text import imagenet_templates, text_embeddings, text_similarities
from methods.shared.openclip.tokens import on_grid
from methods.shared.pixels import Geometry, resized

SPEC = ClipSpec(weights="demo", size=48)  # 6 × 6 patches
CLASSES = (("glass bottle", "bottle"), ("black background",))
TEMPLATES = ("a photo of a {}.", "{}")


@pytest.fixture
def images() -> ImageSet:
    rng = np.random.default_rng(0)
    return ImageSet.of_arrays([rng.integers(0, 256, (40, 40, 3), np.uint8) for _ in range(3)])


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


def normalised(images: ImageSet, spec: ClipSpec) -> torch.Tensor:
    pixels = np.stack(resized(images, Geometry.square(spec.size), no_store()))
    model = model_of(spec, "cpu")
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - model.mean) / model.std


def stage_tokens(images: ImageSet, spec: ClipSpec, store: ArtifactStore) -> list[Mapping[Any, np.ndarray]]:
    return readings(images, spec.blocks, spec, store, "cpu")


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_one_pass_serves_everything(images: ImageSet, store: ArtifactStore):
    global_embeddings(images, SPEC, store, "cpu")
    stage_tokens(images, SPEC, store)
    dense_tokens(images, SPEC, store, "cpu")
    text_similarities(images, CLASSES, TEMPLATES, SPEC, store, "cpu", 12)
    distance_rows(images, images, 4, SPEC, store, "cpu", 6)
    assert store.counters["backbone_passes"] == 3
    assert store.counters["last_blocks"] == 0


def test_another_sigma_costs_a_block_and_no_pass(images: ImageSet, store: ArtifactStore):
    first = dense_tokens(images, SPEC, store, "cpu")
    other = ClipSpec(weights="demo", size=48, naclip_sigma=1.0)
    again = dense_tokens(images, other, store, "cpu")
    alone = dense_tokens(images, other, no_store(), "cpu")
    assert store.counters["backbone_passes"] == 3
    assert store.counters["last_blocks"] == 3
    assert np.abs(again[0] - first[0]).max() > 1e-3
    np.testing.assert_array_equal(again, alone)


def test_what_a_card_gives_is_what_was_asked_for(
    images: ImageSet, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
):
    spec = replace(SPEC, reads=(2, 4, "dense", "global"))
    wanted = (2, 3, 4, "input", "dense", "global")  # two more than it says
    wide = readings(images, wanted, spec, no_store(), "cpu")
    monkeypatch.setattr(features, "narrowed", lambda spec, device: frozenset(spec.reads))
    narrow = readings(images, wanted, spec, store, "cpu")
    for one, other in zip(wide, narrow, strict=True):
        assert all(np.array_equal(one[r], other[r]) for r in wanted)
    assert store.root is not None
    assert {path.name for path in (store.root / "packed").iterdir()} == {"clip_global", "resized"}
    passes = store.counters["backbone_passes"]
    readings(images, (2, "dense", 4), spec, store, "cpu")
    assert store.counters["backbone_passes"] == passes


def test_what_was_held_longest_ago_goes_first():
    held, op, asked = Recent(limit=20), Op("any"), []

    def get(*names: str) -> None:
        held.get_many(op, names, lambda missing: [np.zeros(2, np.float32) for _ in missing])
        asked.append([name for name in "abc" if held.read(op, op.key(name)) is None])

    get("a", "b")
    get("a", "c")
    get("b")
    assert asked == [["c"], ["b"], ["a"]]
    assert held.hold("large", np.zeros(99)).flags.writeable is False
    assert held.read(op, "large") is not None and held.read(op, op.key("b")) is None


def test_half_precision_does_not_overflow():
    found = half(torch.tensor([1e6, -7e4, 3.0]))
    assert found.dtype == torch.float16 and found.tolist() == [65504, -65504, 3]


def test_a_lost_array_is_computed_again_and_nothing_else(images: ImageSet, store: ArtifactStore):
    before = stage_tokens(images, SPEC, store)
    assert store.root is not None
    kept = np.array(before[1][2])
    (path,) = (store.root / "packed" / "clip_stage").glob("*.data")
    content = bytearray(path.read_bytes())
    content[content.index(kept.tobytes())] ^= 1
    path.write_bytes(content)
    after = stage_tokens(images, SPEC, store)
    np.testing.assert_array_equal(after[1][2], kept)
    assert (store.counters["backbone_passes"], store.counters["damaged"]) == (4, 1)


def test_readings_are_those_of_open_clip_itself(images: ImageSet):
    model: Any = model_of(SPEC, "cpu").model
    with torch.inference_mode():
        each = [normalised(images.subset([i]), SPEC) for i in range(3)]
        embeddings = torch.cat([model.encode_image(x, normalize=True) for x in each]).numpy()
        tokens = [
            model.visual.forward_intermediates(x, output_fmt="NLC")["image_intermediates"] for x in each
        ]
    np.testing.assert_array_equal(global_embeddings(images, SPEC, no_store(), "cpu"), embeddings)
    for found, expected in zip(stage_tokens(images, SPEC, no_store()), tokens, strict=True):
        assert list(found) == [1, 2, 3, 4]
        for number, array in found.items():
            np.testing.assert_array_equal(array, expected[number - 1][0].numpy())


def slow_naclip(tokens: np.ndarray, sigma: float, arch: str) -> np.ndarray:
    """Section 3.2 with explicit loops over heads and patches, float64."""
    visual: Any = model_of(SPEC, "cpu").visual
    block: Any = blocks(visual)[-1]
    x = torch.from_numpy(np.array(tokens)).double()
    block, post = block.double(), visual.ln_post.double()
    try:
        with torch.inference_mode():
            z = F.layer_norm(x, x.shape[-1:], block.ln_1.weight, block.ln_1.bias, block.ln_1.eps)
            qkv = z @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
            _, k, v = (part.numpy() for part in qkv.chunk(3, dim=-1))
            mixed = np.concatenate([_head(k[:, c], v[:, c], sigma) for c in _columns(k, block)], axis=1)
            out = block.attn.out_proj(torch.from_numpy(mixed))
            if arch == "vanilla":
                out = x + out
                out = out + block.mlp(block.ln_2(out))
            return (post(out) @ visual.proj.double()).numpy()[1:]
    finally:
        block.float(), post.float()


def _columns(k: np.ndarray, block: Any) -> list[slice]:
    width = k.shape[1] // block.attn.num_heads
    return [slice(i, i + width) for i in range(0, k.shape[1], width)]


def _head(k: np.ndarray, v: np.ndarray, sigma: float) -> np.ndarray:
    side = round((len(k) - 1) ** 0.5)
    rows = []
    for i in range(len(k)):
        logits = k @ k[i] / np.sqrt(k.shape[1])
        for j in range(1, len(k)) if i else ():
            (yi, xi), (yj, xj) = divmod(i - 1, side), divmod(j - 1, side)
            logits[j] += np.exp(-((yi - yj) ** 2 + (xi - xj) ** 2) / (2 * sigma**2))
        weights = np.exp(logits - logits.max())
        rows.append(weights @ v / weights.sum())
    return np.array(rows)


@pytest.mark.parametrize("arch", ["reduced", "vanilla"])
def test_naclip_equals_its_slow_twin(images: ImageSet, arch: Any):
    spec = ClipSpec(weights="demo", size=48, naclip_sigma=2.0, naclip_arch=arch)
    for found in readings(images, ("input", "dense"), spec, no_store(), "cpu"):
        np.testing.assert_allclose(found["dense"], slow_naclip(found["input"], 2.0, arch), atol=2e-5)


def test_the_class_token_has_no_neighbourhood():
    omega = neighbourhood(3, 5.0, "cpu").numpy()
    assert omega.shape == (10, 10)
    assert not omega[0].any()
    assert not omega[:, 0].any()
    assert (np.diag(omega)[1:] == 1).all()
    assert omega[1, 9] == pytest.approx(np.exp(-8 / 50))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Random float32 weights of "tiny-ViT", which open_clip then knows: 4 × 4 patches of 8 pixels."""
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 10, "width": 16, "heads": 2, "layers": 1}
    config = tmp_path / "tiny-ViT.json"
    config.write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(config)
    model: Any = open_clip.create_model("tiny-ViT")
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    return tmp_path / "open_clip_pytorch_model.bin"


@pytest.mark.parametrize("size", [32, 48])
def test_positions_are_resized_as_open_clip_does(tiny: Path, size: int):
    """NACLIP's way is another one, where there is anything to resize."""
    theirs: Any = open_clip.create_model("tiny-ViT", pretrained=str(tiny), force_image_size=size)
    found = {}
    for way in ("openclip", "naclip"):
        visual: Any = model_of(ClipSpec("tiny-ViT", None, str(tiny), size, pos_embed=way), "cpu").visual
        found[way] = visual.positional_embedding
    torch.testing.assert_close(found["openclip"], theirs.visual.positional_embedding, rtol=0, atol=0)
    assert found["naclip"].shape == found["openclip"].shape
    assert torch.allclose(found["naclip"], found["openclip"], atol=1e-4) == (size == 32)


def test_half_precision_stays_close_and_is_stored_as_float16(images: ImageSet):
    spec = ClipSpec(weights="demo", size=48, precision="bfloat16")
    tokens = stage_tokens(images, spec, no_store())
    exact = stage_tokens(images, SPEC, no_store())
    assert tokens[0][4].dtype == np.float16
    a, b = unit(tokens[0][4].astype(float)), unit(exact[0][4].astype(float))
    assert (a * b).sum(axis=1).min() > 0.999


def test_text_embeddings_are_means_of_unit_vectors(store: ArtifactStore):
    found = text_embeddings(CLASSES, TEMPLATES, SPEC, store, "cpu")
    model = model_of(SPEC, "cpu")
    for names, row in zip(CLASSES, found, strict=True):
        each = [model.texts([t.format(n)])[0] for n in names for t in TEMPLATES]
        np.testing.assert_allclose(row, unit(np.mean([unit(e) for e in each], axis=0)), atol=1e-6)
    text_embeddings(CLASSES[:1], TEMPLATES, SPEC, store, "cpu")
    assert store.counters["clip_text.computes"] == 2
    assert len(imagenet_templates()) == 80
    assert imagenet_templates()[0].format("cat") == "a bad photo of a cat."


def test_mean_similarity_of_a_region_is_that_of_its_mean_token(images: ImageSet, store: ArtifactStore):
    texts = text_embeddings(CLASSES, TEMPLATES, SPEC, store, "cpu")
    dense = dense_tokens(images, SPEC, store, "cpu")[0]
    region = np.random.default_rng(1).random(144) < 0.3
    fine = on_grid(dense, 12).numpy()
    for pool, tokens in (("normalised", unit(fine)), ("raw", fine)):
        maps = text_similarities(images, CLASSES, TEMPLATES, SPEC, store, "cpu", 12, pool)[0]
        np.testing.assert_allclose(maps[region].mean(axis=0), texts @ tokens[region].mean(axis=0), atol=1e-5)


def test_on_grid_keeps_corners_and_is_linear_between():
    tokens = np.array([[0.0], [2.0], [4.0], [6.0]], np.float32)
    expected = [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    np.testing.assert_allclose(on_grid(tokens, 3)[:, 0].reshape(3, 3), expected, atol=1e-6)
    np.testing.assert_array_equal(on_grid(tokens, 2), tokens)


def test_distance_rows_equal_plain_loops(images: ImageSet, store: ArtifactStore):
    stages = stage_tokens(images, SPEC, store)
    found = distance_rows(images, images.subset([0, 1]), (2, 4), SPEC, store, "cpu", 12)
    fine = [
        unit(np.concatenate([unit(on_grid(s[n], 12).numpy()) for n in (2, 4)], axis=1).astype(float))
        for s in stages
    ]
    for q in range(3):
        for s in range(2):
            expected = [min(1 - patch @ other for other in fine[s]) for patch in fine[q]]
            np.testing.assert_allclose(found[q, s], expected, atol=1e-6)
    assert found[0, 0].max() < 1e-6
    lengths = distance_rows(images, images.subset([0, 1]), (2, 4), SPEC, store, "cpu", 12, "l2")
    np.testing.assert_allclose(lengths, np.sqrt(2 * found))


def test_a_pair_is_computed_once(images: ImageSet, store: ArtifactStore):
    distance_rows(images, images.subset([0]), 4, SPEC, store, "cpu", 6)
    distance_rows(images, images.subset([1, 0]), 4, SPEC, store, "cpu", 6)
    assert store.counters["clip_distances.computes"] == 6
    assert distance_rows(images.subset([]), images, 4, SPEC, store, "cpu", 6).shape == (0, 3, 36)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ClipSpec("ViT-L-41"), "'ViT-L-41' is not a model of open_clip.*did you mean"),
        (ClipSpec("ViT-L-14", "datacomp"), "pretrained 'datacomp'.*datacomp_xl_s13b_b90k"),
        (ClipSpec("ViT-L-14", None), "open_clip has of 'ViT-L-14'"),
        (ClipSpec(weights="demo", size=50), "image size 50 is no multiple.*patch size 8; e.g. 48"),
        (ClipSpec(weights="demo", size=48, stages=(2, 5)), r"stages \[2, 5\].*from 1 to 4"),
        (ClipSpec(weights="demo", size=48, stages=(3, 2)), r"stages \[3, 2\]"),
    ],
)
def test_wrong_specifications_say_what_is_allowed(spec: ClipSpec, says: str, images: ImageSet):
    with pytest.raises(ConfigError, match=says):
        stage_tokens(images, spec, no_store())


def test_missing_weights_say_what_else_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("methods.shared.openclip.spec._cached", lambda entry: None)
    monkeypatch.setattr("methods.shared.openclip.spec.reachable", lambda url: False)
    params = {"model": "ViT-L-14", "pretrained": "datacomp_xl_s13b_b90k", "weights": None}
    with pytest.raises(WeightsError, match=r"ViT-L-14::datacomp_xl_s13b_b90k.*weights: demo"):
        assets(params)
    with pytest.raises(WeightsError, match="no file"):
        assets(params | {"weights": str(tmp_path / "none.safetensors")})


def test_a_file_that_does_not_fit_is_named(tiny: Path):
    other = tiny.with_name("other.safetensors")
    save_file({"strange": torch.zeros(1)}, other)
    with pytest.raises(WeightsError, match=r"other.safetensors does not fit 'tiny-ViT'"):
        model_of(ClipSpec("tiny-ViT", None, str(other), 32), "cpu")


def test_assets_of_demo_weights_are_marked():
    (found,) = assets({"model": "ViT-L-14", "pretrained": "any", "weights": "demo"}, "pushpins")
    assert found.marks == ("demo weights",)
    assert ClipSpec(weights="demo").file.sha256 == found.sha256
