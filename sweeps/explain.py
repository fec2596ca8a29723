"""One test image of a recorded trial, explained by its method."""

from collections.abc import Mapping
from typing import Any

from harness.artifacts import ArtifactStore
from harness.config import SweepConfig
from harness.data import ImageSet, Sample, Split
from harness.errors import DataError
from harness.method import Context
from harness.run import fit_data
from harness.seeding import seeded
from harness.views import Heat, View
from methods import METHODS
from sweeps.worker import threads


def explain(
    config: Mapping[str, Any], trial: Mapping[str, Any], split: Split, sample: Sample
) -> tuple[View, ...]:
    """Fit the method of a trial again, on the CPU and through the artifact store, and ask it for its views.

    Args:
        config: what the run was configured with (`sweep.json`).
        trial: row of `trials/`, parameters decoded.
        split: the category that the trial saw.
        sample: the test image.

    Returns:
        The method's views; its anomaly map alone where it has no others.

    Raises:
        DataError: the method has nothing to show but a score.
    """
    # through the sweep's store: mostly nothing is left to compute but the image itself
    cache, run_seed = SweepConfig.model_validate(config).cache, trial["run_seed"] or 0
    context = Context(run_seed=run_seed, artifacts=ArtifactStore(cache.path, cache.limit_gib))
    # threads and seed of the trial: another order of sums would show another map than the one that was scored
    with threads(trial["cpus"] or 1), seeded(run_seed):
        method = METHODS.load(trial["method"])(context, **trial["params"])
        # a protocol may have kept the validation images from it
        data = fit_data(trial["support"], split, trial["n_validation"] != 0)
        return _views(method.fit(data), ImageSet.of_samples([sample]))


def _views(method: Any, image: ImageSet) -> tuple[View, ...]:
    if hasattr(method, "explain"):
        return method.explain(image)[0]
    maps = method.score(image).maps
    if maps is None:
        raise DataError(f"{method.card.title} gives a score and nothing to look at")
    return (Heat("anomaly map", maps[0]),)
