"""The demo weights load like any others, are what their manifest says, and mean something."""

import json
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from harness.artifacts import ArtifactStore
from harness.data import FitData, ImageSet
from harness.datasets.demo import CATEGORIES, PART_NAMES, scene
from harness.errors import WeightsError
from harness.method import Context
from methods import METHODS
from methods.shared import weights
from methods.shared.backbones.features import FeatureSpec, features
from methods.shared.backbones.frozen import load
from methods.shared.checkpoints import read
from methods.shared.onepass import shared
from methods.shared.openclip.naclip import Attend, naclip
from methods.shared.pixels import Geometry
from methods.shared.training.distillation import PatchTarget, difference, distil
from methods.shared.training.pdn import pdn_from, pdn_small
from methods.shared.training.steps import Means, Plan, steps
from training import image_text, read_out
from training.backbone import distances
from training.captions import counted, statements
from training.crops import IGNORED, Window, cut
from training.losses import shares, weighed
from training.measure import Model, overlaps, retrieval
from training.pairs import SceneSampler, at_a_part
from training.renders import Renders, defect_of, renders
from training.shipping import ship
from training.words import GROUPS, NAMES, prompts

FOLDER = weights.DEMO_FOLDER
MOST_BYTES = 12_000_000


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(FOLDER / "image_text")


RUN_AT_ONCE = [n for n in METHODS.names() if not METHODS.load(n).card.trained]


@pytest.mark.parametrize("name", RUN_AT_ONCE)
def test_the_demo_of_a_method_runs(name: str):
    """On four pictures, with the hyper-parameters and weights of `make demo`."""
    cls = METHODS.load(name)
    params = {
        **cls.card.demo.params,
        **({"weights": "demo"} if "weights" in {f.name for f in fields(cls)} else {}),
    }
    drawn = ImageSet.of_arrays([scene("juice_bottle", 0, "train", n, 128).image for n in range(4)])
    data = FitData(drawn.subset([0]), drawn.subset([1, 2]), category="juice_bottle")
    scores = cls(Context(), **params).fit(data).score(drawn.subset([3]))
    assert np.isfinite(scores.image).all()


def test_a_layer_that_others_want_and_the_file_lacks_costs_nobody_else(tmp_path: Path, picture: np.ndarray):
    spec = FeatureSpec("any", "demo", ("layer2",), Geometry.square(64))
    images, store = ImageSet.of_arrays([picture]), ArtifactStore(tmp_path)
    with shared({spec.pass_key: ["global_pool", "layer2"]}):
        (maps,) = features(images, spec, store, "cpu")
    assert list(maps) == ["layer2"]
    with pytest.raises(WeightsError, match="layers global_pool"):
        features(images, replace(spec, layers=("global_pool",)), store, "cpu")


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)


def test_all_files_are_those_of_the_manifest_and_small():
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    assert set(manifest) == {"backbones", "image_text", "teachers"}
    listed = {FOLDER / e["file"] for kind in manifest.values() for e in kind.values()}
    for kind in manifest:
        assert weights.demo("any name", kind).path in listed  # also compares the hash
    assert set(FOLDER.rglob("*.safetensors")) == listed
    assert (
        sum(p.stat().st_size for p in FOLDER.rglob("*") if p.suffix in (".safetensors", ".json"))
        <= MOST_BYTES
    )


@pytest.mark.parametrize(
    ("name", "kind", "model"),
    [
        ("backbone.md", "backbones", "any name"),
        ("vit.md", "backbones", "vit_small_patch14_dinov2"),
        ("image_text.md", "image_text", "any name"),
        ("teacher.md", "teachers", "any name"),
    ],
)
def test_every_card_names_its_file_and_its_limits(name: str, kind: str, model: str):
    card = (FOLDER / name).read_text()
    found = weights.demo(model, kind)
    assert found.sha256 in card
    assert f"{found.path.stat().st_size:,}" in card
    assert "demo only" in card.lower()


def test_the_backbone_loads_with_the_same_call_as_any_other(picture: np.ndarray):
    found = weights.find("wide_resnet50_2.tv_in1k", "demo")
    assert found.marks == ("demo weights",)
    maps = load(found, ("layer2", "layer3"), "cpu")([picture])[0]
    assert {k: v.shape for k, v in maps.items()} == {"layer2": (128, 12, 12), "layer3": (256, 6, 6)}
    assert all(np.isfinite(v).all() and v.std() > 0 for v in maps.values())


