"""Latency: what is timed, what is not, and that a run is left as it was."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import sweep_here

from harness.console import code_of
from harness.data import ImageSet
from harness.data.digest import array_digest
from harness.inspection import latency
from harness.inspection.latency import DRAWN, drawn, measure
from harness.latency import main
from harness.method import Scores
from methods.mean_image import MeanImage

Write = Callable[..., Path]


@dataclass
class Clockwork:
    """Counts its calls; the n-th takes n seconds of a clock that is not the wall's."""

    calls: list[tuple[int, ...]] = field(default_factory=list)
    now: float = 0.0
    fails: bool = False

    def score(self, images: ImageSet) -> Scores:
        if self.fails:
            raise ValueError("kernel size cannot be larger\nthan the input")
        assert len(images) == 1 and images.keys() == [array_digest(images[0])]
        self.calls.append(images[0].shape)
        self.now += len(self.calls)
        return Scores(np.zeros(1))

    def perf_counter(self) -> float:
        return self.now


def test_single_images_after_a_warm_up(monkeypatch: pytest.MonkeyPatch):
    method: Any = Clockwork()
    monkeypatch.setattr(latency, "time", method)
    found = measure(method, drawn((5, 7)), warmup=2, timed=3)
    assert method.calls == [(5, 7, 3)] * 5
    seconds = np.array([3.0, 4.0, 5.0])  # the first two are not on the clock
    assert (found.mean_ms, found.min_ms, found.max_ms) == (4000.0, 3000.0, 5000.0)
    assert found.std_ms == pytest.approx(1000 * seconds.std())
    assert (found.height, found.width, found.warmup, found.timed, found.error) == (5, 7, 2, 3, "")
    assert found.peak_gpu_mib is None and (found.peak_rss_mib is None or found.peak_rss_mib > 10)


def test_pictures_differ_and_are_the_same_again():
    pictures = drawn((4, 6))
    assert len({p.tobytes() for p in pictures}) == DRAWN and pictures[0].shape == (4, 6, 3)
    assert all(np.array_equal(a, b) for a, b in zip(pictures, drawn((4, 6)), strict=True))


def test_what_fails_at_a_size_is_told_and_no_number():
    method: Any = Clockwork(fails=True)
    found = measure(method, drawn((2, 2)), 0, 1)
    assert found.error == "failed: kernel size cannot be larger than the input" and found.mean_ms is None


def test_known_digests_of_arrays_are_those_of_their_pixels():
    arrays = drawn((3, 3))[:3]
    known = ImageSet.of_arrays(arrays, [array_digest(a) for a in arrays])
    plain = ImageSet.of_arrays(arrays)
    assert known.subset([2, 0]).keys() == plain.subset([2, 0]).keys() == [plain.key(2), plain.key(0)]
    assert known.subset([1]).digests == (known.digests[1],)


def _json(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--warmup", "1", "--timed", "2", "--sizes", "16x24,8x8", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_every_setting_of_a_sweep_file_once(sweep_file: Write, capsys: pytest.CaptureFixture[str]):
    methods = [{"name": "mean_image", "grid": {"smoothing": [1.0, 2.0]}}]
    path = sweep_file(methods=methods, shots=[1, 2], seeds=2, categories=["bolt", "nut"])
    found = _json(["--config", str(path), "methods.mean_image.params.image_size=12"], capsys)
    rows = [(r["params"]["smoothing"], r["height"], r["width"], r["looks_at"]) for r in found["measured"]]
    assert rows == [(s, h, w, "12x12") for s in (1.0, 2.0) for h, w in ((16, 24), (8, 8))]
    assert all(0 < r["min_ms"] <= r["mean_ms"] <= r["max_ms"] for r in found["measured"])
    assert found["machine"]["threads"] == 1 and found["machine"]["device"].startswith("CPU")
    assert main(["--config", str(path), "--quick", "--timed", "7", "--sizes", "8x8", "--images", "data"]) == 0
    shown = capsys.readouterr().out
    assert "batch 1, 5 images of warm-up, 7 timed" in shown and "torch" in shown


def test_a_trial_of_a_run_which_stays_as_it_was(
    sweep_file: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = sweep_file(categories=["bolt"], shots=[2])
    assert sweep_here(path, "--backend", "serial").returncode == 0
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}  # the store among them
    trial = str(pd.read_parquet(tmp_path / "run/trials")["trial_id"].item())
    found = _json([str(tmp_path / "run"), trial[:6]], capsys)
    assert {r["method"] for r in found["measured"]} == {"mean_image"} and len(found["measured"]) == 2
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_method_that_cannot_be_fitted_leaves_the_others(
    sweep_file: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    usual = MeanImage.fit

    def fit(self: MeanImage, data: Any) -> None:
        if self.smoothing == 2.0:
            raise MemoryError("no room")
        usual(self, data)

    monkeypatch.setattr(MeanImage, "fit", fit)
    methods = [{"name": "mean_image", "grid": {"smoothing": [2.0, 1.0]}}]
    found = _json(["--config", str(sweep_file(methods=methods))], capsys, code=1)
    assert [r["mean_ms"] is None for r in found["measured"]] == [True, True, False, False]
    assert found["measured"][0]["error"].endswith("no room")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either RUN TRIAL, or --config CONFIG"),
        (["run"], "either RUN TRIAL"),
        (["nowhere", "ab"], "nowhere: not a run directory"),
        (["a", "b", "--sizes", "256"], "--sizes: '256' is not HEIGHTxWIDTH"),
        (["a", "b", "--sizes", "99999x99999"], "--sizes: '99999x99999' is more than 179 megapixels"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert code_of(lambda: main(words)) == 2
    assert said in capsys.readouterr().err


def test_without_a_card_none_is_measured(
    sweep_file: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert code_of(lambda: main(["--config", str(sweep_file()), "--device", "cuda"])) == 2
    assert "--device cuda: no GPU here" in capsys.readouterr().err
