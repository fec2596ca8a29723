"""Figures: their data against numbers worked out by hand, and the files that are drawn from it."""

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reports_synthetic import FIVE, NINE, Entry, metric_row, showcase, unfinished, write_run

from harness.results import RunWriter, write_plan, write_sweep
from harness.trial import TrialResult
from reports.figures import figures, write_figures
from reports.figures.draw import draw
from reports.figures.figure import Curve, Figure, Histogram, Panel, mark_notes
from reports.frame.load import load

DFSC = {"quantile": 0.999, "sigmoid": True}


def made(path: Path) -> dict[str, Figure]:
    return {figure.key: figure for figure in figures(load([path]))}


def curves(figure: Figure, title: str) -> dict[str, Curve]:
    panel = next(p for p in figure.panels if p.title == title)
    return {s.label: s for s in panel.series if isinstance(s, Curve)}


def by_margin(row: Mapping[str, Any], value: float) -> list[dict[str, Any]]:
    """AUROC 0.5 + margin / 10 + seed / 100 on logical anomalies, 0.1 less on the mean of both."""
    margin = ast.literal_eval(row["params"].replace("true", "True"))["margin"]
    high = 0.5 + margin / 10 + row["run_seed"] / 100
    subsets = {"logical": high, "structural": high - 0.2, "mean": high - 0.1, "all": high}
    return [metric_row(s, "auroc", v) for s, v in subsets.items()]


def margins(folder: Path, dataset: str, fate: Any = lambda *_: {}) -> dict[str, Figure]:
    entries = [
        Entry("efficientad_dfsc", 0.9, {**DFSC, "margin": m}, (None,), marks=("demo weights",), fate=fate)
        for m in (1.0, 0.0, 0.4)
    ]
    return made(write_run(folder, entries, FIVE, by_margin, dataset=dataset))


# Against a parameter


def test_margin_curves_are_means_over_seeds_with_published_numbers_beside(tmp_path: Path):
    figure = margins(tmp_path, "mvtec_loco")["margin-mvtec_loco-full"]
    assert [p.title for p in figure.panels][-2:] == ["splicing connectors", "mean of categories"]
    found = curves(figure, "breakfast box")
    ours = found["efficientad_dfsc"]
    assert ours.x == (0.0, 0.4, 1.0)
    np.testing.assert_allclose(ours.y, [41, 45, 51])
    np.testing.assert_allclose(ours.spread, 1)
    assert ours.best == 2
    published = found["published"]
    assert published.published
    assert published.like == "efficientad_dfsc"
    assert dict(zip(published.x, published.y, strict=True))[0.4] == 83.17
    assert "published" not in curves(figure, "mean of categories"), "the paper prints none"
    assert "Marked demo weights." in figure.notes
    assert any("oracle" in note for note in figure.notes)


def test_no_published_number_stands_beside_other_images(tmp_path: Path):
    figure = margins(tmp_path, "demo")["margin-demo-full"]
    assert not any(s.published for p in figure.panels for s in p.series if isinstance(s, Curve))


def test_cells_that_are_not_complete_are_open_and_their_average_is_left_out(tmp_path: Path):
    def fate(category: str, shots: int | None, seed: int | None) -> Mapping[str, Any] | None:
        return None if (category, seed) == ("pushpins", 2) else {}

    figure = margins(tmp_path, "demo", fate)["margin-demo-full"]
    assert curves(figure, "pushpins")["efficientad_dfsc"].open == (True,) * 3
    assert curves(figure, "screw bag")["efficientad_dfsc"].open == (False,) * 3
    assert not curves(figure, "mean of categories")
    assert "Open: not all planned seeds yet." in figure.notes
    assert "Not complete, not shown: mean at 0, mean at 0.4, mean at 1." in figure.notes


def test_a_parameter_with_one_value_makes_no_figure(tmp_path: Path):
    assert not any(key.startswith("quantile") for key in margins(tmp_path, "demo"))


def test_other_settings_make_lines_of_their_own(tmp_path: Path):
    grid = [{"n_clusters": n, "pool": p} for n in (5, 10) for p in ("raw", "normalised")]
    entries = [Entry("clip_lad", 0.7, g, (4,)) for g in [*grid, {"n_clusters": 7, "pool": "once"}]]
    figure = made(write_run(tmp_path, entries))["clusters-loco-4"]
    found = curves(figure, "breakfast box")
    assert {label: c.x for label, c in found.items()} == {
        "clip_lad[pool=raw]": (5.0, 10.0),
        "clip_lad[pool=normalised]": (5.0, 10.0),
    }


# Against layers and resolution