def test_distances_of_the_backbone_ignore_light_more_than_content():
    network = load(weights.find("resnet18", "demo"), ("layer3",), "cpu")
    image = scene("screw_bag", 3, "weights-test", 0, 128).image
    lit = np.clip(image * 1.08, 0, 255).astype(np.uint8)
    other = scene("breakfast_box", 3, "weights-test", 0, 128).image[:, : image.shape[1]]
    one, two, three = (network([x[:, :128]])[0]["layer3"] for x in (image, lit, other))
    assert np.linalg.norm(one - two) < 0.5 * np.linalg.norm(one - three)


def test_the_image_text_model_loads_through_open_clip():
    name = weights.open_clip_name(weights.demo("ViT-L-14", "image_text"))
    clip, _, preprocess = open_clip.create_model_and_transforms(name)
    tokens = open_clip.get_tokenizer(name)(["a photo of a hexagonal nut", "a photo of a ring washer"])
    assert tokens.shape == (2, clip.context_length)
    assert clip.visual.grid_size == (28, 28)
    batch = preprocess(Image.new("RGB", (300, 200)))[None]
    with torch.no_grad():
        assert clip.encode_image(batch).shape == clip.encode_text(tokens[:1]).shape


def test_read_outs_continue_the_model(model: Model, picture: np.ndarray):
    batch = model.preprocess(Image.fromarray(picture))[None]
    whole, tokens = model.image(picture)
    with torch.no_grad():
        expected = F.normalize(model.model.encode_image(batch), dim=-1)[0]
    torch.testing.assert_close(whole, expected, atol=1e-5, rtol=0)
    assert {k: v.shape[0] for k, v in tokens.items()} == {"plain": 784, "naclip": 784}


@pytest.mark.parametrize("attend", [F.scaled_dot_product_attention, read_out.attention])
def test_naclip_against_its_definition(attend: Attend):
    """In inference and in training, which differ in how attention is computed."""
    torch.manual_seed(0)
    block = open_clip.transformer.ResidualAttentionBlock(16, 2).eval()
    tokens = torch.randn(1, 1 + 9, 16)
    with torch.no_grad():
        fast = naclip(block, tokens, read_out.SIGMA, attend=attend)[0]
        slow = _naclip_slowly(block, tokens[0])
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


def _naclip_slowly(block: open_clip.transformer.ResidualAttentionBlock, tokens: torch.Tensor) -> torch.Tensor:
    z = block.ln_1(tokens)
    w, b = block.attn.in_proj_weight, block.attn.in_proj_bias
    k, v = z @ w[16:32].T + b[16:32], z @ w[32:].T + b[32:]
    mixed = torch.zeros_like(z)
    for head in (slice(0, 8), slice(8, 16)):
        for i in range(10):
            logits = torch.stack([k[i, head] @ k[j, head] / 8**0.5 + _omega(i, j) for j in range(10)])
            mixed[i, head] = torch.softmax(logits, dim=0) @ v[:, head]
    return block.attn.out_proj(mixed)


def _omega(i: int, j: int) -> float:
    if 0 in (i, j):
        return 0.0
    (yi, xi), (yj, xj) = divmod(i - 1, 3), divmod(j - 1, 3)
    return float(np.exp(-((yi - yj) ** 2 + (xi - xj) ** 2) / (2 * 5.0**2)))


def _crop_of(part: str, index: int, category: str = "screw_bag") -> np.ndarray:
    drawn = scene(category, 11, "weights-test", index, 224)
    mask = drawn.parts == PART_NAMES[category].index(part)
    from scipy.ndimage import find_objects, label

    pieces, _ = label(mask)
    y, x = max(find_objects(pieces), key=lambda s: (s[0].stop - s[0].start) * (s[1].stop - s[1].start))
    return drawn.image[max(0, y.start - 5) : y.stop + 5, max(0, x.start - 5) : x.stop + 5]


