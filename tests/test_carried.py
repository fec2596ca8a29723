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
METHODS_CARRIED = len(yaml.safe_load((CARRIED / "sweep.yaml").read_text())["methods"])
# EfficientAD's default until it became auto: ids hold parameters, so that old ones are found with it alone
PRECISE = [f"methods.{i}.params.precision=float32" for i in (2, 3)]
SAME = ("mean_image", "patchcore", "clip", "winclip")  # too plain to change in passing


@pytest.fixture(scope="module")
def kept() -> pd.DataFrame:
    """The carried trials of methods that still promise the same numbers."""
    trials = read_run(CARRIED / "run").trials
    version = trials["method"].map(lambda name: METHODS.load(name).card.version)
    return trials[trials["method_version"] == version]


@pytest.fixture(scope="module")
def anew(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The carried sweep, run by the present code."""
    folder = tmp_path_factory.mktemp("carried")
    one_core = [
        f"methods.{i}.resources.cpus=1" for i in range(METHODS_CARRIED)
    ]  # two would spin for each other
    done = sweep_here(CARRIED / "sweep.yaml", "--backend", "serial", *_at(folder / "run", folder), *one_core)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def _at(run: Path, folder: Path) -> list[str]:
    return [f"dataset.root={CARRIED / 'data'}", f"out={run}", f"cache.folder={folder / 'store'}", *PRECISE]


def test_a_finished_run_is_found_again(tmp_path: Path, kept: pd.DataFrame):
    assert set(SAME) <= set(kept["method"])
    shutil.copytree(CARRIED / "run", tmp_path / "run")
    done = sweep_here(CARRIED / "sweep.yaml", "--dry-run", *_at(tmp_path / "run", tmp_path))
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
