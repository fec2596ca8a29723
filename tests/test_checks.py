"""The battery catches what it is there for: one small fault per check, in an otherwise sound method."""

import random
from dataclasses import KW_ONLY, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import pytest
import torch
from pydantic import AfterValidator

from harness.artifacts import Op
from harness.checks import CHECKS, CheckFailed, check_method
from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.method import Card, Context, Scores, Segmentation
from harness.views import Bars, Heat, Parts, Reference, View

CARD = Card(title="Sound", summary="Difference to the mean.", licence="Apache-2.0", trained=False)


@dataclass
class Sound:
    """A method without a fault; the faulty ones below change one thing each."""

    card: ClassVar[Card] = CARD
    context: Context
    _: KW_ONLY
    gain: float = 1.0
    mean: Any = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        self.mean = np.stack(list(data.train)).mean(axis=0)
        return self

    def score(self, images: ImageSet) -> Scores:
        maps = np.stack([np.abs(image - self.mean).mean(axis=2) for image in images])
        return Scores(self.gain * maps.max(axis=(1, 2)), {"mean": maps.mean(axis=(1, 2))}, maps)


class NoLicence(Sound):
    card = Card(title="No licence", summary="A licence is missing.")


class OddAxis(Sound):
    card = Card(title="x", summary="x", licence="x", trained=False, ignores=lambda p: frozenset({"seed"}))


class WrongPaths(Sound):
    card = Card(title="x", summary="x", licence="x", trained=False, paths=frozenset({"weights"}))


class SilentNeed(Sound):
    card = Card(title="x", summary="x", licence="x", trained=False, unmet=lambda params, task: "")


class Counter:
    count = 0


@dataclass
class MutableDefault(Sound):
    weights: Any = Counter()  # noqa: RUF009 - the fault


@dataclass
class ContextLast:
    card: ClassVar[Card] = CARD
    gain: float
    context: Context


class Keywords(Sound):
    def __init__(self, context: Context, **kwargs: float):
        super().__init__(context, **kwargs)


@dataclass(repr=False)
class Mute(Sound):
    def __repr__(self) -> str:
        return "Mute()"


class FitReturnsNone(Sound):
    def fit(self, data: FitData) -> Any:
        super().fit(data)


class SingleScore(Sound):
    def score(self, images: ImageSet) -> Scores:
        return Scores(super().score(images).image[:1])


class Half(Sound):
    def score(self, images: ImageSet) -> Scores:
        return Scores(super().score(images).image.astype(np.float32))


class NotANumber(Sound):
    def score(self, images: ImageSet) -> Scores:
        return Scores(super().score(images).image, {"nan": np.full(len(images), np.nan)})


class FlatMaps(Sound):
    def score(self, images: ImageSet) -> Scores:
        scores = super().score(images)
        return Scores(scores.image, {}, scores.image)


class Unseeded(Sound):
    def fit(self, data: FitData) -> Self:
        super().fit(data)
        self.mean = self.mean + np.random.default_rng().normal(0, 0.1, self.mean.shape)
        return self


class DeniesSeed(Sound):
    card = Card(
        title="x", summary="x", licence="x", trained=False, ignores=lambda params: frozenset({"run_seed"})
    )

    def score(self, images: ImageSet) -> Scores:
        return Scores(super().score(images).image + self.context.run_seed)


class LooksAtTheSet(Sound):
    def score(self, images: ImageSet) -> Scores:
        image = super().score(images).image
        return Scores(image / image.max())


class LooksAtTheOrder(Sound):
    def score(self, images: ImageSet) -> Scores:
        image = super().score(images).image
        return Scores(image + 0.01 * np.arange(len(image)))


class GoesOnLearning(Sound):
    def score(self, images: ImageSet) -> Scores:
        scores = super().score(images)
        self.mean = 0.99 * self.mean + 0.01 * images[0]
        return scores


class OneKeyForAllImages(Sound):
    def score(self, images: ImageSet) -> Scores:
        store, image = self.context.artifacts, super().score(images).image
        return Scores(np.array([store.get(Op("score"), ["one key"], lambda v=v: np.array(v)) for v in image]))


class OtherSizes(Sound):
    card = Card(title="x", summary="x", licence="x", sizes=lambda params, native: [(8, 8, None)])

    def score(self, images: ImageSet) -> Scores:
        op = Op("resized", {"height": 9, "width": 9, "crop": None})
        self.context.artifacts.get_many(op, images.keys(), lambda missing: [np.zeros(1) for _ in missing])
        return super().score(images)


class OtherLayers(Sound):
    card = Card(title="x", summary="x", licence="x", reads=lambda params, native: [("pass", "layer1")])

    def score(self, images: ImageSet) -> Scores:
        op = Op("features", {"layer": "layer2"})
        self.context.artifacts.get_many(op, images.keys(), lambda missing: [np.zeros(1) for _ in missing])
        return super().score(images)


class WritesToImages(Sound):
    def fit(self, data: FitData) -> Self:
        super().fit(data)
        data.train[0][:] = 0
        return self


class GlobalRandom(Sound):
    def score(self, images: ImageSet) -> Scores:
        random.random()
        return super().score(images)


class GlobalNumpy(Sound):
    def fit(self, data: FitData) -> Self:
        np.random.seed(self.context.run_seed)
        return super().fit(data)


class GlobalTorch(Sound):
    def fit(self, data: FitData) -> Self:
        torch.manual_seed(self.context.run_seed + 77)
        return super().fit(data)


