"""One pass of a network for everything that the trials of a sweep read of it."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from passes import KEYS, NAMES, made, right

from harness.artifacts import ArtifactStore
from harness.config import load
from harness.method import Resources
from methods.shared.onepass import shared, wanted
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


def test_a_sweep_over_layers_and_methods_makes_one_pass_per_image_and_resolution(
    sweep_file: Any, tmp_path: Path
):
    """Upright images at two sizes; two turned copies of two support images for all layers together."""
    blocks = {"layers": [["blocks.1"], ["blocks.1", "blocks.4"]], "image_size": [32, 48]}
    vit = {"backbone": "vit_small_patch14_dinov2", "weights": "demo"}
    methods = [
        {"name": "patchcore", "params": vit, "grid": blocks},
        {"name": "anomaly_dino", "params": {**vit, "aspect": "square", "rotations": 1}, "grid": blocks},
        {"name": "subspace_ad", "params": {**vit, "rotations": 2}, "grid": blocks},
    ]
    config = load(sweep_file(methods=methods, categories=["bolt"], shots=[2], seeds=[0]))
    planned = [trial for trial, _ in expand(config)]
    assert len(planned) == 3 * 4
    setting = _setting(config, planned)
    rows = [execute(trial, setting, Resources(cpus=1)).trial for trial in planned]
    assert {row["status"] for row in rows} == {"ok"}, [row["reason"] for row in rows]
    upright = 2 + rows[0]["n_test"]
    passes = sum(json.loads(row["artifacts"]).get("backbone_passes", 0) for row in rows)
    assert passes == 2 * upright + 2 * (2 * 2)
