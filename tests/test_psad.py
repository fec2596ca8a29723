"""PSAD: losses against slow twins, the segmenter's training, labels, switches, and what is computed once."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import checkpoint
from PIL import Image

from harness.artifacts import ArtifactStore
from harness.checks.plates import PARTS, plates
from harness.data import FitData, ImageSet
from harness.data.labels import IGNORED
from harness.errors import DataError, NeedNotMet
from harness.method import Context, Task
from harness.notes import noted
from harness.params import Problem, resolve
from harness.views import Bars, Heat, Parts, Reference
from methods.psad import PSAD, labelling, losses, segmentation, training
from methods.psad.augment import Sample, augmented, coordinates, flipped, rotation_of
from methods.psad.network import PseudoLabelNetwork, Segmenter, resized_by_products
from methods.psad.pairs import Lessons
from methods.psad.vectors import VectorBank
from methods.shared.backbones.frozen import load
from methods.shared.weights import find

TRAINED: dict[str, Any] = {
    "losses": "sup",
    "epoch_steps": 40,
    "rotation": 5,
    "n_labelled": 3,
}  # until it sees parts
DERIVED = ("psad_warm_up", "psad_segmenter", "psad_parts", "psad_patch_minima", "psad_composition")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint("test_resnet", tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests share, as trials of a sweep do."""
    return tmp_path_factory.mktemp("store")


def psad(weights: str, root: Path | None = None, scratch: Path | None = None, **params: Any) -> PSAD:
    context = Context(artifacts=ArtifactStore(root), scratch=scratch)
    return PSAD(context, **(dict(PSAD.check_params) | {"weights": weights, "n_labelled": 2} | params))


def few(n: int, validation: bool = True) -> FitData:
    return plates().fit_data(plates().train.subset(range(n)), validation)


def computed(method: PSAD) -> Mapping[str, int]:
    counters = method.context.artifacts.counters
    return {name: counters[f"{name}.computes"] for name in DERIVED if counters[f"{name}.computes"]}


def test_auto_trains_in_tf32_where_there_is_some(weights: str, monkeypatch: pytest.MonkeyPatch):
    from methods.shared.training import precision

    def came_to(device: str, **params: Any) -> str:
        return PSAD(Context(device=device), weights=weights, **params).precision_used

    assert came_to("cpu", precision="auto") == came_to("cuda:0") == "float32"
    monkeypatch.setattr(precision, "_has_tf32", lambda device: device != "cpu")
    assert came_to("cuda:0", precision="auto") == "tf32"
    assert came_to("cuda:0", precision="auto", segmentation="kmeans") == "float32"
    with training.repeatable("cuda:0", tf32=True):
        assert torch.backends.cudnn.allow_tf32


def test_auto_finds_on_a_cpu_what_float32_has_stored(weights: str, store: Path):
    first = psad(weights, store, banks="h", **TRAINED).fit(few(3)).memory.parts
    again = psad(weights, store, banks="h", precision="auto", **TRAINED).fit(few(3)).memory.parts
    assert first.key == again.key


# Losses