def test_the_text_nut_is_nearest_to_nuts(model: Model):
    parts = ("hexagonal nut", "ring washer", "long screw", "short screw")
    with torch.no_grad():
        texts = model.text([f"a photo of a {name}" for name in (*parts, "orange juice")])
    crops = [(part, _crop_of(part, i)) for i in range(3) for part in parts]
    similar = torch.stack([texts @ model.image(crop)[0] for _, crop in crops])
    is_nut, is_washer = (torch.tensor([part == name for part, _ in crops]) for name in parts[:2])
    assert similar[is_nut, 0].min() > similar[~is_nut, 0].max()
    assert (similar[is_nut].argmax(dim=1) == 0).all() and (similar[is_washer].argmax(dim=1) == 1).all()
    assert similar[:, 4].max() < similar[:, :4].max(dim=1).values.min() - 0.3


def test_dense_prompts_segment_the_screw_bag(model: Model):
    drawn = [scene("screw_bag", 12, "weights-test", i, 224) for i in range(4)]
    images, parts = (np.stack([getattr(d, name) for d in drawn]) for name in ("image", "parts"))
    of = overlaps(model, Renders("screw_bag", images, parts, ("",) * 4, ("",) * 4), coarser=False)
    found = dict(zip(PART_NAMES["screw_bag"], of["naclip"], strict=True))
    assert found["hexagonal nut"] > 0.4 and found["ring washer"] > 0.4
    assert found["plastic bag"] > 0.85
    assert np.mean(list(found.values())) > 0.5


def test_dense_prompts_find_the_parts_of_a_scene(model: Model):
    drawn = scene("breakfast_box", 12, "weights-test", 0, 224)
    words = torch.stack([model.names(names) for names in NAMES["breakfast_box"]])
    tokens = model.image(drawn.image)[1]["naclip"]
    small = np.asarray(Image.fromarray(drawn.parts).resize((28, 28), Image.Resampling.NEAREST))
    found = (tokens @ words.T).argmax(dim=1).view(28, 28).numpy()
    assert (found == small).mean() > 0.6


def test_a_word_that_was_never_seen_has_no_embedding(model: Model):
    table = model.model.token_embedding.weight
    seen = model.tokenizer(["a photo of a hexagonal nut"])[0]
    assert (table[seen[1:6]].abs().sum(dim=1) > 0).all()
    unknown = model.tokenizer(["zebra"])[0, 1]
    assert table[unknown].abs().sum() == 0


def test_the_teacher_loads_with_the_published_layout():
    found = weights.demo("pdn_small", "teachers")
    state = read(found.path)
    teacher = pdn_from({k: v.float() for k, v in state.items()})
    with torch.no_grad():
        assert teacher(torch.zeros(1, 3, 256, 256)).shape == (1, 128, 56, 56)
        padded = pdn_from({k: v.float() for k, v in state.items()}, padding=True)
        assert padded(torch.zeros(1, 3, 256, 256)).shape[-2:] == (64, 64)


def test_pdn_small_has_the_published_size():
    assert sum(p.numel() for p in pdn_small().parameters()) == pytest.approx(2.69e6, rel=0.01)
    with pytest.raises(weights.WeightsError, match="no weights of a PDN-S"):
        pdn_from({"0.weight": torch.zeros(1)})


class _Killed(Exception):
    pass


def _distilled(state: Path | None, killed_at: int | None = None) -> tuple[torch.nn.Module, PatchTarget]:
    target = PatchTarget(load(weights.find("resnet18", "demo"), ("layer2",), "cpu"), 8)
    target.calibrate(_pictures(i) for i in range(3))

    def pictures(step: int) -> torch.Tensor:
        if step == killed_at:
            raise _Killed
        return _pictures(step)

    torch.manual_seed(0)
    student = pdn_small(8, (8, 8, 8), padding=True)
    plan = Plan(40, 1e-2, every=4)
    distil(student, lambda step: target.pair(pictures(step)), plan, state, lambda line: None)
    return student, target


def _pictures(step: int) -> torch.Tensor:
    return F.interpolate(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(step % 3)), 64)


