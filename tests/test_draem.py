"""DRAEM: noise, changes of textures, samples and losses against loops; sizes, rates, folders of textures."""

import colorsys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor, nn

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet, WeightsError
from harness.method import Context
from harness.params import resolve
from methods.draem import DRAEM, losses, operations
from methods.draem.method import highest_mean
from methods.draem.networks import Autoencoder, Discriminator, Pair, begin
from methods.draem.perlin import noise
from methods.draem.samples import Sample, Spoiling, batch, mask, sample
from methods.draem.textures import DRAWN, KINDS, Drawn, Folder, Textures

SIDE = 24
DATA = FitData(plates().train, plates().validation)
ALWAYS = Spoiling(1.0, 0.8, 0.0, 90.0)
PAPER = Spoiling(0.5, 0.8, 0.3, 90.0)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads decide the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(index: int, side: int = SIDE) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(Drawn(side)[index].transpose(2, 0, 1)))


def method(**params: Any) -> DRAEM:
    return DRAEM(Context(), **{**DRAEM.check_params, "steps": 3, **params})


# Noise and masks


def slow_noise(gradients: np.ndarray, height: int, width: int) -> np.ndarray:
    """Four corners of every pixel, one after the other."""
    found = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            v, u = (
                y * (gradients.shape[0] - 1) / height,
                x * (gradients.shape[1] - 1) / width,
            )
            for i in (int(v), int(v) + 1):
                for j in (int(u), int(u) + 1):
                    ramp = gradients[i, j] @ (v - i, u - j)
                    found[y, x] += faded(1 - abs(v - i)) * faded(1 - abs(u - j)) * ramp
    return found * np.sqrt(2)


def faded(t: float) -> float:
    return 6 * t**5 - 15 * t**4 + 10 * t**3


@pytest.mark.parametrize(("rows", "columns", "size"), [(1, 1, (8, 8)), (4, 2, (16, 8)), (3, 5, (10, 16))])
def test_perlin_noise_is_that_of_loops(rows: int, columns: int, size: tuple[int, int]):
    angles = np.random.default_rng(rows).uniform(0, 7, (rows + 1, columns + 1))
    gradients = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    found = noise(torch.from_numpy(gradients).float(), *size).numpy()
    np.testing.assert_allclose(found, slow_noise(gradients, *size), atol=1e-6)
    assert found[0, 0] == 0  # the first pixel lies on a corner


def slow_rotation(image: np.ndarray, degrees: float) -> np.ndarray:
    """Counter-clockwise about the centre: where every pixel comes from, between its four neighbours."""
    h, w = image.shape
    found, cos, sin = np.zeros((h, w)), np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for y in range(h):
        for x in range(w):
            right, down = x - (w - 1) / 2, y - (h - 1) / 2
            u, v = cos * right - sin * down + (w - 1) / 2, sin * right + cos * down + (h - 1) / 2
            for i in (int(np.floor(v)), int(np.floor(v)) + 1):
                for j in (int(np.floor(u)), int(np.floor(u)) + 1):
                    if 0 <= i < h and 0 <= j < w:
                        found[y, x] += image[i, j] * (1 - abs(v - i)) * (1 - abs(u - j))
    return found


@pytest.mark.parametrize("degrees", [0.0, 90.0, -33.3, 61.7])
def test_turning_is_that_of_loops(degrees: float):
    image = torch.rand(1, 11, 11, generator=torch.Generator().manual_seed(0))
    found = operations.rotated(image, degrees)[0].numpy()
    np.testing.assert_allclose(found, slow_rotation(image[0].double().numpy(), degrees), atol=1e-5)


def test_masks_are_thresholded_noise_of_six_resolutions():
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(3):
        found = mask((16, 16), rng, torch.device("cpu"))
        rows, columns = (2 ** again.integers(6, size=2)).tolist()
        angles = again.uniform(0, 2 * np.pi, (rows + 1, columns + 1))
        slow = slow_noise(np.stack([np.cos(angles), np.sin(angles)], axis=-1), 16, 16)
        turned = slow_rotation(slow, again.uniform(-90, 90))
        assert found.shape == (1, 16, 16) and np.array_equal(found[0].numpy() > 0, turned > 0.5)


# Ten operations


def at_pixels(change: Callable[..., Any]) -> Callable[[np.ndarray], np.ndarray]:
    """A change of one pixel (r, g, b), of all of them; rounded and clipped."""

    def of(image: np.ndarray) -> np.ndarray:
        changed = [[change(*map(float, pixel)) for pixel in row] for row in image]
        return np.array(changed).round().clip(0, 255)

    return of


