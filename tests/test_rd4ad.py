"""RD4AD: networks of the published sizes; losses and maps against slow twins; levels that do not fit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from harness.checks.plates import plates
from harness.data import FitData
from harness.errors import ConfigError, NeedNotMet
from harness.method import Context
from methods.rd4ad import RD4AD
from methods.rd4ad.networks import Decoder, Embedding
from methods.rd4ad.training import anomaly_map, loss

QUICK: dict[str, Any] = {"weights": "demo", "image_size": 64, "steps": 3}
DATA = FitData(plates().train, plates().validation)
WIDE = (256, 512, 1024)  # channels of wide_resnet50_2


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_networks_have_the_published_sizes():
    """Those of the authors' classes without what they never use (conv4, bn4)."""
    with torch.device("meta"):
        embedding, decoder = Embedding(WIDE, 0.5), Decoder(WIDE, 0.5)
        levels = [torch.empty(2, c, side, side) for c, side in zip(WIDE, (64, 32, 16), strict=True)]
        found = embedding(levels)
        assert found.shape == (2, 2048, 8, 8)
        assert [level.shape for level in decoder(found)] == [level.shape for level in levels]
    assert (parameters(embedding), parameters(decoder)) == (58_885_120, 24_917_504)


def slow_loss(level: torch.Tensor, made: torch.Tensor, kind: str) -> float:
    """1 - a·b / |a||b| in loops, in float64."""
    found = []
    for a, b in zip(level.double(), made.double(), strict=True):
        places = [(a, b)] if kind == "flat" else zip(a.flatten(1).T, b.flatten(1).T, strict=True)
        found += [1 - float((x * y).sum() / x.norm() / y.norm()) for x, y in places]
    return float(np.mean(found))


@pytest.mark.parametrize("kind", ["flat", "per_pixel"])
def test_the_loss_is_its_equation(kind: Any):
    level, made = torch.randn(2, 3, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    assert float(loss(level, made, kind)) == pytest.approx(slow_loss(level, made, kind), rel=1e-5)
    assert float(loss(level, 2 * level, kind)) == pytest.approx(0, abs=1e-6)


def test_the_map_is_the_sum_of_levels_enlarged_with_corners_on_corners():
    levels = [torch.rand(n, n, generator=torch.Generator().manual_seed(n)) for n in (16, 8, 4)]
    expected = np.zeros((32, 32))
    for level in levels:
        at = np.linspace(0, len(level) - 1, 32)
        rows = np.array([np.interp(at, np.arange(len(level)), row) for row in level.numpy()])
        expected += np.array([np.interp(at, np.arange(len(level)), column) for column in rows.T]).T
    np.testing.assert_allclose(anomaly_map(levels, 32, 0.0), expected, atol=1e-5)
    np.testing.assert_allclose(anomaly_map(levels, 32, 2.0), gaussian_filter(expected, 2.0), atol=1e-5)


def test_levels_whose_grids_do_not_halve_are_refused():
    with pytest.raises(ConfigError, match=r"layer2 8 x 8, layer1 16 x 16.*multiple of 32"):
        RD4AD(Context(), layers=("layer2", "layer1", "layer3"), **QUICK).fit(DATA)


def test_without_images_there_is_nothing_to_learn():
    with pytest.raises(NeedNotMet, match="at least one"):
        RD4AD(Context(), **QUICK).fit(replace(DATA, train=DATA.train.subset([])))


def test_epochs_are_steps_of_the_training_images(tmp_path: Any):
    given = {**QUICK, "steps": None, "epochs": 2, "batch_size": 4}
    images = DATA.train.subset(range(5))
    RD4AD(Context(scratch=tmp_path), **given).fit(replace(DATA, train=images))
    header, *rows = (tmp_path / "losses.csv").read_text().splitlines()
    assert header == "step,level1,level2,level3" and len(rows) == 4


def test_seed_and_loss_decide_the_scores():
    found = [
        RD4AD(Context(seed), **QUICK, rd_loss=kind).fit(DATA).score(plates().test.subset([0])).image[0]
        for seed, kind in ((0, "flat"), (0, "flat"), (1, "flat"), (0, "per_pixel"))
    ]
    assert found[0] == found[1] and len(set(found)) == 3
