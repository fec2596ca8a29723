"""Every data set, as somebody new to it starts: a sketch, a check, a sweep, a report."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import sweep_here
from metrics_twin import sample_auroc

from harness.curate.command import main as data
from harness.datasets import DATASETS
from harness.rescore import main as rescore
from harness.results import read_run
from harness.source import recorded_split
from methods import METHODS
from reports.command import main as reports

SIDE = 64  # pixels: enough for a reader to be seen working
SWEPT = [name for name in DATASETS.own if DATASETS.load(name).sketcher is not None]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LADDER_CACHE", str(tmp_path / "cache"))


def _sketch(name: str, root: Path) -> Path:
    first = list(DATASETS.load(name).counts)[:1]
    words = ["sketch", name, str(root), "--train", "2", "--test", "2"]
    assert data(METHODS, [*words, *(["--categories", *first] if first else [])]) == 0
    assert data(METHODS, ["check", str(root)]) == 0
    return root


@pytest.mark.parametrize("name", SWEPT)
def test_from_a_sketch_to_a_report(
    name: str, sweep_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = _sketch(name, tmp_path / "data")
    assert f"{root}, read as {name}: nothing wrong" in capsys.readouterr().out
    methods = [{"name": m, "params": {"image_size": SIDE}} for m in ("mean_image", "patchcore")]
    dataset = {"name": name, "root": str(root)}
    file = sweep_file(dataset=dataset, methods=methods, weights="demo", metrics=["auroc", "aupro", "auspro"])
    assert sweep_here(file, "--backend", "serial").returncode == 0
    run = read_run(tmp_path / "run")
    assert set(run.trials["status"]) == {"ok"} and len(run.trials) % 2 == 0
    assert all("demo data" in marks for marks in run.trials["marks"])
    pooled = run.metrics.query("metric == 'auroc' and subset == 'all'")
    assert pooled["value"].between(0, 1).all() and len(pooled) == len(run.trials)
    masks = any(s.masks for c in run.trials["category"] for s in DATASETS.load(name).read(root, c).test)
    assert run.metrics.query("metric == 'aupro'")["value"].notna().any() == masks
    assert reports([str(tmp_path / "run"), "--format", "md", "--no-pictures"]) == 0
    said = (tmp_path / "run/report/report.md").read_text()
    assert "Mean image" in said and "PatchCore" in said and "demo data" in said


def test_products_are_scored_again_from_stored_rows(sweep_file: Callable[..., Path], tmp_path: Path):
    """The table of scores has images; what they are views of is what the data set says of them."""
    root = _sketch("real_iad", tmp_path / "data")
    dataset = {"name": "real_iad", "root": str(root)}
    file = sweep_file(dataset=dataset, shots=["full"], metrics=["auroc", "sample_auroc"])
    assert sweep_here(file, "--backend", "serial").returncode == 0
    run = read_run(tmp_path / "run")
    (trial,) = run.trials.to_dict("records")
    split = recorded_split(run.config, trial["category"], trial["fingerprint"])
    products = {s.id: s.view_of for s in split.test}
    views = [(products[r["image"]], r["score"], r["label"] != "good") for r in run.scores.to_dict("records")]
    wanted = sample_auroc([(str(product), score, bad) for product, score, bad in views])

    def value() -> float:
        rows = read_run(tmp_path / "run").metrics.query("metric == 'sample_auroc' and subset == 'all'")
        assert rows[["n_normal", "n_anomalous"]].to_numpy().tolist() == [[2, 2]]
        return float(rows["value"].iloc[0])

    assert wanted is not None and value() == float(wanted)
    assert rescore([str(tmp_path / "run"), "--metrics", "sample_auroc", "--intervals"]) == 0
    assert value() == float(wanted)