def random_prediction(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and one-hot labels, (2, 4, 5, 3)."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(2, 4, 5, 3)).astype(np.float32))
    y = torch.nn.functional.one_hot(torch.from_numpy(rng.integers(0, 3, (2, 5, 3))), 4)
    return logits, y.permute(0, 3, 1, 2).float()


def test_supervised_losses_are_what_their_loops_give():
    logits, y = random_prediction()
    p = logits.softmax(dim=1)
    coefficients, crossed = [], []
    for b in range(2):
        for c in range(4):
            overlap = sum(float(p[b, c, i, j] * y[b, c, i, j]) for i in range(5) for j in range(3))
            total = sum(float(p[b, c, i, j] + y[b, c, i, j]) for i in range(5) for j in range(3))
            coefficients.append(2 * overlap / (total + 1e-4))
        for i in range(5):
            for j in range(3):
                crossed.append(-math.log(float(p[b, int(y[b, :, i, j].argmax()), i, j])))
    assert float(losses.dice(p, y)) == pytest.approx(1 - np.mean(coefficients), abs=1e-6)
    assert float(losses.cross_entropy(logits, y)) == pytest.approx(np.mean(crossed), abs=1e-6)
    assert float(losses.dice(y, y)) == pytest.approx(0.25, abs=1e-3)  # class 3 is in no label


def test_pixels_to_be_ignored_count_nowhere():
    """As if they were not there: here, a last row."""
    logits, y = random_prediction()
    labels = y.argmax(dim=1).to(torch.uint8)
    assert torch.equal(training.one_hot(labels, 4), y)
    labels[:, -1] = IGNORED
    ignoring, above = training.one_hot(labels, 4), (logits[:, :, :-1], y[:, :, :-1])
    p = logits.softmax(dim=1)
    torch.testing.assert_close(losses.cross_entropy(logits, ignoring), losses.cross_entropy(*above))
    torch.testing.assert_close(losses.dice(p, ignoring), losses.dice(p[:, :, :-1], above[1]))
    samples = [Sample(np.zeros((5, 3, 3), np.uint8), m, coordinates(5, 3)) for m in labels.numpy()]
    expected = above[1].mean(dim=(2, 3))
    assert Lessons(samples, [], None, 4).histograms == pytest.approx(expected.numpy())
    labels[:] = IGNORED
    assert float(losses.cross_entropy(logits, training.one_hot(labels, 4))) == 0


def test_unsupervised_losses_are_what_their_loops_give():
    p = random_prediction()[0].softmax(dim=1)
    target = torch.tensor([[0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    spread = [-float(v) * math.log(float(v) + 1e-5) for v in p.flatten()]
    assert float(losses.entropy(p)) == pytest.approx(np.mean(spread), abs=1e-6)
    apart = [[abs(float(target[b, c]) - float(p[b, c].mean())) for c in range(4)] for b in range(2)]
    assert float(losses.histogram_matching(p, target)) == pytest.approx(np.mean(apart), abs=1e-6)
    summed = sum(sum(row[1:]) for row in apart)
    assert float(losses.histogram_matching(p, target, (1, 2, 3))) == pytest.approx(summed, abs=1e-6)
    one = sum(row[2] for row in apart)
    assert float(losses.histogram_matching(p, target, (2,))) == pytest.approx(one, abs=1e-6)


def test_a_sure_prediction_has_no_entropy_and_its_own_histogram_costs_nothing():
    y = random_prediction()[1]
    assert float(losses.entropy(y)) == pytest.approx(0, abs=1e-5)
    assert float(losses.histogram_matching(y, losses.histogram(y))) == 0


# Networks


def test_the_classifier_sees_all_blocks_and_the_coordinates(weights: str):
    backbone = load(find("test_resnet", weights), ("layer1", "layer2", "layer3"), "cpu")
    network = Segmenter(backbone.model, backbone.layers, 5)
    first, _, last = network.classifier
    channels = sum(m.shape[0] for m in backbone([np.zeros((64, 64, 3), np.uint8)])[0].values())
    assert (first.in_channels, first.out_channels, last.out_channels) == (
        channels + 2,
        (channels + 2) // 2,
        5,
    )
    assert isinstance(network.encoder.layer4, torch.nn.Identity)  # nothing needs it
    assert all(p.requires_grad for p in network.parameters())
    assert not any(p.requires_grad for p in backbone.model.parameters())  # h_ψ stays frozen
    for net in (network, PseudoLabelNetwork(backbone.model, backbone.layers, 5)):
        assert net(torch.zeros(2, 3, 64, 48), torch.zeros(2, 2, 64, 48)).shape == (2, 5, 64, 48)


def test_the_classifier_is_drawn_from_the_seed_and_leaves_the_generator_alone(weights: str):
    from methods.psad.network import built

    backbone = load(find("test_resnet", weights), ("layer1", "layer2", "layer3"), "cpu")
    before = torch.get_rng_state()
    one, same, other = (built(backbone, backbone.layers, 3, seed).classifier[0].weight for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("pixels", "size"), [((5, 9), (17, 9)), ((16, 12), (128, 96)), ((7, 8), (1, 3))])
def test_a_card_resizes_by_two_products(pixels: tuple[int, int], size: tuple[int, int]):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, *pixels)).astype(np.float32))
    with torch.inference_mode():  # of a prediction before the training
        resized_by_products(x, size)
    ours, torchs = x.clone().requires_grad_(), x.double().requires_grad_()
    found = resized_by_products(ours, size)
    wanted = torch.nn.functional.interpolate(torchs, size, mode="bilinear", align_corners=True)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)
    weight = torch.linspace(-1, 1, wanted.numel()).reshape(wanted.shape)
    (found * weight).sum().backward()
    (wanted * weight).sum().backward()
    assert ours.grad is not None and torchs.grad is not None
    scale = float(torchs.grad.abs().max())
    torch.testing.assert_close(ours.grad.double(), torchs.grad, rtol=1e-6, atol=1e-6 * scale)


