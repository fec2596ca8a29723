"""A run made before the rooms moved (version 2c9c84a): found by its ids, and the same when made anew.

A method whose card has a higher version by now says that its numbers moved; of the others none may.
"""

import re
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, sweep_here
from rich.console import Console

from harness.inspection.record import record_of
from harness.inspection.record_words import parts
from harness.results import read_run
from methods import METHODS

CARRIED = ROOT / "tests" / "golden" / "carried"
SWEEP = yaml.safe_load((CARRIED / "sweep.yaml").read_text())
for method in SWEEP["methods"]:
    method["resources"] = {"cpus": 1}  # two would spin for each other
    if "efficientad" in method["name"]:
        method["params"]["precision"] = "float32"  # the default before auto: ids hold parameters
SAME = ("mean_image", "patchcore", "clip", "winclip")  # too plain to change in passing
TOLD = ("efficientad", "efficientad_dfsc", "patchcore")  # what their rows say of a precision is looked at


@pytest.fixture(scope="module")
def kept() -> pd.DataFrame:
    """The carried trials of methods that still promise the same numbers."""
    trials = read_run(CARRIED / "run").trials
    version = trials["method"].map(lambda name: METHODS.load(name).card.version)
    return trials[trials["method_version"] == version]


@pytest.fixture(scope="module")
def anew(tmp_path_factory: pytest.TempPathFactory, kept: pd.DataFrame) -> Path:
    """The carried sweep, run by the present code, without the methods of which nothing is asked any more."""
    folder = tmp_path_factory.mktemp("carried")
    done = sweep_here(_written(folder, {*kept["method"], *TOLD}), "--backend", "serial")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def _written(folder: Path, names: set[str]) -> Path:
    """The carried sweep with some of its methods, as a file in `folder`, where everything goes."""
    here = {"out": str(folder / "run"), "cache": {"folder": str(folder / "store")}}
    data = {"dataset": {"name": "demo", "root": str(CARRIED / "data")}}
    methods = {"methods": [method for method in SWEEP["methods"] if method["name"] in names]}
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(SWEEP | here | data | methods))
    return path


def test_a_finished_run_is_found_again(tmp_path: Path, kept: pd.DataFrame):
    assert set(SAME) <= set(kept["method"])
    shutil.copytree(CARRIED / "run", tmp_path / "run")
    every = {method["name"] for method in SWEEP["methods"]}
    done = sweep_here(_written(tmp_path, every), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} already there" in done.stdout, done.stdout


def test_ids_scores_and_metrics_are_the_same(anew: Path, kept: pd.DataFrame):
    now, then = read_run(anew), read_run(CARRIED / "run")
    assert set(kept["trial_id"]) <= set(now.trials["trial_id"])
    for table, keys in (("scores", ["image"]), ("metrics", ["subset", "metric", "fpr_limit"])):
        old, new = (getattr(run, table) for run in (then, now))
        both = [t[t["trial_id"].isin(kept["trial_id"])] for t in (old, new)]
        first, second = (t.sort_values(["trial_id", *keys], ignore_index=True) for t in both)
        assert first[keys].equals(second[keys])
        value = "score" if table == "scores" else "value"
        np.testing.assert_allclose(first[value].astype(float), second[value].astype(float), rtol=1e-4)


def test_a_row_tells_what_the_precision_came_to(anew: Path):
    trials = read_run(anew).trials.set_index("trial_id")
    told = trials.groupby("method")["precision_used"].agg(lambda rows: set(rows.dropna()))
    assert told["efficientad"] == told["efficientad_dfsc"] == {"float32"} and not told["patchcore"]
    trial = str(trials.index[trials["method"] == "efficientad"][0])
    printed = StringIO()
    Console(file=printed, width=200).print(*parts(record_of(anew, trial)))
    assert re.search(r"precision_used +float32", printed.getvalue())