def test_distillation_brings_a_student_nearer_and_goes_on_after_a_kill(tmp_path: Path):
    whole, target = _distilled(None)
    with torch.no_grad():
        assert float(difference(whole, target.pair(_pictures(0)))) < 0.8  # 1 is the mean of the target
    with pytest.raises(_Killed):
        _distilled(tmp_path / "state", killed_at=22)
    again, _ = _distilled(tmp_path / "state")
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_target_is_normalised_and_joins_layers():
    target = PatchTarget(load(weights.find("resnet18", "demo"), ("layer2", "layer3"), "cpu"), 24)
    target.calibrate(_pictures(i) for i in range(2))
    maps = torch.cat([target(_pictures(i)) for i in range(2)])
    assert maps.shape == (4, 24, 8, 8)
    torch.testing.assert_close(maps.mean(dim=(0, 2, 3)), torch.zeros(24), atol=1e-3, rtol=0)
    torch.testing.assert_close(maps.std(dim=(0, 2, 3)), torch.ones(24), atol=0.02, rtol=0)


def test_a_stopped_loop_continues_as_if_nothing_had_happened(tmp_path: Path):
    def run(state: Path | None, stop: int) -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 1)
        optimiser = torch.optim.AdamW(layer.parameters(), lr=1.0)
        for step in steps(Plan(10, 0.1, every=2), {"layer": layer}, optimiser, state):
            if step == stop:
                break
            optimiser.zero_grad()
            x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
            layer(x).square().mean().backward()
            optimiser.step()
        return layer.weight.detach().clone()

    whole = run(None, 99)
    run(tmp_path / "state", 7)
    assert torch.equal(run(tmp_path / "state", 99), whole)


def test_the_rate_rises_falls_and_can_be_cut():
    plan = Plan(100, 2.0, warm_up=0.1, every=10)
    assert plan.rate(9) == pytest.approx(2.0) and plan.rate(99) < 0.01
    cut_short = Plan(100, 2.0, warm_up=0.1, every=10, cut=(40, 20))
    assert cut_short.end == 60
    assert cut_short.rate(30) == plan.rate(30)
    assert cut_short.rate(50) == pytest.approx(plan.rate(40) / 2)


def test_means_are_told_when_due():
    said: list[str] = []
    means = Means(said.append)
    for step in range(4):
        means.add(step, Plan(4, 1.0, every=2), {"loss": torch.tensor(float(step))})
    assert [s.partition("; about")[0] for s in said] == ["step 2 of 4: loss 0.500", "step 4 of 4: loss 2.500"]


def test_prompts_name_every_part_once():
    rng = np.random.default_rng(0)
    for category, names in NAMES.items():
        assert [n[0] for n in names] == PART_NAMES[category]
        for _ in range(20):
            named = sorted(p for prompt in prompts(rng, category) for p in prompt.parts)
            assert named == list(range(len(names)))
    assert all(max(parts) < len(NAMES[c]) for c, groups in GROUPS.items() for parts, _ in groups)


def test_shares_of_a_patch():
    parts = torch.tensor([[0, 0, 1, 2], [0, 1, 2, IGNORED]])[None].expand(1, 2, 4)
    target = shares(parts, 2, [frozenset({0, 2}), frozenset({1})])
    assert target.tolist() == [[[[0.75, 0.5]], [[0.25, 0.25]]]]


def test_rare_parts_count_more_and_win_where_parts_meet():
    target = torch.zeros(1, 3, 8, 8)
    target[:, 0] = 1
    target[0, :, 0, 0] = torch.tensor([0.4, 0.3, 0.3])
    target[0, :, 7, 7] = 0  # unknown
    found = weighed(target)
    assert found[0, 0, 0, 0] < found[0, 1, 0, 0] == found[0, 2, 0, 0]
    assert found[0, :, 0, 0].sum() > 2 * found[0, :, 4, 4].sum()
    assert found[0, 1:, 4, 4].sum() == found[0, :, 7, 7].sum() == 0


def test_crops_are_drawn_near_parts_of_every_size():
    parts = np.zeros((60, 90), np.uint8)
    parts[50:52, 80:82] = 3
    rng = np.random.default_rng(0)
    windows = [at_a_part(parts, rng, Window(0.5, 0.5, 0.3, 0.3)) for _ in range(200)]
    near = [abs(w.x - 0.9) < 0.15 and abs(w.y - 0.85) < 0.15 for w in windows]
    assert 0.4 < np.mean(near) < 0.7  # half of them, and a few of the others by chance
    assert all(0.09 < w.x < 0.91 and 0.09 < w.y < 0.91 for w in windows)