def test_repeatable_on_a_card_leaves_torch_as_it_was():
    def settings() -> tuple[bool, ...]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.backends.cudnn.allow_tf32,
        )

    before = settings()
    with training.repeatable("cuda:0"):
        assert settings() == (True, True, False, False)
    assert settings() == before


# Augmentation


def sample() -> Sample:
    labels = np.zeros((48, 64), np.uint8)
    labels[10:20, 30:45] = 1
    image = np.repeat(200 * labels[..., None], 3, axis=2)
    return Sample(image, labels, coordinates(48, 64))


def test_rotation_takes_labels_and_coordinates_along():
    plain = sample()
    inside = plain.labels == 1
    centre = plain.coordinates[inside].mean(axis=0)
    for seed in range(5):
        turned = augmented(plain, 180, True, np.random.default_rng(seed))
        where = turned.labels == 1
        assert where.sum() > 100
        assert np.allclose(turned.coordinates[where].mean(axis=0), centre, atol=0.03)


def test_augmentation_depends_on_its_generator_alone():
    one, same, other = (augmented(sample(), 20, True, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.image, other.image) or not np.array_equal(one.labels, other.labels)


def test_mirroring_leaves_the_coordinates():
    seen = {flipped(sample(), np.random.default_rng(seed)).labels.tobytes() for seed in range(20)}
    assert len(seen) == 4
    mirrored = flipped(sample(), np.random.default_rng(0))
    assert np.array_equal(mirrored.coordinates, sample().coordinates)


def test_categories_that_lie_freely_are_turned_all_the_way():
    assert [rotation_of(c) for c in ("screw_bag", "breakfast_box", "juice_bottle/cherry")] == [180, 180, 20]


# Training


def test_every_unlabelled_image_comes_once_per_epoch():
    lessons = Lessons([], [np.zeros((1, 1, 3), np.uint8)] * 7, None, 2)
    shown = [i for number in range(7) for i in lessons.epoch_batch(number, 3, seed=0)]
    assert sorted(shown[:7]) == sorted(shown[7:14]) == sorted(shown[14:]) == list(range(7))
    assert shown[:7] != shown[7:14]


@pytest.mark.parametrize("damaged", [False, True])
def test_interrupted_training_ends_where_an_uninterrupted_one_does(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
):
    """A damaged state costs the steps since the warm-up, which the store has."""
    monkeypatch.setattr(training, "EVERY", 1)
    whole = psad(weights).fit(few(4)).segment(plates().test)
    supervised, calls = training.supervised, iter(range(100))

    def dying(*arguments: Any) -> torch.Tensor:
        if next(calls) == 6:  # in the second half, which has 4 steps as the first
            raise KeyboardInterrupt
        return supervised(*arguments)

    monkeypatch.setattr(training, "supervised", dying)
    with pytest.raises(KeyboardInterrupt):
        psad(weights, tmp_path / "store", tmp_path / "scratch").fit(few(4))
    assert next(calls) == 7
    for state in (tmp_path / "scratch").glob("*.pt") if damaged else ():
        state.write_bytes(state.read_bytes()[:1000])
    with noted() as notes:
        resumed = psad(weights, tmp_path / "store", tmp_path / "scratch").fit(few(4)).segment(plates().test)
    assert next(calls) == (12 if damaged else 10)  # steps 6 and 7, or 4 to 7
    assert len(notes) == damaged
    assert np.array_equal(resumed.labels, whole.labels)


def test_the_variants_of_the_losses_share_their_warm_up(weights: str, tmp_path: Path):
    found = {}
    for variant in ("sup", "sup+H", "sup+H+hist"):
        method = psad(weights, tmp_path, losses=variant, banks="h").fit(few(5))
        found[variant] = method.memory.parts._trained().state_dict()
        assert computed(method)["psad_segmenter"] == 1
        assert computed(method).get("psad_warm_up", 0) == (variant == "sup")
    tensors = [torch.cat([v.flatten().float() for v in state.values()]) for state in found.values()]
    assert not torch.equal(tensors[0], tensors[1])
    assert not torch.equal(tensors[1], tensors[2])


def test_supervised_losses_alone_do_not_depend_on_the_other_images(weights: str, tmp_path: Path):
    def key(n: int, **params: Any) -> str:
        return psad(weights, tmp_path, banks="h", **params).fit(few(n)).memory.parts.key

    assert key(2, losses="sup") == key(2, losses="sup")
    known = plates().fit_data()
    masks = {i: known.part_masks[i] for i in (0, 1)}
    more = FitData(known.train, known.validation, "plate", masks, PARTS)
    for variant, same in (("sup", True), ("sup+H+hist", False)):
        method = psad(weights, tmp_path, banks="h", losses=variant).fit(more)
        assert (method.memory.parts.key == key(2, losses=variant)) is same


def test_training_learns_the_parts(weights: str, store: Path):
    method = psad(weights, store, **TRAINED).fit(plates().fit_data())
    unseen = [
        i
        for i, name in enumerate(plates().train.ids)
        if name not in method.memory.parts.material.labelled.ids
    ]
    found = method.segment(plates().train.subset(unseen))
    assert found.names == PARTS
    truth = np.stack([plates().parts[i] for i in unseen])
    assert (found.labels == truth).mean() > (truth == 0).mean() + 0.05


def test_the_second_stage_trains_another_network_on_pseudo_labels(weights: str, tmp_path: Path):
    first = psad(weights, tmp_path, banks="h").fit(few(3))
    second = psad(weights, tmp_path, banks="h", pseudo_label_stage=True, pseudo_epochs=1).fit(few(3))
    assert second.memory.parts.key != first.memory.parts.key
    assert computed(second).get("psad_segmenter", 0) == 0
    assert second.context.artifacts.counters["psad_second_segmenter.computes"] == 1
    assert second.context.artifacts.counters["psad_pseudo_parts.computes"] == 3
    assert second.segment(plates().test).labels.max() < len(PARTS)


# Labels


def test_product_types_are_those_of_the_nearest_labelled_image():
    pooled = np.array([[0.0, 0], [9, 9], [1, 0], [8, 9], [0, 1]])
    assert labelling.matched([2, 3, 4], [0, 1], pooled) == (0, 1, 0)
    assert labelling.to_label([0, 1, 2, 3, 4], 2, pooled) == [0, 1]
    assert labelling.to_label([3, 1], 2, pooled) == [3, 1]


@pytest.mark.parametrize(
    ("category", "n_labelled", "expected"), [("plate", None, 5), ("juice_bottle", None, 3), ("plate", 1, 1)]
)
def test_how_many_images_are_labelled(
    weights: str, store: Path, category: str, n_labelled: int | None, expected: int
):
    data = plates().fit_data()
    data = FitData(data.train, data.validation, category, data.part_masks, PARTS)
    method = psad(weights, store, banks="h", n_labelled=n_labelled).fit(data)
    material = method.memory.parts.material
    assert len(material.labelled) == expected
    assert len(material.unlabelled) == 6 - expected
    assert (material.match is None) is (category == "plate")


def test_unlabelled_images_with_few_shots(weights: str, store: Path):
    def unlabelled(n: int, **params: Any) -> tuple[str, ...]:
        return psad(weights, store, banks="h", **params).fit(few(n)).memory.parts.material.unlabelled.ids

    assert len(unlabelled(3)) == 1
    assert len(unlabelled(2)) == 2  # all have labels: they are looked at without
    assert unlabelled(3, unlabelled="off") == ()


def write_labels(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "part_classes.json").write_text('["background", "disc", "bar"]')
    for i, labels in enumerate(plates().parts[:3]):
        Image.fromarray(labels).save(folder / f"{i:06d}.png")


def test_labels_from_a_folder_are_the_same_labels(weights: str, tmp_path: Path):
    write_labels(tmp_path / "labels" / "plate")
    data = FitData(plates().train, plates().validation, "plate")
    of_folder = psad(weights, banks="h", n_labelled=3, labels_dir=str(tmp_path / "labels")).fit(data)
    masks = dict(enumerate(plates().parts[:3]))
    of_data = psad(weights, banks="h", n_labelled=3).fit(
        FitData(plates().train, ImageSet((), ()), "plate", masks, PARTS)
    )
    assert of_folder.classes == PARTS
    assert of_folder.memory.parts.key == of_data.memory.parts.key


def test_labels_are_an_asset_with_their_marks(weights: str, tmp_path: Path):
    params = resolve(PSAD, {"weights": weights, "backbone": "test_resnet", "labels_dir": str(tmp_path)})
    task = Task("d", "plate", 4, 4, 0, has_part_masks=True)
    assert "none of plate" in (labelling.unmet(params, task) or "")
    write_labels(tmp_path / "plate")
    assert labelling.unmet(params, task) is None
    before = labelling.assets(params, "plate")
    (tmp_path / "plate" / "labels.json").write_text('{"marks": ["stand-in labels"]}')
    after = labelling.assets(params, "plate")
    assert [a.marks for a in after] == [(), ("stand-in labels",)]
    assert before[1].sha256 == after[1].sha256
    Image.fromarray(plates().parts[3]).save(tmp_path / "plate" / "000000.png")
    assert labelling.assets(params, "plate")[1].sha256 != after[1].sha256
    assert "labels_dir" in PSAD.card.paths


def test_without_labels_it_says_so(weights: str):
    params = resolve(PSAD, {"weights": weights})
    reason = PSAD.card.unmet(params, Task("mvtec_loco", "pushpins", 4, 4, 0, has_part_masks=False))
    assert reason is not None
    assert "labels_dir" in reason
    assert "partmasks" in reason
    with pytest.raises(NeedNotMet, match="none of the 6 training images"):
        psad(weights).fit(FitData(plates().train))


def test_a_label_without_a_name_is_refused(weights: str):
    data = FitData(plates().train, part_masks={0: plates().parts[0]}, part_classes=("background", "disc"))
    with pytest.raises(DataError, match="label 2, but only 2"):
        psad(weights).fit(data)


# Scores


def test_scores_are_those_of_a_slow_twin(weights: str, store: Path):
    """Histograms and patches from what the method shows, everything else by loops."""
    method = psad(weights, store, **TRAINED, train_fraction=0.7).fit(plates().fit_data())
    test = plates().test.subset(range(0, 20, 3))
    scores = method.score(test)
    n = 4  # of 6 images
    assert method.memory.images.ids == plates().train.ids[:n]
    bank = counts(method, method.memory.images)
    mean, spread = bank.mean(axis=0), bank.std(axis=0, ddof=1) + 1e-10
    z, queries = (bank - mean) / spread, (counts(method, test) - mean) / spread
    raw = [min(math.dist(q, e) for e in z) for q in queries]
    left_out = [min(math.dist(z[k], z[m]) for m in range(n) if m != k) for k in range(n)]
    assert scores.parts["hist"] == pytest.approx(raw)
    assert scores.parts["hist_scaled"] == pytest.approx(np.array(raw) / max(left_out))
    patches = list(method.memory.search.patches(method.memory.images))
    far = [worst(p, patches) for p in method.memory.search.patches(test)]
    scale = max(worst(patches[k], patches[:k] + patches[k + 1 :]) for k in range(n))
    assert scores.parts["patch"] == pytest.approx(far, rel=1e-5)
    assert scores.parts["patch_scaled"] == pytest.approx(np.array(far) / scale, rel=1e-5)
    scaled = ("hist_scaled", "comp_scaled", "patch_scaled")
    assert scores.image == pytest.approx(sum(scores.parts[name] for name in scaled))


def counts(method: PSAD, images: ImageSet) -> np.ndarray:
    labels = method.segment(images).labels
    return np.array([[(m == c).sum() for c in range(len(PARTS))] for m in labels], float)


def worst(patches: np.ndarray, bank: list[np.ndarray]) -> float:
    rows = np.concatenate(bank).astype(float)
    return max(np.sqrt(((rows - p) ** 2).sum(axis=1)).min() for p in patches.astype(float))


def test_compositions_are_means_over_parts(weights: str, store: Path):
    """At 64 pixels the finest layer is 16 × 16: compared on features enlarged as the paper does."""
    method = psad(weights, store, **TRAINED).fit(plates().fit_data())
    image = plates().test.subset([2])
    (vector,), labels = method.memory.compositions.of(image), method.memory.parts.labels(image)[0]
    from methods.psad.embedding import averaged
    from methods.shared.backbones.features import features

    (maps,) = features(image, method.memory.parts.spec, method.context.artifacts, "cpu")
    expected: list[np.ndarray] = []
    for name in method.memory.parts.spec.layers:
        pooled = torch.from_numpy(averaged(maps[name], 3, "cpu"))[None].double()
        large = torch.nn.functional.interpolate(
            pooled, size=labels.shape, mode="bilinear", align_corners=True
        )
        f = large[0].numpy()
        expected += [
            f[:, labels == c].mean(axis=1) if (labels == c).any() else 0 * f[:, 0, 0] for c in (1, 2)
        ]
    assert vector == pytest.approx(np.concatenate(expected), abs=1e-6)


def test_tables_3_and_4_compute_nothing_anew(weights: str, tmp_path: Path):
    full = psad(weights, tmp_path, **TRAINED).fit(plates().fit_data())
    scores = full.score(plates().test)
    assert computed(full)["psad_warm_up"] == computed(full)["psad_segmenter"] == 1
    assert full.context.artifacts.counters["backbone_passes"] == 26
    rows: list[dict[str, Any]] = [
        {"banks": "h"}, {"banks": "c"}, {"banks": "p"}, {"as_scale": "none"}, {"distance": "l2_squared"},
        {"train_fraction": 0.5, "banks": "hc"}, {"train_fraction": 0.3},
        {"as_reference": "repo_random_pair"},
    ]  # fmt: skip
    found = {}
    for row in rows:
        method = psad(weights, tmp_path, **TRAINED, **row).fit(plates().fit_data())
        found[str(row)] = method.score(plates().test)
        assert computed(method) == {}
        assert method.context.artifacts.counters["backbone_passes"] == 0
    for bank, name in (("h", "hist"), ("c", "comp"), ("p", "patch")):
        assert np.array_equal(found[str({"banks": bank})].image, scores.parts[f"{name}_scaled"])
    raw = found[str({"as_scale": "none"})]
    assert raw.image == pytest.approx(sum(scores.parts[n] for n in ("hist", "comp", "patch")))
    squared = found[str({"distance": "l2_squared"})]
    assert squared.parts["patch"] == pytest.approx(scores.parts["patch"] ** 2)
    assert (found[str({"train_fraction": 0.3})].parts["patch"] >= scores.parts["patch"]).all()


def test_one_shot_takes_its_scale_from_validation_images(weights: str, store: Path):
    with_them, without = (psad(weights, store).fit(few(1, v)) for v in (True, False))
    validated = with_them.score(plates().validation)
    for name, scaling in with_them.scaling.items():
        assert scaling.scale == pytest.approx(max(validated.parts[name].max(), 1e-10))
        assert without.scaling[name].scale == 1
    always = psad(weights, store, **TRAINED, norm_source="validation").fit(plates().fit_data())
    assert always.score(plates().validation).parts["comp_scaled"].max() == pytest.approx(1)


def test_a_part_that_no_training_image_has_does_not_drown_all_others():
    train = np.array([[5.0, 1, 0], [7, 2, 0], [6, 4, 0]])
    strange = np.array([[6.0, 2, 3]])
    kept = VectorBank.of(train, True, "units", "l2").distances(strange)
    z = (strange - train.mean(axis=0))[:, :2] / train.std(axis=0, ddof=1)[:2]
    rows = (train - train.mean(axis=0))[:, :2] / train.std(axis=0, ddof=1)[:2]
    assert kept == pytest.approx(np.hypot(np.linalg.norm(z - rows, axis=1), 3)[None])
    assert VectorBank.of(train, True, "repo_epsilon", "l2").distances(strange).min() > 1e10


def test_two_shots_have_finite_scores(weights: str, store: Path):
    method = psad(weights, store).fit(few(2))
    assert np.isfinite(method.score(plates().test).image).all()


@pytest.mark.parametrize(
    "switch", [{"patch_score": "reweighted_k9"}, {"comp_mean": "count_plus_one"}, {"hist_bg": False}]
)
def test_switches_change_their_bank_alone(weights: str, store: Path, switch: dict[str, Any]):
    methods = (psad(weights, store, **TRAINED, **s).fit(plates().fit_data()) for s in ({}, switch))
    plain, other = (method.score(plates().test) for method in methods)
    moved = {n for n in ("hist", "comp", "patch") if not np.allclose(plain.parts[n], other.parts[n])}
    assert moved == {{"patch_score": "patch", "comp_mean": "comp", "hist_bg": "hist"}[next(iter(switch))]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"banks": "ph"}, "letters of hcp"),
        ({"losses": "sup+hist"}, "not allowed"),
        ({"train_fraction": 0}, "greater than 0"),
        ({"labels": "made by me"}, "pattern"),
    ],
)
def test_wrong_parameters_are_named(given: dict[str, Any], message: str):
    with pytest.raises(Problem, match=message):
        resolve(PSAD, given)


