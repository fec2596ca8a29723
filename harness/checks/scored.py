"""Checks of what a method does: its scores, its seeds, and what it must leave alone."""

import copy
import pickle
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from harness.checks.plates import plate, plates
from harness.checks.subject import CheckFailed, Subject, require
from harness.data import ImageSet
from harness.method import Context, Scores, Task

TOLERANCE = 1e-5  # the order of float32 sums changes with the size of a batch


def fit_returns_itself(subject: Subject) -> None:
    """`fit` returns the method."""
    method = subject.cls(Context(), **subject.params)
    require(method.fit(plates().fit_data()) is method, "fit returns another object")


def scores_well_formed(subject: Subject) -> None:
    """One finite float64 per image, in `image` and in every part."""
    n = len(plates().test)
    for name, values in {"image": subject.scores.image, **subject.scores.parts}.items():
        require(isinstance(values, np.ndarray), f"{name} is no array")
        require(values.shape == (n,), f"{name} has shape {values.shape} for {n} images")
        require(values.dtype == np.float64, f"{name} is {values.dtype}, not float64")
        require(bool(np.isfinite(values).all()), f"{name} is not finite")


def maps_well_formed(subject: Subject) -> None:
    """Maps, if any: one finite floating (h, w) per image."""
    maps = subject.scores.maps
    if maps is None:
        return
    require(maps.ndim == 3 and len(maps) == len(plates().test), f"maps have shape {maps.shape}")
    require(np.issubdtype(maps.dtype, np.floating), f"maps are {maps.dtype}")
    require(bool(np.isfinite(maps).all()), "maps are not finite")


def same_seed_same_scores(subject: Subject) -> None:
    """Fitting again with the same seed gives the same bits."""
    again = subject.fitted().score(plates().test)
    difference = _difference(again, subject.scores)
    # to the bit: the same work in the same order
    require(difference == 0, f"two runs with one seed differ by {difference:g}")


def ignored_seed_is_ignored(subject: Subject) -> None:
    """A method that says it ignores run_seed gives the same bits for another one."""
    if "run_seed" in subject.cls.card.ignores(subject.params):
        other = subject.fitted(run_seed=1).score(plates().test)
        difference = _difference(other, subject.scores)
        require(difference == 0, f"another run_seed changes scores by {difference:g}")


def images_scored_alone(subject: Subject) -> None:
    """score(images)[i] == score([images[i]])."""
    test = plates().test
    # every fifth: a good one, and both kinds of anomalies
    alone = [subject.method.score(test.subset([i])) for i in range(0, len(test), 5)]
    for i, scores in zip(range(0, len(test), 5), alone, strict=True):
        difference = _difference(scores, _subset(subject.scores, [i]))
        require(difference <= TOLERANCE, f"image {i} alone scores otherwise, by {difference:g}")


def order_is_irrelevant(subject: Subject) -> None:
    """Reversing the test images reverses the scores."""
    backwards = list(range(len(plates().test)))[::-1]
    scores = subject.method.score(plates().test.subset(backwards))
    difference = _difference(scores, _subset(subject.scores, backwards))
    require(difference <= TOLERANCE, f"in another order scores differ by {difference:g}")


def scoring_leaves_no_trace(subject: Subject) -> None:
    """Scoring other images in between changes nothing: a fitted method does not go on learning."""
    # images that were not seen before: running statistics and caches would move
    subject.method.score(ImageSet.of_arrays([plate(np.random.default_rng(9)) for _ in range(2)]))
    difference = _difference(subject.method.score(plates().test), subject.scores)
    require(difference <= TOLERANCE, f"scores drift by {difference:g} after scoring other images")


def inputs_untouched(subject: Subject) -> None:
    """No image array is written to."""
    # copies: a method that writes must not spoil the images of other checks
    arrays = [np.array(image) for image in plates().train]
    kept = copy.deepcopy(arrays)
    images = ImageSet.of_arrays(arrays)
    subject.fitted(images).score(images)
    same = all(np.array_equal(a, b) for a, b in zip(arrays, kept, strict=True))
    require(same, "input images were changed")


def global_rng_untouched(subject: Subject) -> None:
    """The global generators of Python, NumPy and (if loaded) torch are left as they were."""
    subject.fitted().score(plates().test)  # what may load torch
    with _generators_kept() as states:
        before = states()
        subject.fitted().score(plates().test)
        changed = [name for name, state in states().items() if state != before[name]]
    require(not changed, f"the global generator of {', '.join(changed)} was used or seeded")


@contextmanager
def _generators_kept() -> Iterator[Callable[[], dict[str, bytes]]]:
    """A function that gives the states of the global generators.

    Inside they stand somewhere no seed leads to, so that seeding them shows; afterwards they are as
    they were.
    """
    torch: Any = sys.modules.get("torch")
    kept = random.getstate(), np.random.get_state(), torch and torch.get_rng_state()
    for draw in (random.random, np.random.random, torch.seed if torch else None):
        # torch.seed draws a new one; the others move on by a number
        _ = draw and draw()
    yield lambda: {
        "random": pickle.dumps(random.getstate()),
        "numpy": pickle.dumps(np.random.get_state()),
        "torch": torch.get_rng_state().numpy().tobytes() if torch else b"",
    }
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    if torch:
        torch.set_rng_state(kept[2])


def one_training_image(subject: Subject) -> None:
    """One training image and no validation images are enough, or `card.unmet` says why not."""
    task = Task("d", "c", 1, 1, 0, True)
    if subject.cls.card.unmet(subject.params, task) is not None:
        return
    data = plates().fit_data(plates().train.subset([0]), validation=False)
    method = subject.cls(Context(), **subject.params).fit(data)
    require(bool(np.isfinite(method.score(plates().test).image).all()), "scores are not finite")


def pickles_after_fit(subject: Subject) -> None:
    """A fitted method can be pickled and scores as before."""
    try:
        packed = pickle.dumps(subject.method)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise CheckFailed(f"cannot be pickled: {error}") from error
    again = pickle.loads(packed).score(plates().test)  # noqa: S301 - our own bytes
    difference = _difference(again, subject.scores)
    require(difference <= TOLERANCE, f"after pickling scores differ by {difference:g}")


def better_than_chance(subject: Subject) -> None:
    """Defective plates score higher than good ones more often than not."""
    anomalous = np.array(plates().anomalous)
    good, bad = subject.scores.image[~anomalous], subject.scores.image[anomalous]
    wins = (bad[:, None] > good[None, :]) + 0.5 * (bad[:, None] == good[None, :])
    # no more is asked: thirty images, weights that may be random
    require(wins.mean() > 0.5, f"AUROC {wins.mean():.3f} on the plates")


def _subset(scores: Scores, indices: list[int]) -> Scores:
    parts = {name: values[indices] for name, values in scores.parts.items()}
    return Scores(scores.image[indices], parts, None if scores.maps is None else scores.maps[indices])


def _difference(a: Scores, b: Scores) -> float:
    """Largest difference of scores, parts and maps, relative where values exceed 1."""
    pairs: list[tuple[Any, Any]] = [(a.image, b.image), *((a.parts[name], b.parts[name]) for name in b.parts)]
    if a.maps is not None and b.maps is not None:
        pairs.append((a.maps, b.maps))
    return max(float((np.abs(x - y) / np.maximum(1, np.abs(y))).max()) for x, y in pairs)