def test_layers_and_sizes_of_a_backbone_are_one_figure(tmp_path: Path):
    def params(backbone: str, layers: list[str], size: int, **others: Any) -> dict[str, Any]:
        return {"backbone": backbone, "layers": layers, "image_size": size, "weights": backbone, **others}

    vit = [["blocks.2"], ["norm"], ["blocks.6", "blocks.7", "blocks.8"]]
    entries = [
        *(
            Entry("anomaly_dino", 0.6, params("vit", layers, size), (4,))
            for layers in vit
            for size in (224, 448)
        ),
        *(Entry("patchcore", 0.7, params("vit", ["blocks.2"], 224, crop=c), (4,)) for c in (None, 200)),
        Entry("patchcore", 0.7, params("wrn", ["layer2", "layer3"], 256, crop=None), (4,)),
        Entry("mean_image", 0.5, {"image_size": 64}, (4,)),
    ]
    path = write_run(tmp_path, entries)
    found = {key: figure for key, figure in made(path).items() if key.startswith("layers")}
    assert list(found) == ["layers-loco-vit-4"], "of wrn there is one setting alone"
    (figure,) = found.values()
    assert dict(figure.ticks) == {0.0: "2", 1.0: "norm", 2.0: "6–8"}
    ours = curves(figure, "anomaly_dino")
    assert {label: c.x for label, c in ours.items()} == {"224 px": (0.0, 1.0, 2.0), "448 px": (0.0, 1.0, 2.0)}
    frame = load([path]).metrics
    value = frame[
        (frame["variant"].str.contains("norm")) & (frame["variant"].str.contains("448"))
        & (frame["subset"] == "all") & (frame["measure"] == "auroc")
    ]  # fmt: skip
    assert ours["448 px"].y[1] == pytest.approx(100 * value["value"].mean())
    assert sum(c.best is not None for c in ours.values()) == 1
    assert set(curves(figure, "patchcore")) == {"224 px, crop=null", "224 px, crop=200"}


# Against the number of shots


def test_shots_curves_are_averages_with_the_papers_beside(tmp_path: Path):
    few = dict[str, Any](shots=(1, 2), seeds=(0, 1))
    entries = [Entry("clip_lad", 0.7, **few), Entry("winclip", 0.6, shots=(0,), seeds=(None,))]
    path = write_run(tmp_path, entries, NINE, dataset="mvtec_loco")
    figure = made(path)["shots-mvtec_loco"]
    assert dict(figure.ticks) == {0.0: "zero-shot", 1.0: "1-shot", 2.0: "2-shot"}
    found = curves(figure, "All anomalies, pooled")
    metrics = load([path]).metrics
    one = metrics[(metrics["subset"] == "all") & (metrics["measure"] == "auroc") & (metrics["shots"] == 1)]
    per_seed = one[one["variant"] == "clip_lad"].groupby("seed")["value"].mean()
    assert found["clip_lad"].x == (1.0, 2.0)
    assert found["clip_lad"].y[0] == pytest.approx(100 * per_seed.mean())
    assert found["clip_lad"].spread[0] == pytest.approx(100 * per_seed.std())
    assert len(found["winclip"].x) == 1
    assert found["CLIP-LAD, published"].like == "clip_lad"
    assert found["CLIP-LAD, published"].x == (1.0, 2.0)
    assert len(curves(figure, "Logical anomalies")) == 2, "the paper averages these over shots"


def test_published_averages_need_the_papers_categories(tmp_path: Path):
    entries = [Entry("clip_lad", 0.7)]
    figure = made(write_run(tmp_path, entries, FIVE, dataset="mvtec_loco"))["shots-mvtec_loco"]
    assert list(curves(figure, "All anomalies, pooled")) == ["clip_lad"]


def test_an_average_with_failures_is_named_and_not_drawn(tmp_path: Path):
    found = made(write_run(tmp_path, showcase()))
    figure = found["shots-loco"]
    assert "psad" not in curves(figure, "All anomalies, pooled")
    assert "Not complete, not shown: psad (1-shot), psad (4-shot)." in figure.notes
    assert "Marked demo weights: winclip." in figure.notes


def test_a_run_without_a_complete_average_has_no_empty_figure(tmp_path: Path):
    assert not made(write_run(tmp_path, [Entry("a", 0.8, fate=unfinished)]))


def test_many_methods_are_spread_over_figures(tmp_path: Path):
    entries = [Entry("patchcore", 0.8, {"k": k}, seeds=(0,)) for k in range(26)]
    found = made(write_run(tmp_path, entries, FIVE[:1]))
    assert [len(curves(found[f"shots-loco-{i}"], "Logical anomalies")) for i in (1, 2, 3)] == [8, 8, 8]
    assert len(found["cost-loco"].panels[0].series) == 24
    for key in ("shots-loco-1", "cost-loco", "spro-loco-2"):
        assert "2 further settings are not drawn." in found[key].notes


# Cost and sPRO


def test_cost_is_the_median_of_ok_trials(tmp_path: Path):
    path = write_run(tmp_path, [Entry("a", 0.7, shots=(1, 4)), Entry("b", 0.8, shots=(1,))])
    frame, figure = load([path]), made(path)["cost-loco"]
    seconds, milliseconds = figure.panels
    a = next(s for s in seconds.series if s.label == "a")
    trials = frame.trials[(frame.trials["variant"] == "a") & (frame.trials["shots"] == 4)]
    assert isinstance(a, Curve)
    assert a.names == ("1-shot", "4-shot")
    assert a.x[1] == pytest.approx((trials["fit_seconds"] + trials["score_seconds"]).median())
    assert [s.label for s in milliseconds.series] == ["a", "b"]