def test_what_it_shows(weights: str, store: Path):
    method = psad(weights, store, **TRAINED).fit(plates().fit_data())
    test = plates().test.subset([0, 9])
    for views, score in zip(method.explain(test), method.score(test).image, strict=True):
        assert [type(v) for v in views] == [Parts, Heat, Bars, Bars, Reference]
        parts, _, scores, sizes, reference = views
        assert sum(scores.series["scaled"]) == pytest.approx(score)
        assert sizes.series["this image"] == pytest.approx(
            np.bincount(parts.labels.ravel(), minlength=3) / parts.labels.size
        )
        assert reference.image in plates().train.ids


def test_labels_are_brought_to_the_networks_size():
    from methods.shared.pixels import Geometry

    labels = np.zeros((20, 40), np.uint8)
    labels[:, 20:] = 3
    small = segmentation.shrunk(labels, Geometry(5, 10))
    assert small.shape == (5, 10)
    assert (small[:, :5] == 0).all()
    assert (small[:, 5:] == 3).all()


def test_tables_always_say_whose_labels_they_were():
    import pandas as pd

    from reports.frame.naming import setting_labels

    rows = [
        {"method": "psad", "params": f'{{"labels": "{who}", "banks": "hcp"}}'} for who in ("ours", "clip")
    ]
    assert setting_labels(pd.DataFrame(rows)) == ["psad[labels=ours]", "psad[labels=clip]"]
    assert setting_labels(pd.DataFrame(rows[:1])) == ["psad[labels=ours]"]
