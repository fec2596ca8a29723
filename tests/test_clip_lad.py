"""CLIP-LAD as a whole: identities of the paper, reuse of everything stored, switches, refusals."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import DataError, NeedNotMet
from harness.method import Context, Task
from harness.params import Problem, resolve
from harness.views import Bars, Heat, Parts, Reference
from methods.clip_lad import ClipLad
from methods.clip_lad.prompt_files import SHIPPED, read
from methods.clip_lad.segmentation import NO_REGION
from methods.shared.openclip import features
from methods.shared.openclip.features import readings
from methods.shared.openclip.text import text_embeddings
from methods.shared.openclip.tokens import on_grid, unit

PLATE = SHIPPED / "demo" / "plate.yaml"
TEST = plates().test


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that already holds every pass; the tests count from here."""
    folder = tmp_path_factory.mktemp("store")
    fitted(folder, k=4).score(TEST)
    return folder


def clip_lad(folder: Path | None, run_seed: int = 0, **params: Any) -> ClipLad:
    store = ArtifactStore(folder)
    return ClipLad(Context(run_seed=run_seed, artifacts=store), **(dict(ClipLad.check_params) | params))


def data(k: int | list[int]) -> FitData:
    chosen = range(k) if isinstance(k, int) else k
    return FitData(plates().train.subset(list(chosen)), plates().validation, category="plate")


def fitted(folder: Path | None, k: int | list[int] = 2, **params: Any) -> ClipLad:
    return clip_lad(folder, **params).fit(data(k))


def counters(method: ClipLad) -> Mapping[str, int]:
    return method.context.artifacts.counters


def computed(method: ClipLad) -> dict[str, int]:
    """How many arrays of each operation were computed."""
    return {
        name.removesuffix(".computes"): n
        for name, n in counters(method).items()
        if name.endswith(".computes")
    }


# Identities


def test_support_images_score_zero_against_their_own_bank(folder: Path):
    scores = fitted(folder, 3).score(plates().train.subset([2, 0, 1]))
    assert (scores.parts["s_log"] == 0).all()
    assert scores.parts["s_str"].max() < 1e-5


def test_order_of_support_images_is_irrelevant(folder: Path):
    forth, back = (fitted(folder, order).score(TEST) for order in ([0, 1, 2], [2, 0, 1]))
    assert np.array_equal(forth.image, back.image)
    assert np.array_equal(forth.parts["s_log"], back.parts["s_log"])


def test_patch_scores_never_grow_with_nested_shots(folder: Path):
    one, two, four = (fitted(folder, k).score(TEST).parts["s_str"] for k in (1, 2, 4))
    assert (two <= one).all()
    assert (four <= two).all()
    assert (four < one).any()


def test_histogram_scores_never_grow_with_the_bank_for_fixed_centres(folder: Path):
    method = fitted(folder, 4)
    whole = method.score(TEST).parts["s_log"]
    for k in (3, 2, 1):
        method.m_hist = replace(method.m_hist, h=method.m_hist.h[:k])
        fewer = method.score(TEST).parts["s_log"]
        assert (whole <= fewer).all()
        whole = fewer


def test_an_image_scores_alone_what_it_scores_in_company(folder: Path, tmp_path: Path):
    together = fitted(folder).score(TEST)
    method = fitted(tmp_path)
    for i in (0, 9, 19):
        alone = method.score(TEST.subset([i]))
        assert alone.image[0] == together.image[i]
        assert np.array_equal(alone.maps[0], together.maps[i])  # type: ignore[index]


def test_the_store_changes_no_score(folder: Path):
    few = TEST.subset([0, 10])
    assert np.array_equal(fitted(None).score(few).image, fitted(folder).score(few).image)


# A slow twin of the whole