def spro(row: Mapping[str, Any], value: float) -> list[dict[str, Any]]:
    """Areas of the curve that is 0.2 up to 0.1, 0.6 up to 0.3, then 1."""
    areas = {0.1: 0.2, 0.3: (0.02 + 0.12) / 0.3, 1.0: 0.02 + 0.12 + 0.7}
    return [metric_row("all", "auspro", v, limit) for limit, v in areas.items()]


def test_spro_steps_are_the_means_of_the_curve_between_limits(tmp_path: Path):
    found = made(write_run(tmp_path, [Entry("a", 0.7, shots=(1, 4))], metrics=spro))
    curve = curves(found["spro-loco"], "All anomalies, pooled")["a"]
    assert curve.kind == "steps"
    assert curve.x[1:] == (0.1, 0.3, 1.0)
    np.testing.assert_allclose(curve.y, [20, 60, 100])
    assert found["spro-loco"].title == "sPRO by false-positive rate (loco, 4-shot)"


# Scores of banks


def bank_run(path: Path) -> Path:
    """One trial whose scores are 0, 1, 2, … and whose banks are these, doubled, scaled by ten."""
    path.mkdir(parents=True)
    write_sweep(path, {"name": "banks", "dataset": {"name": "demo"}, "out": None})
    row = {"trial_id": "t", "method": "psad", "params": "{}", "dataset": "demo", "category": "pushpins"}
    row |= {"shots": None, "split_seed": 0, "run_seed": 0, "marks": ["demo data"]}
    write_plan(path, [row])
    labels = ["good"] * 4 + ["logical"] * 4 + ["structural"] * 2
    scores = [
        {
            "image": f"test/{i}.png",
            "label": label,
            "score": float(i),
            "parts": {"hist": 2.0 * i, "patch": 5.0, "hist_scaled": 0.2 * i, "patch_scaled": 1.0},
        }
        for i, label in enumerate(labels)
    ]
    writer = RunWriter(path)
    metric = {"subset": "all", "metric": "auroc", "value": 0.5, "n_normal": 4, "n_anomalous": 6}
    writer.finished(TrialResult(row | {"status": "ok", "fingerprint": "f"}, (metric,), tuple(scores)))
    writer.close()
    return path


def test_bank_histograms_show_every_bank_before_and_after_scaling(tmp_path: Path):
    figure = made(bank_run(tmp_path / "run"))["banks-demo-psad"]
    assert figure.columns == 3
    assert [p.title for p in figure.panels] == [
        *("pushpins: hist", "pushpins: patch", "pushpins: plain sum"),
        *("hist, scaled", "patch, scaled", "score"),
    ]
    first = figure.panels[0].series
    assert [s.label for s in first] == ["normal", "logical anomalies", "structural anomalies"]
    for series in first:
        assert isinstance(series, Histogram)
        assert sum(series.shares) == pytest.approx(1)
        assert series.edges[0] == 0
        assert series.edges[-1] == 18
    assert "Marked demo data." in figure.notes


# Files


def test_files_are_vector_and_pixels_with_the_marks_in_them(tmp_path: Path):
    curve = Curve("a $1", (1.0, 2.0), (50.0, 60.0), (1.0, 1.0), (True, False), best=1)
    paper = Curve("published", (1.0,), (55.0,), published=True, like="a $1")
    figure = Figure("k/e y", "T", "x", "y", (Panel("p", (curve, paper)),), 1, ("Marked demo weights.",))
    files = draw(figure, tmp_path)
    assert [f.name for f in files] == ["k_e_y.pdf", "k_e_y.svg", "k_e_y.png"]
    assert files[0].read_bytes().startswith(b"%PDF")
    assert "Marked demo weights." in files[1].read_text(encoding="utf-8")
    with Image.open(files[2]) as image:
        assert image.width > 600
    before = [f.read_bytes() for f in files]
    assert [f.read_bytes() for f in draw(figure, tmp_path)] == before


def test_a_run_is_drawn_and_an_empty_one_is_not(tmp_path: Path):
    written = write_figures(load([bank_run(tmp_path / "run")]), tmp_path / "out")
    assert {f.name for f in written} == {f"banks-demo-psad.{s}" for s in ("pdf", "svg", "png")}
    assert all(f.stat().st_size > 2000 for f in written)
    assert write_figures(load([write_run(tmp_path / "empty", [])]), tmp_path / "none") == []


def test_marks_name_those_they_are_of():
    pairs = [("a", ("demo data",)), ("b", ("demo data", "demo weights")), ("a", ("demo data",))]
    assert mark_notes(pairs) == ("Marked demo data.", "Marked demo weights: b.")
    settings = [("a[k=1]", ("x",)), ("a[k=2]", ("x",)), ("b[k=1]", ("x",)), ("b[k=2]", ())]
    assert mark_notes(settings) == ("Marked x: a, b[k=1].",)


def test_figures_need_neither_torch_nor_ray_nor_a_display():
    names = ("torch", "ray", "tkinter", "matplotlib.pyplot")
    code = f"import sys, reports.figures.draw; print([m for m in {names} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
