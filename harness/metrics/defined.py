"""Which metrics a test set can have at all: told from its labels, before anything is scored."""

from collections.abc import Collection, Sequence

from harness.metrics.table import METRICS
from harness.metrics.trial import GOOD, LOGICAL, STRUCTURAL, UNLABELLED


def undefined(
    labels: Collection[str], masks: bool, names: Sequence[str], validation: bool = True, views: bool = True
) -> list[str]:
    """Why some of the metrics will have no value, one sentence per reason; none where all can be had.

    Args:
        labels: of the test images.
        masks: whether any anomalous one has its pixels marked.
        names: of the metrics, of the table.
        validation: whether there are validation images.
        views: whether the images are views of products.
    """
    if set(labels) == {UNLABELLED}:  # beside others they are left out
        return [_empty("test images without labels (their scores and maps are kept)", names)] if names else []
    found, bad = [], set(labels) - {GOOD, UNLABELLED}
    pixel = [name for name in names if METRICS.load(name).kind == "pixel"]
    image = [name for name in names if name not in pixel]
    sample = [name for name in image if METRICS.load(name).kind == "sample"]
    if not bad:
        return [_empty("no anomalous test image", names)] if names else []
    if GOOD not in labels and image:  # pixels outside the masks are normal ones, so those metrics remain
        found.append(_empty("no good test image", image))
    if sample and not views and GOOD in labels:  # else they are empty for that reason already
        found.append(_empty("images are no views of products", sample))
    if not masks and pixel:
        found.append(_empty("no masks", pixel))
    cut = [name for name in pixel if METRICS.load(name).cut]
    if cut and masks and not validation:
        found.append(_empty("no validation image to fix a threshold on", cut))
    if bad & {LOGICAL, STRUCTURAL}:
        absent = [name for name in (LOGICAL, STRUCTURAL) if name not in bad]
        found += [f"no {name} test image: its metrics and the mean of both will be empty" for name in absent]
    return found


def _empty(why: str, names: Sequence[str]) -> str:
    return f"{why}: {', '.join(names)} will be empty"