def slow(method: ClipLad, support: ImageSet, images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """(s_log, s_str) from tokens, step by step, given the centres; cosines, means, counts, 2 shots."""
    spec, words, eps = method._network.spec, read(PLATE), method.m_hist.eps
    store, mu = ArtifactStore(None), method._parts.centres
    texts = text_embeddings(words.words, words.texts, spec, store, "cpu")
    coarse, fine, grid = texts[: len(words.coarse)], texts[len(words.coarse) :], spec.grid * 2

    def counts(found: Mapping[Any, Any]) -> np.ndarray:
        shallow = unit(on_grid(np.concatenate([found[1], found[2]], axis=1), grid)).numpy()
        dense = unit(on_grid(found["dense"], grid)).numpy()
        clusters = ((shallow[:, None] - mu[None]) ** 2).sum(axis=2).argmin(axis=1)
        h = np.zeros(len(words.parts))
        for i in range(len(mu)):
            if (clusters == i).any():
                logits = coarse @ dense[clusters == i].mean(axis=0)  # Eq. 1
                if list(words.coarse)[int(logits.argmax())] in words.background:
                    continue
                for patch in dense[clusters == i]:
                    name = list(words.fine)[int((fine @ patch).argmax())]
                    if name not in words.background:
                        h[words.parts.index(name)] += 1
        return h

    wanted: Any = (*spec.blocks, "dense")
    bank, found = (readings(part, wanted, spec, store, "cpu") for part in (support, images))
    m_hist = [counts(each) for each in bank]
    s_log = [
        min(float((np.abs(h - b) / np.maximum(b, eps)).sum()) for b in m_hist) for h in map(counts, found)
    ]
    s_str = []
    for each in found:
        maps = []
        for stage in spec.blocks:
            f = unit(on_grid(each[stage], spec.grid)).numpy()
            memory = np.concatenate([unit(on_grid(b[stage], spec.grid)).numpy() for b in bank])
            maps.append((1 - f @ memory.T).min(axis=1))
        s_str.append(np.mean(maps, axis=0).max())
    return np.array(s_log), np.array(s_str)


def test_scores_are_those_of_the_equations(folder: Path):
    method, images = fitted(folder), TEST.subset([0, 8, 12, 18])
    parts = method.score(images).parts
    s_log, s_str = slow(method, method._support, images)
    np.testing.assert_allclose(parts["s_log"], s_log, rtol=1e-9)
    np.testing.assert_allclose(parts["s_str"], s_str, atol=1e-5)
    assert s_log.max() > 0


# Reuse


def test_fifteen_trials_take_each_image_through_the_network_once(tmp_path: Path):
    images, seen, passes = TEST.subset([0, 12]), set(), 0
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(6).tolist()
        for k in (1, 2, 4):
            method = fitted(tmp_path, order[:k])
            method.score(images)
            passes += counters(method)["backbone_passes"]
            seen |= set(order[:k])
    assert passes == len(images) + len(plates().validation) + len(seen)


ARITHMETIC = (
    *({"hist_score": score} for score in ("ratio_literal", "sym_ratio", "l2", "l1", "cosine")),
    {"hist_epsilon": 0.1},
    {"hist_norm": "fraction"},
    {"maha": "literal"},
    {"maha_one_sided": True},
    {"norm_source": "none"},
    {"stage_fuse": "sum"},
    {"patch_metric": "l2"},
    {"patch_stages": (2, 4)},
)


@pytest.mark.parametrize("other", ARITHMETIC, ids=str)
def test_scoring_switches_are_arithmetic_on_what_is_stored(folder: Path, other: dict[str, Any]):
    before = fitted(folder).score(TEST)
    method = fitted(folder, **other)
    after = method.score(TEST)
    assert computed(method) == {}
    assert counters(method)["backbone_passes"] == 0
    pairs = zip((after.image, *after.parts.values()), (before.image, *before.parts.values()), strict=True)
    assert not all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("other", "again"),
    [
        ({"n_clusters": 3}, {"clip_lad_centres", "clip_lad_parts"}),
        ({"kmeans_init": "random"}, {"clip_lad_centres", "clip_lad_parts"}),
        ({"kmeans_seed": 7}, {"clip_lad_centres", "clip_lad_parts"}),
        ({"cluster_stages": (1,)}, {"clip_lad_centres", "clip_lad_parts"}),
        ({"cluster_grid": "tokens"}, {"clip_lad_centres", "clip_lad_parts"}),
        ({"min_region": 8}, {"clip_lad_parts"}),
        ({"fine_level": "region"}, {"clip_lad_parts"}),
        ({"coarse_threshold": 0.3}, {"clip_lad_parts"}),
        ({"pool": "raw"}, {"clip_lad_parts", "clip_similarity"}),
        ({"patch_grid": "upsampled"}, {"clip_distances"}),
        ({"stage_fuse": "concat"}, {"clip_distances"}),
        ({"norm_source": "support_loo"}, {"clip_distances"}),
    ],
    ids=lambda given: str(sorted(given) if isinstance(given, set) else given),
)
def test_other_switches_compute_what_depends_on_them(folder: Path, other: dict[str, Any], again: set[str]):
    fitted(folder).score(TEST)
    method = fitted(folder, **other)
    method.score(TEST)
    assert set(computed(method)) <= again
    assert counters(method)["backbone_passes"] == 0