@pytest.fixture(scope="module")
def scenes() -> dict[str, Renders]:
    return renders("weights-test", 2, 0, 1, None, 96)


def _trained(scenes: dict[str, Renders], folder: Path, state: Path | None, threads: int = 2) -> bytes:
    source = SceneSampler(scenes, np.full((1, 64, 64, 3), 128, np.uint8))
    model = image_text.train(source, Plan(4, 1e-3, every=2), 0, state, threads)
    return ship("image_text", image_text.shipped(model), folder).read_bytes()


def test_training_gives_the_same_bytes_again_and_after_a_stop(
    scenes: dict[str, Renders], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(image_text, "SMALL", {"crop": 1, "part": 1, "scene": 1})
    monkeypatch.setattr(image_text, "LARGE", {"part": 1})
    monkeypatch.setattr(image_text, "WORDS_FROM", 2)
    whole = _trained(scenes, tmp_path, None)
    losses = image_text.Trainer.losses

    def killed(trainer: image_text.Trainer, step: int, half: int) -> dict[str, torch.Tensor]:
        if step == 3:
            raise _Killed
        return losses(trainer, step, half)

    monkeypatch.setattr(image_text.Trainer, "losses", killed)
    with pytest.raises(_Killed):
        _trained(scenes, tmp_path, tmp_path / "state")
    monkeypatch.setattr(image_text.Trainer, "losses", losses)
    assert _trained(scenes, tmp_path, tmp_path / "state", threads=1) == whole


def test_statements_count_what_is_there():
    said = {s.text for s in statements("screw_bag", "", "2_missing_nuts")}
    assert "a plastic bag with no nuts and two washers" in said
    assert "a breakfast box with two nectarines and one tangerine" in {
        s.text for s in statements("breakfast_box", "", "2_nectarines_1_tangerine")
    }
    assert counted(1, "nut") == "one nut"
    for category, known in CATEGORIES.items():
        for defect in known.defects:
            for subtype in known.subtypes or ("",):
                told = statements(category, subtype, defect.name)
                assert all(a.facts < b.facts for a, b in pairwise(told))


def test_the_whole_window_is_the_squeezed_picture():
    drawn = scene("screw_bag", 1, "weights-test", 0, 96)
    image, parts = cut(drawn.image, drawn.parts, Window(0.5, 0.5, 1, 1), 96)
    assert (parts != IGNORED).all()
    mirrored, _ = cut(drawn.image, drawn.parts, Window(0.5, 0.5, 1, 1, 0, True), 96)
    assert np.abs(mirrored[:, ::-1].astype(int) - image).mean() < 3


def test_renders_are_kept_and_are_no_images_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import training.renders as module

    monkeypatch.setattr(module, "CATEGORIES", {"screw_bag": CATEGORIES["screw_bag"]})
    drawn = renders(module.TRAIN, 3, 0, 1, tmp_path, 64)["screw_bag"]
    kept = renders(module.TRAIN, 3, 0, 1, tmp_path, 64)["screw_bag"]
    assert isinstance(kept, Renders) and len(kept) == 3
    assert np.array_equal(kept.images, drawn.images) and kept.defects == drawn.defects
    defect = defect_of("screw_bag", 0, module.TRAIN, 0)
    for split in ("train", "validation", "test/good", "test/logical_anomalies"):
        assert not np.array_equal(scene("screw_bag", 0, split, 0, 64, defect).image, drawn.images[0])


def test_distances_do_not_depend_on_scale():
    maps = torch.rand(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    index = torch.arange(9)
    torch.testing.assert_close(distances(maps, index), distances(7 * maps, index), atol=0.02, rtol=0)


def test_retrieval_counts_what_is_true():
    from training.captions import Statement

    told = [Statement(frozenset(x), x) for x in "ab"]
    facts = [frozenset("a"), frozenset("b"), frozenset("b")]
    images, words = torch.tensor([[1.0, 0], [1, 0.1], [0, 1]]), torch.eye(2)
    assert retrieval(images, facts, told, words) == (pytest.approx(2 / 3), 1.0)
