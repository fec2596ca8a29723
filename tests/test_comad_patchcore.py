"""ComAD + PatchCore: the scores of both methods as they are, and how they are added."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Context
from harness.params import resolve
from methods.comad import ComAD, ComADPatchCore
from methods.comad.with_patchcore import FOLDS, _folds, _patch
from methods.patchcore import PatchCore

OWN = dict(ComAD.check_params) | {"crf_iterations": 0}
PATCHES = {"backbone": "test_resnet", "image_size": 64, "coreset_ratio": 0.5, "coreset_above": 1}
SHOWN = [0, 5, 12]


def both(train: Sequence[int], validation: Sequence[int] = (), **params: Any) -> ComADPatchCore:
    given = OWN | {f"patch_{name}": value for name, value in PATCHES.items()} | params
    some = plates()
    data = FitData(some.train.subset(train), some.validation.subset(validation))
    return ComADPatchCore(Context(run_seed=3), **given).fit(data)


def alone(train: Sequence[int], images: ImageSet) -> np.ndarray:
    """The two methods' own scores, (2, n)."""
    own = FitData(plates().train.subset(train))
    comad = ComAD(Context(run_seed=3), **OWN).fit(own)
    patchcore = PatchCore(Context(run_seed=3), weights="demo", **PATCHES).fit(own)
    return np.stack([comad.score(images).image, patchcore.score(images).image])


def added(scores: np.ndarray, normal: np.ndarray) -> np.ndarray:
    return ((scores - normal.mean(axis=1, keepdims=True)) / normal.std(axis=1, keepdims=True)).sum(axis=0)


def test_parts_are_the_scores_of_the_two_methods_and_validation_images_set_the_scale():
    images, some = plates().test.subset(SHOWN), [0, 1, 2]
    found = both(some, [0, 1]).score(images)
    expected = alone(some, images)
    assert np.array_equal(np.stack([found.parts["comad"], found.parts["patchcore"]]), expected)
    np.testing.assert_allclose(found.image, added(expected, alone(some, plates().validation.subset([0, 1]))))
    assert found.maps is not None and found.maps.shape == (len(SHOWN), 8, 8)


def test_without_validation_images_left_out_ones_set_the_scale():
    images, train = plates().test.subset(SHOWN), plates().train
    normal = np.concatenate(
        [alone([j for j in range(3) if j != i], train.subset([i])) for i in range(3)], axis=1
    )
    found = both([0, 1, 2]).score(images)
    np.testing.assert_allclose(found.image, added(alone([0, 1, 2], images), normal))
    same = both([2, 0, 1], [0, 1], norm_source="support_loo").score(images)  # in whatever order they come
    np.testing.assert_allclose(found.image, same.image)


def test_more_images_are_left_out_by_the_fifth():
    for number in (1, 2, 5, 6):
        images = plates().train.subset([i % 6 for i in range(number)])
        folds = list(_folds(images))
        assert len(folds) == min(number, FOLDS)
        assert sorted(i for fold in folds for i in fold) == list(range(number))


@pytest.mark.parametrize(("train", "params"), [([0], {}), ([0, 1], {"norm_source": "none"})])
def test_without_a_scale_the_scores_are_added_as_they_are(train: list[int], params: dict[str, Any]):
    images = plates().test.subset(SHOWN)
    found = both(train, **params).score(images)
    assert np.array_equal(found.image, alone(train, images).sum(axis=0))


@pytest.mark.parametrize(("source", "words"), [("validation", "here is none"), ("support_loo", "here are 1")])
def test_a_scale_that_cannot_be_had_is_an_unmet_need(source: str, words: str):
    with pytest.raises(NeedNotMet, match=words):
        both([0], norm_source=source)


def test_comad_finds_the_heat_maps_that_its_companion_left(tmp_path: Path):
    data, images = FitData(plates().train.subset([0, 1])), plates().test.subset(SHOWN)
    given = OWN | {f"patch_{name}": value for name, value in PATCHES.items()} | {"norm_source": "none"}
    ComADPatchCore(Context(artifacts=ArtifactStore(tmp_path)), **given).fit(data).score(images)
    store = ArtifactStore(tmp_path)
    kept = ComAD(Context(artifacts=store), **OWN).fit(data).score(images)
    assert store.counters["heat.computes"] == 0 and store.counters["heat.hits"] == 2 + len(SHOWN)
    assert np.array_equal(kept.image, ComAD(Context(), **OWN).fit(data).score(images).image)
    other = ComAD(Context(artifacts=store), **(OWN | {"clusters": 3})).fit(data).score(images)
    assert not np.array_equal(other.image, kept.image)


def test_weights_are_meant_for_both_networks_unless_the_other_has_its_own(tmp_path: Path):
    def used(**params: Any) -> list[str]:
        complete = resolve(ComADPatchCore, params)
        return [asset.name for asset in ComADPatchCore.card.assets(complete, "")]

    demo = used(weights="demo")
    assert len(demo) == len(set(demo)) == 2
    assert demo == used(weights="demo", patch_weights="demo")
    own = str(checkpoint("test_resnet", tmp_path))
    assert used(weights="demo", patch_backbone="test_resnet", patch_weights=own)[0] == demo[0]
    assert _patch(resolve(ComADPatchCore, {"weights": own}))["weights"] == own
    assert _patch(resolve(ComADPatchCore, {"weights": own, "patch_weights": "own"}))["weights"] is None
    large = resolve(ComADPatchCore, {"weights": "demo", "patch_crop": 300})
    assert [key for key, _ in ComADPatchCore.card.problems(large)] == ["patch_crop"]