class NeedsTwo(Sound):
    def score(self, images: ImageSet) -> Scores:
        return Scores(super().score(images).image / self.deviation)

    def fit(self, data: FitData) -> Self:
        self.deviation = float(len(data.train) > 1) or np.nan
        return super().fit(data)


class NotPicklable(Sound):
    def fit(self, data: FitData) -> Self:
        self.helper = lambda x: x
        return super().fit(data)


class OneViewOnly(Sound):
    def explain(self, images: ImageSet) -> list[tuple[View, ...]]:
        return [(Heat("map", np.zeros((2, 2))),)]


class NamelessPart(Sound):
    def segment(self, images: ImageSet) -> Segmentation:
        return Segmentation(np.ones((len(images), 2, 2), np.uint8), ("background",))


class UpsideDown(Sound):
    def score(self, images: ImageSet) -> Scores:
        return Scores(-super().score(images).image)


FAULTS = {
    NoLicence: "card_complete",
    OddAxis: "card_complete",
    WrongPaths: "card_complete",
    SilentNeed: "needs_are_stated",
    MutableDefault: "defaults_immutable",
    ContextLast: "defaults_immutable",
    Keywords: "defaults_immutable",
    Mute: "repr_shows_params",
    FitReturnsNone: "fit_returns_itself",
    SingleScore: "scores_well_formed",
    Half: "scores_well_formed",
    NotANumber: "scores_well_formed",
    FlatMaps: "maps_well_formed",
    Unseeded: "same_seed_same_scores",
    DeniesSeed: "ignored_seed_is_ignored",
    LooksAtTheSet: "images_scored_alone",
    LooksAtTheOrder: "order_is_irrelevant",
    GoesOnLearning: "scoring_leaves_no_trace",
    OneKeyForAllImages: "store_changes_nothing",
    OtherSizes: "sizes_are_named",
    OtherLayers: "reads_are_named",
    WritesToImages: "inputs_untouched",
    GlobalRandom: "global_rng_untouched",
    GlobalNumpy: "global_rng_untouched",
    GlobalTorch: "global_rng_untouched",
    NeedsTwo: "one_training_image",
    NotPicklable: "pickles_after_fit",
    UpsideDown: "better_than_chance",
    OneViewOnly: "views_well_formed",
    NamelessPart: "segments_well_formed",
}


def run(cls: type, name: str, **params: Any) -> None:
    {check.name: check for check in check_method(cls, **params)}[name].run()


@pytest.mark.parametrize(("cls", "name"), FAULTS.items(), ids=lambda v: getattr(v, "__name__", v))
def test_a_fault_is_caught(cls: type, name: str):
    with pytest.raises(CheckFailed):
        run(cls, name)


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "import_is_light"])
def test_a_sound_method_passes(name: str):
    run(Sound, name, gain=2.0)


class Shows(Sound):
    def explain(self, images: ImageSet) -> list[tuple[View, ...]]:
        parts = Parts("parts", np.array([[0, 1]]), ("background", "disc"))
        bars = Bars("areas", ("disc",), {"this image": np.array([1.0])})
        views = (Heat("map", np.zeros((2, 2))), parts, bars, Reference("nearest", plates().train.ids[0]))
        return [views for _ in images]


def test_views_of_every_kind_pass():
    run(Shows, "views_well_formed")


@pytest.mark.parametrize(
    "view",
    [
        Heat("", np.zeros((2, 2))),
        Heat("map", np.full((2, 2), np.nan)),
        Parts("parts", np.array([[0, 2]]), ("background", "disc")),
        Bars("areas", ("disc",), {"this image": np.zeros(2)}),
        Reference("nearest", "no such image"),
    ],
    ids=repr,
)
def test_a_faulty_view_is_caught(view: View):
    cls = type("Faulty", (Sound,), {"explain": lambda self, images: [(view,) for _ in images]})
    with pytest.raises(CheckFailed):
        run(cls, "views_well_formed")


def test_a_heavy_import_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "heavy.py").write_text("import torch\n\n\nclass Heavy:\n    pass\n")
    (tmp_path / "torch.py").touch()  # the name is what counts; in this process it is taken already
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckFailed, match="importing heavy imports torch"):
        run(import_module("heavy").Heavy, "import_is_light")


def test_a_method_folder_needs_a_card(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "lonely").mkdir()
    (tmp_path / "lonely" / "__init__.py").write_text("class Lonely:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    lonely = __import__("lonely").Lonely
    with pytest.raises(CheckFailed, match=r"lonely has no README\.md"):
        run(lonely, "readme_exists")
    (tmp_path / "lonely" / "README.md").write_text("# Lonely")
    run(lonely, "readme_exists")


@dataclass
class Drifting(Sound):
    gain: Annotated[float, AfterValidator(lambda value: value + 1)] = 1.0


def test_parameters_that_change_when_read_back_are_caught():
    with pytest.raises(CheckFailed, match="becomes"):
        run(Drifting, "params_survive_json", gain=2.0)


def test_the_battery_leaves_the_generators_alone():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    run(Sound, "global_rng_untouched")
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_the_plates_are_small_fixed_and_of_both_kinds():
    again = plates.__wrapped__()
    assert again.test.keys() == plates().test.keys()
    assert len(plates().test) == len(plates().anomalous) == 20
    assert len(set(plates().test.keys()) | set(plates().train.keys())) == 26