def test_another_reading_of_the_last_block_needs_no_pass(folder: Path):
    for other in ({"naclip_sigma": 2.0}, {"naclip_arch": "vanilla"}, {"stage4": "naclip"}):
        method = fitted(folder, **other)
        method.score(TEST.subset([0]))
        assert counters(method)["backbone_passes"] == 0
        assert counters(method)["last_blocks"] > 0


def test_where_nothing_is_kept_an_image_still_passes_once():
    method = fitted(None)
    method.score(TEST.subset([0, 1]))
    assert counters(method)["backbone_passes"] == 2 + len(plates().validation) + 2


@pytest.mark.parametrize(
    "switches", [{}, {"stage4": "naclip", "patch_stages": (1, 4), "cluster_stages": (2,)}]
)
def test_a_card_passes_each_image_once_and_stores_no_tokens(
    folder: Path, tmp_path: Path, switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    wide = fitted(folder, **switches).score(TEST.subset([0, 1]))
    monkeypatch.setattr(features, "narrowed", lambda spec, device: frozenset(spec.reads))
    method = fitted(tmp_path, **switches)
    narrow = method.score(TEST.subset([0, 1]))
    assert np.array_equal(narrow.image, wide.image) and np.array_equal(narrow.maps, wide.maps)
    assert counters(method)["backbone_passes"] == 2 + len(plates().validation) + 2
    stored = {path.name for path in (tmp_path / "packed").iterdir()}
    assert {n for n in stored if n.startswith("clip_")} == {
        "clip_distances", "clip_lad_centres", "clip_lad_parts", "clip_similarity", "clip_text"
    }  # fmt: skip


# Switches


def test_concatenated_stages_are_nearest_in_all_stages_at_once(folder: Path):
    mean, concat = (fitted(folder, stage_fuse=fuse).score(TEST).maps for fuse in ("mean", "concat"))
    assert (concat >= mean - 1e-6).all()  # type: ignore[operator]
    assert (concat > mean + 1e-4).any()  # type: ignore[operator]
    one = fitted(folder, 1, stage_fuse="sum").score(TEST)
    np.testing.assert_allclose(
        one.parts["s_str"], 4 * fitted(folder, 1).score(TEST).parts["s_str"], rtol=1e-6
    )


def test_euclidean_distances_are_those_of_unit_vectors(folder: Path):
    cosine, l2 = (
        fitted(folder, patch_stages=(3,), patch_metric=metric).score(TEST).parts["s_str"]
        for metric in ("cosine", "l2")
    )
    np.testing.assert_allclose(l2, np.sqrt(2 * cosine), rtol=1e-5)


def test_left_out_support_images_scale_the_scores(folder: Path):
    method = fitted(folder, 4, norm_source="support_loo")
    s_log, s_str = [], []
    for i in range(4):
        others = [j for j in range(4) if j != i]
        rest = clip_lad(folder, norm_source="none").fit(
            FitData(method._support.subset(others), category="plate")
        )
        s_str.append(rest.score(method._support.subset([i])).parts["s_str"][0])
        h, bank = method.m_hist.h[i], method.m_hist.h[others]
        s_log.append((np.abs(h - bank) / np.maximum(bank, method.m_hist.eps)).sum(axis=1).min())
    np.testing.assert_allclose(method.normalisation.mu, [np.mean(s_log), np.mean(s_str)], rtol=1e-5)


def test_only_kmeans_is_random(folder: Path):
    assert ClipLad.card.ignores(resolve(ClipLad, {})) == {"run_seed"}
    assert ClipLad.card.ignores(resolve(ClipLad, {"kmeans_seed": None})) == frozenset()
    a, b = (fitted(folder, run_seed=seed).score(TEST).image for seed in (0, 1))
    assert np.array_equal(a, b)
    c = fitted(folder, run_seed=5, kmeans_seed=None)._parts.centres
    assert np.array_equal(c, fitted(folder, kmeans_seed=5)._parts.centres)


def test_several_product_types_need_one_image_each(folder: Path):
    """Multi-class mode is nothing but a support set with every type in it."""
    types = [plates().train[0], np.ascontiguousarray(plates().train[0][:, :, ::-1])]
    method = clip_lad(folder, norm_source="none").fit(FitData(ImageSet.of_arrays(types), category="plate"))
    scores = method.score(ImageSet.of_arrays(types))
    assert scores.image.max() < 1e-5
    alone = clip_lad(folder, norm_source="none").fit(FitData(ImageSet.of_arrays(types[:1]), category="plate"))
    assert alone.score(ImageSet.of_arrays(types[1:])).image[0] > 0.01


def test_the_least_denominator_is_a_part_of_the_image(folder: Path):
    """One patch of the paper's 64 × 64, hence as many of any finer grid as cover the same area."""
    sizes = {}
    for upsample in (1, 2, 4):
        method = fitted(folder, 1, upsample=upsample)
        sizes[method._parts.grid] = method.m_hist.eps
    assert sizes == {14: 196 / 4096, 28: 784 / 4096, 56: 3136 / 4096}
    assert fitted(folder, 1, hist_epsilon=0.01).m_hist.eps == pytest.approx(7.84)


# Pictures


def test_views_show_every_step(folder: Path):
    method = fitted(folder, 3)
    images = TEST.subset([0, 12])
    scores, labels = method.score(images), method.segment(images).labels
    for i, shown in enumerate(method.explain(images)):
        clusters, coarse, parts, heat, bars, reference = shown
        assert [type(v) for v in shown] == [Parts, Parts, Parts, Heat, Bars, Reference]
        assert isinstance(clusters, Parts)
        assert clusters.labels.min() >= 1, "every patch has a cluster"
        assert isinstance(parts, Parts)
        assert isinstance(coarse, Parts)
        assert np.array_equal(parts.labels, labels[i])
        assert (coarse.labels[parts.labels > 0] > 0).all(), "parts lie in the foreground"
        assert isinstance(heat, Heat)
        assert heat.values.max() == pytest.approx(scores.parts["s_str"][i])
        assert isinstance(bars, Bars)
        h, nearest = bars.series["this image"], bars.series["nearest support image"]
        assert h.tolist() == [(labels[i] == n).sum() for n in range(1, len(bars.names) + 1)]
        relative = np.abs(h - nearest) / np.maximum(nearest, method.m_hist.eps)
        assert relative.sum() == pytest.approx(scores.parts["s_log"][i])
        assert isinstance(reference, Reference)
        assert reference.image in method._support.ids


def test_small_regions_are_shown_without_a_cluster(folder: Path):
    method = fitted(folder, min_region=8)
    assert method.segment(TEST).names == ("background", "disc", "bar")
    found = method._parts.of(TEST)
    assert any((each.clusters == NO_REGION).any() for each in found)
    assert all((each.parts[each.clusters == NO_REGION] == 0).all() for each in found)
    assert min(view.labels.min() for view, *_ in method.explain(TEST)) == 0  # type: ignore[union-attr]


# Refusals


OWN = "coarse: {plate: [plate], background: [table]}\nfine: {disc: [disc], background: [table]}\n"


def task(category: str = "plate", n_train: int = 1, n_validation: int = 9) -> Task:
    return Task("d", category, n_train, n_train, n_validation, False)


def params(**given: Any) -> dict[str, Any]:
    return resolve(ClipLad, {"weights": "demo"} | given)


def test_a_category_without_prompts_is_skipped_with_what_to_write():
    reason = ClipLad.card.unmet(params(), task("transistor"))
    assert reason is not None
    assert "Write transistor.yaml with the keys `coarse` and `fine`" in reason
    assert [a.name for a in ClipLad.card.assets(params(), "transistor")] == ["demo-ViT-8"]
    with pytest.raises(NeedNotMet, match=r"transistor\.yaml"):
        clip_lad(None).fit(FitData(plates().train, plates().validation, category="transistor"))


def test_given_prompts_without_the_category_are_refused(tmp_path: Path):
    (tmp_path / "plates.yaml").write_text(OWN)
    with pytest.raises(DataError, match=r"no prompts for 'plate' .did you mean 'plates'"):
        ClipLad.card.assets(params(prompts=str(tmp_path)), "plate")
    (tmp_path / "plate.yaml").write_text(OWN.replace("coarse", "corse"))
    with pytest.raises(DataError, match=r"plate\.yaml: not the prompts of a category"):
        ClipLad.card.assets(params(prompts=str(tmp_path)), "plate")


def test_the_content_of_prompts_is_part_of_a_trial(tmp_path: Path):
    def content(category: str, **given: Any) -> str:
        return next(a.sha256 for a in ClipLad.card.assets(params(**given), category) if a.name == "prompts")

    (tmp_path / "plate.yaml").write_text(OWN)
    before = content("plate", prompts=str(tmp_path))
    (tmp_path / "plate.yaml").write_text(OWN.replace("[disc]", "[disc, circle]"))
    assert content("plate", prompts=str(tmp_path)) != before
    assert content("juice_bottle/cherry") == content("juice_bottle") != content("pushpins")
    assert "prompts" in ClipLad.card.paths


@pytest.mark.parametrize(
    ("given", "where", "words"),
    [
        ({}, task(n_validation=1), "needs 2 or more validation images, here are 1"),
        ({"norm_source": "support_loo"}, task(), "needs 2 or more training images, here are 1"),
        ({"norm_source": "none"}, task(n_validation=0), None),
        ({}, task(n_validation=2), None),
    ],
)
def test_what_scales_the_scores_has_to_be_there(given: dict[str, Any], where: Task, words: str | None):
    reason = ClipLad.card.unmet(params(**given), where)
    assert reason is None if words is None else words in (reason or "")
    if words:
        with pytest.raises(NeedNotMet, match=words):
            clip_lad(None, **given).fit(
                FitData(plates().train.subset([0]), plates().validation.subset([0]), category="plate")
            )


def test_no_training_image_is_an_unmet_need():
    with pytest.raises(NeedNotMet, match="at least one"):
        clip_lad(None).fit(FitData(ImageSet((), ()), category="plate"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hist_score": "relative"}, "rel_diff"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"n_clusters": 300}, "254"),
        ({"hist_epsilon": 0}, "hist_epsilon"),
        ({"hist_epsilon": 1.5}, "hist_epsilon"),
        ({"hist_eps": 1}, "did you mean 'hist_epsilon'"),
        ({"patch_stages": []}, "patch_stages"),
        ({"hist_scor": "l1"}, "did you mean 'hist_score'"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(given: dict[str, Any], words: str):
    with pytest.raises(Problem, match=words):
        resolve(ClipLad, given)
