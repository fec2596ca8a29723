"""f-AnoGAN: sizes, losses against loops, who takes a step when, scores."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet
from harness.method import Context
from harness.params import Problem, resolve
from methods.f_anogan import FAnoGAN
from methods.f_anogan.losses import critic_terms, generator_terms, residuals
from methods.f_anogan.networks import Critic, Encoder, Generator
from methods.f_anogan.training import _shown, gan, networks, scaled

DATA = FitData(plates().train, plates().validation)
SMALL = {"image_size": 32, "latent": 8, "gan_steps": 7, "encoder_steps": 3, "batch_size": 4, "n_critic": 3}


@pytest.fixture(autouse=True)
def one_thread():
    """Threads decide the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def method(context: Context | None = None, **params: Any) -> FAnoGAN:
    return FAnoGAN(context or Context(), **{**SMALL, **params})


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_networks_have_the_published_sizes():
    with torch.device("meta"):
        found = Generator(100, 64), Critic(64), Encoder(64, 100)
    assert [sum(p.numel() for p in n.parameters()) for n in found] == [3_533_315, 99_937, 302_788]


def test_networks_give_what_the_others_take():
    generator, critic, encoder = networks(method()._recipe(6), 0, "cpu")
    made = generator(random(2, 8))
    assert made.shape == (2, 3, 32, 32) and made.abs().max() <= 1
    assert critic(made).shape == (2, 1) and encoder(made).shape == (2, 8) and encoder(made).abs().max() <= 1


def test_the_penalty_is_that_of_single_images():
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 1)).double()
    real, fake = random(3, 3, 8, 8).double(), random(3, 3, 8, 8, seed=1).double()
    mixing = torch.rand(3, 3, 1, 1, generator=torch.Generator().manual_seed(2)).double()
    found = critic_terms(critic, real, fake, mixing, 10.0)
    penalties = []
    for a, b, alpha in zip(real, fake, mixing, strict=True):
        between, slopes = alpha * a + (1 - alpha) * b, []
        for place in range(between.numel()):  # the gradient as a limit, number by number
            nudge = torch.zeros(between.numel(), dtype=torch.float64)
            nudge[place] = 1e-5
            ends = [between.flatten() + sign * nudge for sign in (1, -1)]
            above, below = (critic(end.reshape(1, 3, 8, 8)).item() for end in ends)
            slopes.append((above - below) / 2e-5)
        penalties.append(10 * (np.linalg.norm(slopes) - 1) ** 2)
    assert found["penalty"].item() == pytest.approx(np.mean(penalties), rel=1e-6)
    validity = [critic(x[None]).item() for x in (*real, *fake)]
    assert found["critic"].item() == pytest.approx(np.mean(validity[3:]) - np.mean(validity[:3]))
    assert generator_terms(critic, fake)["generator"].item() == pytest.approx(-np.mean(validity[3:]))


def test_the_critic_teaches_the_generator_nothing_in_its_own_step():
    generator, critic, _ = networks(method()._recipe(6), 0, "cpu")
    terms = critic_terms(critic, random(4, 3, 32, 32), generator(random(4, 8)), torch.rand(4, 3, 1, 1), 10.0)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None for p in generator.parameters())
    assert all(p.grad is not None for p in critic.parameters())


def test_the_generator_takes_every_third_step(tmp_path: Path):
    method(Context(scratch=tmp_path)).fit(DATA)
    with open(tmp_path / "losses-gan.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["generator"]] == ["0", "3", "6"]
    assert all(row["critic"] and row["penalty"] for row in rows) and len(rows) == 7
    assert len((tmp_path / "losses-encoder.csv").read_text().splitlines()) == 4


def test_a_step_of_the_critic_leaves_the_generator_weights():
    recipe = method()._recipe(6)
    found = networks(recipe, 0, "cpu")
    shown = torch.stack([scaled(np.asarray(image)[::2, ::2]) for image in plates().train])
    training = gan(recipe, found, plates().train, shown, 0)
    before = [p.clone() for p in found.generator.parameters()]
    training.step(1, training.batch(1))
    assert all(map(torch.equal, before, found.generator.parameters()))
    training.step(3, training.batch(3))
    assert not all(map(torch.equal, before, found.generator.parameters()))


@pytest.mark.parametrize("flip", [False, True])
def test_images_come_once_an_epoch_and_mirrored_half_of_the_time(flip: bool):
    recipe = method(flip=flip, batch_size=3)._recipe(6)
    shown = torch.arange(6.0)[:, None, None, None] + torch.tensor([0, 0.5]).expand(6, 3, 2, 2)
    found = torch.cat([_shown(recipe, shown, 5, step) for step in range(40)])
    assert found[:, 0, 0].amin(dim=1).sort().values.tolist() == [i for i in range(6) for _ in range(20)]
    mirrored = (found[:, 0, 0, 0] > found[:, 0, 0, 1]).float().mean()
    assert 0.35 < mirrored < 0.65 if flip else mirrored == 0


def test_scores_are_errors_of_single_images_and_features():
    found = method(kappa=0.3).fit(DATA)
    images = plates().test.subset(range(3))
    scores = found.score(images)
    assert scores.maps is not None and scores.maps.shape == (3, 32, 32)
    for i, image in enumerate(plates().test.subset(range(3))):
        alone = found.score(images.subset([i]))
        assert alone.image[0] == scores.image[i] and np.array_equal(alone.maps, scores.maps[i : i + 1])
        small = torch.nn.functional.avg_pool2d(scaled(np.asarray(image)), 2)[None]
        with torch.no_grad():
            made = found.networks.generator(found.networks.encoder(small))
        assert scores.parts["image"][i] == pytest.approx(float(((small - made) ** 2).mean()), rel=0.2)
    np.testing.assert_allclose(scores.image, scores.parts["image"] + 0.3 * scores.parts["features"])
    np.testing.assert_allclose(scores.parts["image"], scores.maps.mean(axis=(1, 2)), rtol=1e-5)


def test_residuals_are_of_the_image_made_again():
    generator, critic, encoder = (n.eval() for n in networks(method()._recipe(6), 0, "cpu"))
    x = random(2, 3, 32, 32).tanh()
    errors, features = residuals(generator, critic, encoder, x)
    made = generator(encoder(x))
    assert torch.equal(errors, (x - made) ** 2)
    assert torch.equal(features, (critic.features(x) - critic.features(made)) ** 2)
    # what the last layer sees is what is compared
    assert torch.equal(critic.last(critic.features(x)), critic(x))


def test_epochs_are_counted_in_batches():
    recipe = method(epochs=10, gan_steps=None, encoder_steps=None, batch_size=4)._recipe(6)
    assert (recipe.gan_steps, recipe.encoder_steps) == (20, 20)
    assert FAnoGAN(Context())._recipe(350).gan_steps == 3300


def test_sides_at_which_an_image_alone_cannot_be_normalised_are_refused_while_planning():
    with pytest.raises(Problem, match="image_size"):
        resolve(FAnoGAN, {"image_size": 16})


def test_one_image_trains_and_none_is_refused():
    data = FitData(plates().train.subset([0]), ImageSet((), ()))
    assert np.isfinite(method().fit(data).score(plates().test.subset([0, 9])).image).all()
    with pytest.raises(NeedNotMet, match="at least one"):
        method().fit(FitData(ImageSet((), ())))