def slow_gamma(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    exponents = rng.uniform(0.5, 2.0, 3)
    return at_pixels(lambda *rgb: [255 * (v / 255) ** gamma for v, gamma in zip(rgb, exponents, strict=True)])


def slow_brightness(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    m, a, first = rng.uniform(0.8, 1.2), rng.uniform(-30, 30), rng.random() < 0.5

    def change(r: float, g: float, b: float) -> list[float]:
        y = 0.299 * r + 0.587 * g + 0.114 * b
        moved = (y * m + a if first else (y + a) * m) - y
        return [r + moved, g + moved, b + moved]

    return at_pixels(change)


def slow_sharpness(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    factor = rng.uniform(0.1, 1.9)
    return lambda image: np.asarray(ImageEnhance.Sharpness(Image.fromarray(image)).enhance(factor))


def slow_hue(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    hue, saturation = rng.integers(-50, 51, 2) / 255

    def change(*rgb: float) -> list[float]:
        h, s, v = colorsys.rgb_to_hsv(*(value / 255 for value in rgb))
        s = min(max(s + saturation, 0), 1) if s else 0
        return [255 * value for value in colorsys.hsv_to_rgb((h + hue) % 1, s, v)]

    return at_pixels(change)


def slow_solarisation(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    threshold, does = int(rng.integers(32, 129)), rng.random() < 0.5
    return at_pixels(lambda *rgb: [255 - v if does and v >= threshold else v for v in rgb])


def slow_posterisation(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    step = 2 ** (8 - int(rng.integers(1, 9)))
    return at_pixels(lambda *rgb: [v // step * step for v in rgb])


def slow_inversion(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    return at_pixels(lambda *rgb: [255 - v for v in rgb])


def slow_contrast(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    part = rng.uniform(0, 0.2)

    def of(image: np.ndarray) -> np.ndarray:
        channels = []
        for channel in np.moveaxis(image, -1, 0):
            levels = sorted(channel.ravel().tolist())
            out = int(part * len(levels))
            low, high = levels[out], levels[len(levels) - 1 - out]
            channels.append((channel.astype(float) - low) * 255 / (high - low))
        return np.stack(channels, axis=-1).round().clip(0, 255)

    return of


def slow_equalisation(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: np.asarray(ImageOps.equalize(Image.fromarray(image)))


def slow_turn(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    degrees = rng.uniform(-45, 45)
    return lambda image: np.stack(
        [slow_rotation(image[..., c].astype(float), degrees) for c in range(3)], axis=-1
    ).round()


SLOW = {
    operations._gamma: (slow_gamma, 0),
    operations._brightness: (slow_brightness, 0),
    operations._sharpness: (slow_sharpness, 1),
    operations._hue_and_saturation: (slow_hue, 2),  # hues go through bytes once more
    operations._solarise: (slow_solarisation, 0),
    operations._posterise: (slow_posterisation, 0),
    operations._invert: (slow_inversion, 0),
    operations._autocontrast: (slow_contrast, 0),
    operations._equalise: (slow_equalisation, 0),
    operations._turn: (slow_turn, 1),
}


def test_every_operation_has_a_twin():
    assert set(SLOW) == set(operations.OPERATIONS) and len(SLOW) == 10


@pytest.mark.parametrize("operation", operations.OPERATIONS)
def test_operations_are_those_of_single_pixels(operation: operations.Operation):
    slow, tolerance = SLOW[operation]
    for seed in range(4):
        image = drawn(seed)
        found = operation(image, np.random.default_rng(seed))
        assert found.dtype == torch.uint8 and found.shape == image.shape
        wanted = slow(np.random.default_rng(seed))(image.permute(1, 2, 0).contiguous().numpy())
        difference = np.abs(found.permute(1, 2, 0).numpy().astype(float) - wanted)
        assert difference.max() <= max(tolerance, 1) and (difference > tolerance).mean() < 0.01


def test_three_operations_are_taken_and_none_twice(monkeypatch: pytest.MonkeyPatch):
    taken: list[int] = []
    spies = [lambda image, rng, i=i: (taken.append(i), image)[1] for i in range(10)]
    monkeypatch.setattr(operations, "OPERATIONS", spies)
    rng = np.random.default_rng(0)
    for _ in range(40):
        operations.changed(drawn(0), rng)
        assert len(set(taken[-3:])) == 3
    assert len(taken) == 120 and set(taken) == set(range(10))


# Samples


def slow_sample(image: Tensor, how: Spoiling, rng: np.random.Generator) -> Sample:
    """Every pixel of the mask mixed with the texture's."""
    image = operations.rotated(image, rng.uniform(-90, 90)) if rng.random() < how.turned else image
    clean = image.double().numpy() / 255
    if rng.random() >= how.anomalous:
        return Sample(*map(torch.from_numpy, (clean, clean, np.zeros((1, SIDE, SIDE)))))
    texture = operations.changed(drawn(int(rng.integers(DRAWN))), rng).double().numpy() / 255
    place = mask((SIDE, SIDE), rng, torch.device("cpu")).numpy()
    beta, spoiled = rng.uniform(0, how.opacity), clean.copy()
    for y, x in np.argwhere(place[0] > 0):
        for c in range(3):
            spoiled[c, y, x] = (1 - beta) * texture[c, y, x] + beta * clean[c, y, x]
    return Sample(*map(torch.from_numpy, (clean, spoiled, place)))


@pytest.mark.parametrize("how", [ALWAYS, PAPER])
def test_samples_are_mixed_as_by_loops(how: Spoiling):
    textures = Textures(Drawn(SIDE), "cpu")
    for seed in range(5):
        found = sample(drawn(300), textures, how, np.random.default_rng(seed))
        slow = slow_sample(drawn(300), how, np.random.default_rng(seed))
        for a, b in zip(found, slow, strict=True):
            torch.testing.assert_close(a.double(), b.double(), atol=1e-6, rtol=0)


def test_a_batch_is_drawn_from_its_generator_alone():
    images = [drawn(300 + i) for i in range(3)]
    first, again, other = (
        batch(images, Textures(Drawn(SIDE), "cpu"), PAPER, 40, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.spoiled, other.spoiled)
    assert first.clean.shape == first.spoiled.shape == (40, 3, SIDE, SIDE)
    changed = (first.clean != first.spoiled).any(dim=1, keepdim=True)
    assert not (changed & (first.mask == 0)).any()
    whole = (first.mask == 0).flatten(1).all(dim=1).float().mean()
    assert 0.3 < whole < 0.8  # half, and masks that no noise reaches


def test_drawn_textures_are_pictures_of_four_kinds():
    pictures = [Drawn(32)[i] for i in range(8)]
    assert len(KINDS) == 4 and all(p.shape == (32, 32, 3) and p.dtype == np.uint8 for p in pictures)
    assert all(p.std() > 10 for p in pictures) and len({p.tobytes() for p in pictures}) == 8
    assert np.array_equal(Drawn(32)[5], pictures[5])


def test_textures_are_made_once(monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []
    monkeypatch.setattr(
        Drawn, "__getitem__", lambda self, i: (made.append(i), np.zeros((4, 4, 3), np.uint8))[1]
    )
    monkeypatch.setattr("methods.draem.textures.DRAWN", 5)
    textures, rng = Textures(Drawn(4), "cpu"), np.random.default_rng(0)
    for _ in range(50):
        assert textures.drawn(rng).shape == (3, 4, 4)
    assert sorted(made) == [0, 1, 2, 3, 4]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Pictures below a folder, of one colour each."""
    for number, colour in enumerate(((250, 10, 10), (10, 10, 250))):
        folder = tmp_path / "dtd" / f"kind{number}"
        folder.mkdir(parents=True)
        Image.new("RGB", (70 + number, 50), colour).save(folder / "a.png")
    return tmp_path / "dtd"


def test_a_folder_gives_its_pictures(pictures: Path):
    found = Folder(tuple(sorted(pictures.rglob("*.png"))), 16, ArtifactStore(None))
    assert len(found) == 2 and found[1].shape == (16, 16, 3)
    assert found[0][3, 3].tolist() == [250, 10, 10] and found[1][3, 3].tolist() == [10, 10, 250]


def test_textures_of_a_folder_decide_scores_and_identity(pictures: Path):
    ours = method().fit(DATA).score(plates().test.subset([0]))
    theirs = method(textures=str(pictures)).fit(DATA).score(plates().test.subset([0]))
    assert ours.image[0] != theirs.image[0]
    (asset,) = DRAEM.card.assets(resolve(DRAEM, {"textures": str(pictures)}), "any")
    assert asset.name == "textures" and DRAEM.card.assets(resolve(DRAEM, {}), "any") == ()
    with pytest.raises(WeightsError, match=r"textures: .*nowhere is no folder with images below it"):
        DRAEM.card.assets(resolve(DRAEM, {"textures": str(pictures / "nowhere")}), "any")


# Networks and losses


def test_networks_have_the_published_sizes():
    with torch.device("meta"):
        networks = Autoencoder(128), Discriminator(64)
    assert [sum(p.numel() for p in n.parameters()) for n in networks] == [69_048_579, 28_374_146]


def test_networks_begin_as_the_authors_have_them_begin():
    network = Pair(4, 4)
    begin(network, torch.Generator().manual_seed(0))
    weights = torch.cat([m.weight.detach().flatten() for m in network.modules() if isinstance(m, nn.Conv2d)])
    scales = torch.cat([m.weight.detach() for m in network.modules() if isinstance(m, nn.BatchNorm2d)])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.02) and abs(float(weights.mean())) < 1e-3
    assert float(scales.mean()) == pytest.approx(1, abs=0.01) and float(scales.std()) == pytest.approx(
        0.02, rel=0.2
    )
    assert all(not m.bias.any() for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """A window around every pixel, with zeros outside of the image."""
    side, half = losses.WINDOW, losses.WINDOW // 2
    place = np.arange(side) - half
    window = np.exp(-(place[:, None] ** 2 + place**2) / (2 * losses.SIGMA**2))
    window /= window.sum()
    values = []
    for plane_a, plane_b in zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True):
        pad_a, pad_b = np.pad(plane_a, half), np.pad(plane_b, half)
        for y, x in np.ndindex(plane_a.shape):
            p, q = pad_a[y : y + side, x : x + side], pad_b[y : y + side, x : x + side]
            mu_p, mu_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * p * p).sum() - mu_p**2, (window * q * q).sum() - mu_q**2
            cov = (window * p * q).sum() - mu_p * mu_q
            top = (2 * mu_p * mu_q + losses.C1) * (2 * cov + losses.C2)
            values.append(top / ((mu_p**2 + mu_q**2 + losses.C1) * (var_p + var_q + losses.C2)))
    return float(np.mean(values))


def slow_focal(logits: np.ndarray, mask: np.ndarray) -> float:
    values = []
    for i, y, x in np.ndindex(logits.shape[0], *logits.shape[2:]):
        odds = np.exp(logits[i, :, y, x])
        label = np.eye(2)[int(mask[i, 0, y, x])].clip(1e-5, 1 - 1e-5)
        p = (label * odds / odds.sum()).sum() + 1e-5
        values.append(-((1 - p) ** 2) * np.log(p))
    return float(np.mean(values))


def test_losses_are_those_of_loops():
    generator = torch.Generator().manual_seed(0)
    clean, reconstruction = torch.rand(2, 2, 3, 13, 15, generator=generator)
    logits = 3 * torch.randn(2, 2, 13, 15, generator=generator)
    place = (torch.rand(2, 1, 13, 15, generator=generator) > 0.7).float()
    l2, ssim, focal = losses.terms(clean, place, reconstruction, logits).tolist()
    a, b = clean.double().numpy(), reconstruction.double().numpy()
    assert l2 == pytest.approx(float(((a - b) ** 2).mean()), rel=1e-5)
    assert ssim == pytest.approx(1 - slow_ssim(a, b), abs=1e-5)
    assert focal == pytest.approx(slow_focal(logits.double().numpy(), place.numpy()), rel=1e-5)
    assert losses.ssim(clean, clean) == pytest.approx(1, abs=1e-5)


def test_the_score_is_the_highest_mean_of_a_window():
    values = torch.rand(1, 1, 12, 17, generator=torch.Generator().manual_seed(0))
    for side in (1, 5, 21):
        mean = nn.functional.avg_pool2d(values, side, stride=1, padding=side // 2)
        assert highest_mean(values[0, 0].numpy(), side) == pytest.approx(float(mean.max()), rel=1e-6)


# The method


def test_the_rate_drops_at_four_and_nine_tenths():
    recipe = replace(method(steps=None, epochs=10)._recipe(6), drop=0.5)
    assert recipe.steps == 30  # ten epochs of three batches of two
    assert [recipe.rate(step) for step in (0, 23, 24, 26, 27, 29)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_images_are_scored_one_by_one():
    found = method().fit(DATA)
    together = found.score(plates().test.subset(range(4)))
    for i in range(4):
        alone = found.score(plates().test.subset([i]))
        assert alone.image[0] == together.image[i] and alone.maps is not None and together.maps is not None
        assert np.array_equal(alone.maps[0], together.maps[i])


def test_one_image_trains_and_another_seed_is_another_training():
    data = FitData(plates().train.subset([0]), ImageSet((), ()))
    images = plates().test.subset([0])
    scores = [
        DRAEM(Context(seed), **DRAEM.check_params | {"steps": 2}).fit(data).score(images) for seed in (0, 1)
    ]
    assert scores[0].image[0] != scores[1].image[0]


def test_what_cannot_be_is_said_while_planning():
    assert DRAEM.card.problems(resolve(DRAEM, {"pooling": 4}))[0][0] == "pooling"
    assert not DRAEM.card.problems(resolve(DRAEM, {}))
    with pytest.raises(NeedNotMet, match="at least one"):
        method().fit(FitData(ImageSet((), ())))
