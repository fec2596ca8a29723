"""Checks of what a method does: its scores, its seeds, and what it must leave alone."""

import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.artifacts import ArtifactStore
from harness.checks.plates import plate, plates
from harness.checks.subject import FEW, CheckFailed, Subject, require
from harness.data import ImageSet
from harness.method import Context, Scores, Task

TOLERANCE = 1e-5  # the order of float32 sums changes with the size of a batch


def fit_returns_itself(subject: Subject) -> None:
    """`fit` returns the method."""
    _ = subject.method


def scores_well_formed(subject: Subject) -> None:
    """One finite float64 per image, in `image` and in every part."""
    n = len(subject.plates.test)
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
    require(maps.ndim == 3 and len(maps) == len(subject.plates.test), f"maps have shape {maps.shape}")
    require(np.issubdtype(maps.dtype, np.floating), f"maps are {maps.dtype}")
    require(bool(np.isfinite(maps).all()), "maps are not finite")


def same_seed_same_scores(subject: Subject) -> None:
    """Fitting again with the same seed gives the same bits, wherever the global generators stand."""
    # to the bit: the same work in the same order
    difference = _difference(subject.rerun.scores, subject.few)
    require(difference == 0, f"two runs with one seed differ by {difference:g}")


def ignored_seed_is_ignored(subject: Subject) -> None:
    """A method that says it ignores run_seed gives the same bits for another one."""
    if "run_seed" in subject.cls.card.ignores(subject.params):
        other = subject.fitted(run_seed=1).score(subject.plates.test.subset(FEW))
        difference = _difference(other, subject.few)
        require(difference == 0, f"another run_seed changes scores by {difference:g}")


def images_scored_alone(subject: Subject) -> None:
    """score(images)[i] == score([images[i]])."""
    for i in FEW:
        difference = _difference(
            subject.method.score(subject.plates.test.subset([i])), _subset(subject.scores, [i])
        )
        require(difference <= TOLERANCE, f"image {i} alone scores otherwise, by {difference:g}")


def order_is_irrelevant(subject: Subject) -> None:
    """Some of the test images backwards have the scores that they had among all of them."""
    backwards = list(range(len(subject.plates.test)))[::-3]
    scores = subject.method.score(subject.plates.test.subset(backwards))
    difference = _difference(scores, _subset(subject.scores, backwards))
    require(difference <= TOLERANCE, f"in another order scores differ by {difference:g}")


def scoring_leaves_no_trace(subject: Subject) -> None:
    """Scoring other images in between changes nothing: a fitted method does not go on learning."""
    _ = subject.scores
    # images that were not seen before: running statistics and caches would move
    subject.method.score(ImageSet.of_arrays([plate(np.random.default_rng(9)) for _ in range(2)]))
    difference = _few_differ(subject.method, subject)
    require(difference <= TOLERANCE, f"scores drift by {difference:g} after scoring other images")


def store_changes_nothing(subject: Subject) -> None:
    """Scores are the same whether arrays are computed into a store, read from it, or not kept at all."""
    _ = subject.scores
    if not subject.method.context.artifacts.counters:
        return  # it asks for no array
    with tempfile.TemporaryDirectory() as folder:
        for visit in ("new", "filled"):
            store = ArtifactStore(Path(folder))
            difference = _few_differ(subject.fitted(store=store), subject)
            require(difference <= TOLERANCE, f"with a {visit} artifact store scores differ by {difference:g}")


def sizes_are_named(subject: Subject) -> None:
    """`card.sizes`, if it names any, names all sizes at which the method asks for images."""
    _ = subject.scores
    asked = [op.params for op in subject.asked if op.name == "resized"]
    native = subject.plates.test[0].shape[:2]
    named = {tuple(size) for size in subject.cls.card.sizes(subject.params, native)}
    missing = {(p["height"], p["width"], p["crop"]) for p in asked} - named
    require(not named or not missing, f"card.sizes names {sorted(named)}, and not {sorted(missing)}")


def reads_are_named(subject: Subject) -> None:
    """`card.reads`, if it names any, names all layers of networks that the method asks for."""
    _ = subject.scores
    asked = {op.params["layer"] for op in subject.asked if op.name == "features"}
    native = subject.plates.test[0].shape[:2]
    named = {name for _, name in subject.cls.card.reads(subject.params, native)}
    missing = asked - named
    require(not named or not missing, f"card.reads names {sorted(named)}, and not {sorted(missing)}")


def inputs_untouched(subject: Subject) -> None:
    """No image array is written to, in fit or in score."""
    _ = subject.scores
    for name in ("train", "validation", "test"):
        pairs = zip(getattr(subject.plates, name), getattr(plates(), name), strict=True)
        require(all(np.array_equal(a, b) for a, b in pairs), f"images for {name} were changed")


def global_rng_untouched(subject: Subject) -> None:
    """The global generators of Python, NumPy and (if loaded) torch are left as they were."""
    moved = subject.rerun.moved
    require(not moved, f"the global generator of {', '.join(moved)} was used or seeded")


def one_training_image(subject: Subject) -> None:
    """One training image and no validation images are enough, or `card.unmet` says why not."""
    task = Task("d", "c", 1, 1, 0, True)
    if subject.cls.card.unmet(subject.params, task) is not None:
        return
    data = subject.plates.fit_data(subject.plates.train.subset([0]), validation=False)
    method = subject.cls(Context(), **subject.params).fit(data)
    scores = method.score(subject.plates.test.subset(FEW))
    require(bool(np.isfinite(scores.image).all()), "scores are not finite")


def pickles_after_fit(subject: Subject) -> None:
    """A fitted method can be pickled and scores as before."""
    try:
        packed = pickle.dumps(subject.method)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise CheckFailed(f"cannot be pickled: {error}") from error
    difference = _few_differ(pickle.loads(packed), subject)  # noqa: S301 - our own bytes
    require(difference <= TOLERANCE, f"after pickling scores differ by {difference:g}")


def better_than_chance(subject: Subject) -> None:
    """Defective plates score higher than good ones more often than not."""
    anomalous = np.array(plates().anomalous)
    good, bad = subject.scores.image[~anomalous], subject.scores.image[anomalous]
    wins = (bad[:, None] > good[None, :]) + 0.5 * (bad[:, None] == good[None, :])
    # no more is asked: thirty images, weights that may be random
    require(wins.mean() > 0.5, f"AUROC {wins.mean():.3f} on the plates")


def _few_differ(method: Any, subject: Subject) -> float:
    """How far a method's scores of a few test images are from those that it should have."""
    return _difference(method.score(subject.plates.test.subset(FEW)), _subset(subject.scores, FEW))


def _subset(scores: Scores, indices: Sequence[int]) -> Scores:
    indices = list(indices)
    parts = {name: values[indices] for name, values in scores.parts.items()}
    return Scores(scores.image[indices], parts, None if scores.maps is None else scores.maps[indices])


def _difference(a: Scores, b: Scores) -> float:
    """Largest difference of scores, parts and maps, relative where values exceed 1."""
    pairs: list[tuple[Any, Any]] = [(a.image, b.image), *((a.parts[name], b.parts[name]) for name in b.parts)]
    if a.maps is not None and b.maps is not None:
        pairs.append((a.maps, b.maps))
    return max(float((np.abs(x - y) / np.maximum(1, np.abs(y))).max()) for x, y in pairs)
