"""One pass of a network for everything that the trials of a sweep read of it."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from passes import KEYS, NAMES, made, right

from harness.artifacts import ArtifactStore
from harness.config import load
from harness.errors import ConfigError
from harness.method import Resources
from methods.shared.onepass import shared, wanted, with_others
from sweeps.drive import _setting
from sweeps.expand import expand
from sweeps.worker import execute


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_whoever_asks_first_leaves_everything_for_the_others(first: str, batch: int, tmp_path: Path):
    store = ArtifactStore(tmp_path)
    one, passes = made(store, batch=batch)
    assert right(one.arrays((first,)), (first,))
    assert passes == Counter(range(20))
    again, more = made(store)
    assert right(again.arrays(NAMES), NAMES) and not more


def test_images_that_lack_something_alone_have_a_pass(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    made(store, KEYS[:5])[0].arrays(("c",))
    other, passes = made(store)
    assert right(other.arrays(("b",)), ("b",))
    assert passes == Counter(range(5, 20))


def test_without_a_store_a_pass_gives_what_is_asked_for():
    found, passes = made(ArtifactStore(None))
    assert right(found.arrays(("b", "c")), ("b", "c")) and passes == Counter(range(20))


def test_what_is_wanted_is_ones_own_and_that_of_others_where_it_can_be_kept(tmp_path: Path):
    kept = ArtifactStore(tmp_path)
    with shared({"pass": ["c", "b"]}):
        assert wanted("pass", ["d", "b"], kept) == ["b", "c", "d"]
        assert wanted("other", ["d", "b"], kept) == ["b", "d"]
        assert wanted("pass", ["d", "b"], ArtifactStore(None)) == ["b", "d"]
    assert wanted("pass", ["b"], kept) == ["b"]


def test_processes_that_ask_for_different_names_wait_for_each_other_and_not_for_ever(tmp_path: Path):
    code = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
from passes import KEYS, made, right
from harness.artifacts import ArtifactStore
total = 0
for start in range(0, 20, 4):
    part, passes = made(ArtifactStore(Path({str(tmp_path)!r})), KEYS[start : start + 4], 2)
    assert right(part.arrays((sys.argv[1],)), (sys.argv[1],), KEYS[start : start + 4])
    total += passes.total()
print(total)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE, text=True)
        for name in ("a", "c")
    ]
    assert sum(int(p.communicate(timeout=240)[0]) for p in started) == 20


def passes_of(sweep_file: Any, methods: list[dict[str, Any]]) -> tuple[int, int]:
    """Images that went through a network in a sweep of two shots, and how many different images it has."""
    config = load(sweep_file(methods=methods, categories=["bolt"], shots=[2], seeds=[0]))
    planned = [trial for trial, _ in expand(config)]
    assert len(planned) == len(methods) * 2 * 2
    setting = _setting(config, planned)
    rows = [execute(trial, setting, Resources(cpus=1)).trial for trial in planned]
    assert {row["status"] for row in rows} == {"ok"}, [row["reason"] for row in rows]
    passes = sum(json.loads(row["artifacts"]).get("backbone_passes", 0) for row in rows)
    return passes, 2 + rows[0]["n_test"]


NETWORKS = {
    "transformer": (
        {"backbone": "vit_small_patch14_dinov2", "weights": "demo"},
        {"layers": [["blocks.1"], ["blocks.1", "blocks.4"]], "image_size": [32, 48]},
        "blocks.4",
    ),
    "convolutions": (
        {"backbone": "wide_resnet50_2.tv_in1k", "weights": "demo"},
        {"layers": [["layer2"], ["layer2", "layer3"]], "image_size": [32, 48]},
        "layer3",
    ),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_sweep_over_layers_and_methods_makes_one_pass_per_image_and_resolution(
    network: str, sweep_file: Any, tmp_path: Path
):
    """Upright images at two sizes, whoever reads them; two turned copies of two support images besides."""
    given, grid, pooled = NETWORKS[network]
    methods = [
        {"name": "patchcore", "params": given, "grid": grid},
        {"name": "spade", "params": {**given, "global_layer": pooled}, "grid": grid},
        {"name": "padim", "params": given, "grid": grid},
    ]
    of_tokens = [
        {"name": "anomaly_dino", "params": {**given, "aspect": "square", "rotations": 1}, "grid": grid},
        {"name": "subspace_ad", "params": {**given, "rotations": 2}, "grid": grid},
    ]
    tokens = network == "transformer"
    passes, images = passes_of(sweep_file, methods + (of_tokens if tokens else []))
    assert passes == 2 * images + tokens * 2 * (2 * 2)


def test_layers_that_nobody_can_have_are_tried_once(tmp_path: Path):
    tried: list[Sequence[str]] = []

    def make(names: Sequence[str]) -> Sequence[str]:
        tried.append(names)
        if "z" in names:
            raise ConfigError("no z")
        return names

    store = ArtifactStore(tmp_path)
    with shared({"pass": ["b", "z"]}):
        assert [with_others("pass", own, store, make) for own in (["b", "a"], ["a"])] == [["a", "b"], ["a"]]
        assert tried == [["a", "b", "z"], ["a", "b"], ["a"]]
        with pytest.raises(ConfigError, match="no z"):
            with_others("pass", ["z"], store, make)
