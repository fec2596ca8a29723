"""PSAD's sources of part labels: RePRI, K-means, SegGPT and folders of maps, against slow twins."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import checkpoint
from conftest import write_tree
from PIL import Image
from torch.nn import functional as F

from harness.artifacts import ArtifactStore
from harness.checks.plates import PARTS, plates
from harness.curate.command import main as command
from harness.data import FitData, Sample
from harness.data.labels import IGNORED, Labels
from harness.data.segments import find_segments
from harness.errors import DataError, WeightsError
from harness.method import Context, Task
from harness.params import resolve
from methods import METHODS
from methods.psad import PSAD, sources
from methods.psad.sources import repri, seggpt_files
from methods.psad.sources.specs import RepriSpec

PUBLIC = RepriSpec(repri_steps=49, repri_update=10, repri_temperature=20.0, repri_rate=0.025)
TASK = Task("d", "plate", 4, 4, 0, has_part_masks=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint("test_resnet", tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def tiny_seggpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SegGPT of two blocks with random weights, as a folder."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("seggpt")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "decoder_hidden_size": 8}
    places = {"image_size": (64, 32), "patch_size": 8, "pretrain_image_size": 32}
    blocks = {"merge_index": 0, "intermediate_hidden_state_indices": (0, 1)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.SegGptForImageSegmentation(
            transformers.SegGptConfig(**shape, **places, **blocks)
        )
        for weight in model.parameters():  # as they begin, it would paint one grey
            weight.data.normal_(std=0.7)
    model.save_pretrained(folder)
    transformers.SegGptImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


def psad(weights: str, store: Path | None = None, data: FitData | None = None, **params: Any) -> PSAD:
    """Fitted to the plates, or to other data."""
    given = {"weights": weights, "backbone": "test_resnet", "image_size": 64, "patch_size": 64}
    method = PSAD(Context(artifacts=ArtifactStore(store)), **given, **params)
    return method.fit(data or plates().fit_data())


def write_maps(root: Path) -> Path:
    """Maps of all plates as a tool would leave them: the exact ones of the training images."""
    folder = root / "plate"
    folder.mkdir(parents=True)
    (folder / "part_classes.json").write_text(json.dumps(PARTS))
    for i in range(30):
        labels = plates().parts[i] if i < 6 else plates().parts[0]
        Image.fromarray(labels).save(folder / f"{i:06d}.png")
    return root


# The table


def test_a_source_reads_hyper_parameters_of_psad_and_each_has_one_place():
    names = {f.name for f in fields(PSAD)}
    read = [name for source in sources.SOURCES.values() for name in source.params]
    assert set(read) <= names
    labels = {"labels_dir", "n_labelled", "n_types"}
    assert all(read.count(name) == (3 if name in labels else 1) for name in read)
    assert set(sources.SOURCES) == set(sources.Segmentation.__args__)


def test_what_came_later_is_silent_at_its_default():
    defaults = {f.name: f.default for f in fields(PSAD)}
    assert dict(PSAD.card.later) == {name: defaults[name] for name in PSAD.card.later}
    new = {n for key in ("folder", "repri", "seggpt", "kmeans") for n in sources.SOURCES[key].params}
    assert PSAD.card.later.keys() == (new - {"labels_dir", "n_labelled", "n_types"}) | {"segmentation"}


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"repri_steps": 7}, {"repri_steps": "segmentation: repri, and not used by own"}),
        ({"segmentation": "repri", "repri_steps": 7, "n_labelled": 2}, {}),
        ({"segmentation": "repri", "epochs": 3, "lambdas": [1, 1, 1]}, {"epochs": "own", "lambdas": "own"}),
        ({"segmentation": "kmeans", "labels_dir": "x"}, {"labels_dir": "own and repri and seggpt"}),
        ({"segmentation": "folder", "co_parts": 4}, {"co_parts": "of segmentation: kmeans"}),
    ],
)
def test_a_parameter_of_another_source_is_named(weights: str, given: dict[str, Any], wrong: dict[str, str]):
    params = resolve(PSAD, given | {"weights": "demo"})
    found = dict(PSAD.card.problems(params))
    assert found.keys() == wrong.keys()
    assert all(part in found[name] for name, part in wrong.items())


@pytest.mark.parametrize("source", ["repri", "kmeans"])
@pytest.mark.parametrize("n", [1, 2, 6])
def test_it_scores_at_any_number_of_shots(weights: str, store: Path, source: Any, n: int):
    data = plates().fit_data(plates().train.subset(range(n)))
    few = {"repri_steps": 2} if source == "repri" else {}
    method = psad(weights, store, data, segmentation=source, **few)
    assert np.isfinite(method.score(plates().test.subset([0, 9, 15])).image).all()


@pytest.mark.parametrize(
    "params", [{"segmentation": "repri", "repri_steps": 11}, {"segmentation": "kmeans", "co_parts": 4}]
)
def test_an_image_is_segmented_alone(weights: str, params: dict[str, Any]):
    parts, test = psad(weights, banks="h", **params).memory.parts, plates().test
    together = parts.labels(test.subset([0, 7, 19]))
    assert {m.shape for m in together} == {(64, 64)}
    for i, labels in zip((0, 7, 19), together, strict=True):
        assert np.array_equal(parts.labels(test.subset([i]))[0], labels)


# RePRI


def tasks(seed: int = 0, images: int = 2) -> tuple[list[torch.Tensor], list[Labels], torch.Tensor]:
    """Features of labelled images and of a query, and label maps with pixels that count nowhere."""
    rng = np.random.default_rng(seed)
    shared = 2 * rng.normal(size=(12, 1, 1))
    z = [torch.from_numpy(rng.normal(size=(12, 6, 5)) + shared).float() for _ in range(images + 1)]
    *support, query = (F.normalize(x, dim=0) for x in z)
    labels = [rng.integers(0, 3, (12, 15)).astype(np.uint8) for _ in support]
    labels[0][:4, :4] = IGNORED
    return support, labels, query


def slow_repri(
    support: list[torch.Tensor], labels: list[Labels], query: torch.Tensor, part: int, how: RepriSpec
) -> np.ndarray:
    """The probability of one part at every place of the query: one task, one pixel after the other."""
    pixels = []
    for z, y in zip(support, labels, strict=True):
        for row in range(6):
            for column in range(5):
                label = y[row * 12 // 6, column * 15 // 5]
                if label != IGNORED:
                    pixels.append((z[:, row, column].double(), float(label == part)))
    z_s = torch.stack([z for z, _ in pixels])
    y_s = torch.tensor([y for _, y in pixels], dtype=torch.float64)
    z_q = query.flatten(1).T.double()
    w = torch.stack([z for z, y in pixels if y]).mean(dim=0)

    def logits(z: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return how.repri_temperature * F.cosine_similarity(z, w[None])

    b = logits(z_q, w).mean()
    pi, kl = (logits(z_q, w) - b).sigmoid().mean(), 1 / len(support)
    for step in range(1, how.repri_steps + 1):
        if step == how.repri_update:
            pi, kl = (logits(z_q, w) - b).sigmoid().mean(), kl + 1
        w, b = w.detach().requires_grad_(), b.detach().requires_grad_()
        ce = F.binary_cross_entropy_with_logits(logits(z_s, w) - b, y_s)
        p = (logits(z_q, w) - b).sigmoid()
        both = torch.distributions.Bernoulli(p)
        proportion = torch.distributions.kl_divergence(
            torch.distributions.Bernoulli(p.mean()), torch.distributions.Bernoulli(pi.detach())
        )
        (ce + kl * proportion + both.entropy().mean() / len(support)).backward()
        w, b = (x.detach() - how.repri_rate * x.grad for x in (w, b))  # pyright: ignore[reportOperatorIssue]
    return (logits(z_q, w) - b).sigmoid().numpy()


@pytest.mark.parametrize("images", [1, 3])
def test_repri_is_what_one_task_after_the_other_gives(images: int):
    support, labels, query = tasks(images=images)
    found = repri.labelled_pixels(support, labels, n_classes=5)  # classes 3 and 4 are nowhere
    assert found.classes.tolist() == [0, 1, 2]
    places = query.flatten(1).T
    fitted = repri.adapted(found, places, PUBLIC)
    p = fitted.foreground(places, PUBLIC.repri_temperature).numpy()
    for task, part in enumerate(found.classes.tolist()):
        np.testing.assert_allclose(p[task], slow_repri(support, labels, query, part, PUBLIC), atol=2e-5)
    seen = repri.label_map(fitted, found, query, query.shape[-2:], PUBLIC.repri_temperature)
    assert np.array_equal(seen.ravel(), found.classes[p.argmax(axis=0)])


def test_repri_has_no_part_where_nothing_is_labelled():
    support, labels, query = tasks()
    for value in (0, IGNORED):
        found = repri.labelled_pixels(support, [np.full_like(y, value) for y in labels], n_classes=3)
        fitted = repri.adapted(found, query.flatten(1).T, PUBLIC)
        assert not repri.label_map(fitted, found, query, (9, 7), 20.0).any()


def test_repri_finds_parts_that_features_tell_apart():
    rng = np.random.default_rng(1)
    kinds, labels = np.linalg.qr(rng.normal(size=(12, 3)))[0], rng.integers(0, 3, (3, 8, 6)).astype(np.uint8)
    noisy = kinds[:, labels] + 0.1 * rng.normal(size=(12, 3, 8, 6))
    *support, query = (F.normalize(torch.from_numpy(z).float(), dim=0) for z in noisy.transpose(1, 0, 2, 3))
    found = repri.labelled_pixels(support, list(labels[:2]), n_classes=3)
    fitted = repri.adapted(found, query.flatten(1).T, PUBLIC)
    assert np.array_equal(repri.label_map(fitted, found, query, (8, 6), 20.0), labels[2])


# K-means


def test_co_parts_are_the_nearest_centres(weights: str, store: Path):
    method = psad(weights, store, segmentation="kmeans", co_parts=4, banks="h")
    parts = method.memory.parts
    assert method.classes == ("background", "part 1", "part 2", "part 3", "part 4")
    from methods.psad.sources.dense import dense

    (z,) = dense(plates().test.subset([0]), parts.spec, parts.context)
    distances = ((z.numpy()[None] - parts.centres[:, :, None, None]) ** 2).sum(axis=1)
    (seen,) = parts.labels(plates().test.subset([0]))
    step = 64 // z.shape[-1]
    middle = seen[step // 2 :: step, step // 2 :: step]
    sure = np.diff(np.sort(distances, axis=0)[:2], axis=0)[0] > np.quantile(np.ptp(distances, axis=0), 0.5)
    assert np.array_equal(middle[sure], distances.argmin(axis=0)[sure] + 1)


def test_co_parts_need_no_labels_and_are_marked(weights: str):
    params = resolve(PSAD, {"weights": weights, "backbone": "test_resnet", "segmentation": "kmeans"})
    assert PSAD.card.unmet(params, Task("d", "plate", 4, 4, 0, has_part_masks=False)) is None
    assert [asset.marks for asset in PSAD.card.assets(params, "plate")] == [(sources.STAND_IN,)]
    data = FitData(plates().train.subset([0, 1]), category="plate")
    assert len(psad(weights, None, data, segmentation="kmeans", banks="h").classes) == 11


# Folders


@pytest.mark.parametrize("canvas", ["native", "square"])
def test_maps_of_a_folder_are_the_parts(weights: str, tmp_path: Path, canvas: Any):
    root = write_maps(tmp_path)
    how = {"segmentation": "folder", "segments_dir": str(root), "canvas": canvas}
    method = psad(weights, None, plates().fit_data(), **how)
    assert method.classes == PARTS
    assert np.array_equal(method.segment(plates().train).labels, np.stack(plates().parts))
    assert np.isfinite(method.score(plates().train).image).all()
    bank = method.memory.vectors["hist"]
    assert bank.distances(np.bincount(plates().parts[2].ravel(), minlength=3)[None])[0, 2] == 0


def test_the_folder_is_part_of_a_trials_identity(weights: str, tmp_path: Path):
    root = write_maps(tmp_path / "maps")
    given = {"weights": weights, "backbone": "test_resnet", "segmentation": "folder"}
    params = resolve(PSAD, given | {"segments_dir": str(root)})
    first = PSAD.card.assets(params, "plate")
    (root / "plate" / "labels.json").write_text('{"marks": ["stand-in parts"]}')
    Image.fromarray(plates().parts[1]).save(root / "plate" / "000000.png")
    second = PSAD.card.assets(params, "plate")
    assert first[0] == second[0]
    assert first[1].sha256 != second[1].sha256
    assert second[1].marks == ("stand-in parts",)
    assert {"segments_dir", "seggpt_weights"} <= PSAD.card.paths


def test_a_map_that_is_missing_or_does_not_fit_is_named(weights: str, tmp_path: Path):
    params = resolve(PSAD, {"segmentation": "folder", "segments_dir": str(tmp_path), "weights": "demo"})
    assert "has none" in (PSAD.card.unmet(params, TASK) or "")
    assert "segments_dir" in (PSAD.card.unmet({**params, "segments_dir": None}, TASK) or "")
    root = write_maps(tmp_path)
    image = tmp_path / "picture.png"
    Image.fromarray(plates().train[0]).save(image)
    train = tuple(Sample(f"{i:06d}", image, "good") for i in (0, 1, 77))
    task = Task("d", "plate", 3, 3, 0, has_part_masks=False, train=train)
    Image.new("L", (9, 9)).save(root / "plate" / "000001.png")
    with pytest.raises(DataError, match=r"000001\.png: \(9, 9\) pixels(.|\n)*000077\.png: missing") as caught:
        PSAD.card.unmet(params, task)
    assert "harness.data segments" in str(caught.value)
    (root / "plate" / "part_classes.json").unlink()
    with pytest.raises(DataError, match=r"labels\.yaml: missing"):
        find_segments(root, "plate/red")


def test_the_command_checks_every_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_tree(tmp_path / "data", ("nut",), train=2, test=1)
    images = sorted((tmp_path / "data" / "nut").rglob("*.png"))
    for image in (p for p in images if "ground_truth" not in p.parts):
        path = tmp_path / "maps" / image.relative_to(tmp_path / "data")
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(image) as picture:
            Image.new("L", picture.size, 1).save(path)
    (tmp_path / "maps" / "nut" / "labels.yaml").write_text("classes: [background, thread, head]")
    words = ["segments", str(tmp_path / "data"), str(tmp_path / "maps"), "--dataset", "mvtec_ad"]
    assert command(METHODS, words) == 0
    told = capsys.readouterr().out
    assert "maps of 4 of 4 images of nut" in told
    assert "'head' is in no map" in told
    wrong = tmp_path / "maps" / "nut" / "test" / "good" / "000.png"
    wrong.rename(wrong.with_name("001.png"))
    assert command(METHODS, words) == 2
    told = capsys.readouterr().out
    assert "test/good/000.png: missing" in told
    assert "1 maps of no image: test/good/001" in told
    assert command(METHODS, [*words, "--category", "nutt"]) == 2
    assert "did you mean 'nut'" in capsys.readouterr().err


# SegGPT


def test_without_weights_or_package_it_is_skipped(monkeypatch: pytest.MonkeyPatch):
    params = resolve(PSAD, {"segmentation": "seggpt", "weights": "demo"})
    monkeypatch.setattr(seggpt_files, "find_spec", lambda name: None)
    assert "ladder-bench[seggpt]" in (PSAD.card.unmet(params, TASK) or "")
    monkeypatch.setattr(seggpt_files, "find_spec", lambda name: name)
    monkeypatch.setattr(seggpt_files, "reachable", lambda url: False)
    assert "cannot be reached" in (PSAD.card.unmet({**params, "seggpt_weights": "none/such"}, TASK) or "")
    assert "no name on the hub" in (PSAD.card.unmet({**params, "seggpt_weights": "a/b/c"}, TASK) or "")


def test_a_folder_that_lacks_a_file_is_named(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"lacks preprocessor_config\.json, model\.safetensors"):
        seggpt_files.folder_of(str(tmp_path))


def nearest_colours(painted: torch.Tensor, colours: list[tuple[int, int, int]]) -> np.ndarray:
    """The class whose colour is nearest, pixel by pixel; painted (3, h, w) in 0 … 255."""
    _, height, width = painted.shape
    found = np.zeros((height, width), np.uint8)
    for row in range(height):
        for column in range(width):
            away = [float(((painted[:, row, column] - torch.tensor(c)) ** 2).sum()) for c in colours]
            found[row, column] = int(np.argmin(away))
    return found


@pytest.mark.parametrize("n", [1, 3])
def test_seggpt_paints_classes_in_the_nearest_colours(tiny_seggpt: str, n: int):
    from methods.psad.sources.seggpt import load

    model = load(Path(tiny_seggpt), "cpu")
    prompts, masks = [plates().train[i].copy() for i in range(n)], [y.copy() for y in plates().parts[:n]]
    seen = model(plates().test[0], prompts, masks, len(PARTS))
    batch = model.processor(
        images=[plates().test[0].copy()] * n,
        prompt_images=prompts,
        prompt_masks=masks,
        num_labels=2,
        return_tensors="pt",
    )
    with torch.inference_mode():
        painted = model.model(**batch, feature_ensemble=n > 1).pred_masks[0, :, 32:]
    mean, std = (
        torch.tensor(x).view(3, 1, 1) for x in (model.processor.image_mean, model.processor.image_std)
    )
    colours = [(0, 0, 0), *model.processor.get_palette(2)[1:]]
    small = nearest_colours((255 * (painted * std + mean)).clip(0, 255), colours)
    assert np.array_equal(seen, small.repeat(2, axis=0).repeat(2, axis=1))
    assert len(np.unique(seen)) > 1


def test_seggpt_segments_each_image_alone(tiny_seggpt: str, weights: str, tmp_path: Path):
    method = psad(weights, tmp_path, segmentation="seggpt", seggpt_weights=tiny_seggpt, n_labelled=2)
    parts, test = method.memory.parts, plates().test
    together = parts.labels(test)
    fresh = psad(weights, None, segmentation="seggpt", seggpt_weights=tiny_seggpt, n_labelled=2, banks="h")
    assert np.array_equal(fresh.memory.parts.labels(test.subset([5]))[0], together[5])
    assert np.isfinite(method.score(test).image).all()
    names = [asset.name for asset in PSAD.card.assets(_seggpt(weights, tiny_seggpt), "plate")]
    assert "seggpt/model.safetensors" in names
    assert PSAD.card.unmet(_seggpt(weights, tiny_seggpt), TASK) is None


def _seggpt(weights: str, folder: str) -> dict[str, Any]:
    given = {"weights": weights, "backbone": "test_resnet", "segmentation": "seggpt"}
    return resolve(PSAD, given | {"seggpt_weights": folder})


def test_weights_that_lack_a_tensor_are_refused(tiny_seggpt: str, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    from methods.psad.sources.seggpt import load

    for file in seggpt_files.FILES:
        (tmp_path / file).write_bytes((Path(tiny_seggpt) / file).read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    state.pop(next(iter(sorted(state))))
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"model\.safetensors lacks decoder"):
        load(tmp_path, "cpu")
