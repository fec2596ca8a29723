"""Image-level metrics from one score per image, exact in the presence of ties.

Definitions: AUROC is the Mann-Whitney probability with ties counted one half (Hanley & McNeil, Radiology
143, 1982); AP is the sum over distinct thresholds of (R_k - R_{k-1}) P_k (as scikit-learn's
`average_precision_score`, not the trapezoidal area); F1-max is the maximum over distinct thresholds t
of the F1 of "score >= t is anomalous".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.citation import Citation
from harness.errors import DataError
from harness.metrics.record import Metric

Labels = NDArray[np.bool_]
ImageScores = NDArray[np.float64]


def image_metrics(scores: ArrayLike, anomalous: ArrayLike) -> dict[str, float | None]:
    """AUROC, AP and F1-max of one score per image.

    Args:
        scores: float (n,), any range, higher is more anomalous.
        anomalous: bool (n,).

    Returns:
        {"auroc", "ap", "f1max"}, fractions in [0, 1]; None where there is no normal or no anomalous image.

    Raises:
        DataError: lengths differ, or a score is NaN or infinite.
    """
    values, truth = checked_scores(scores, anomalous)
    return {"auroc": auroc(values, truth), "ap": ap(values, truth), "f1max": f1max(values, truth)}


def auroc(scores: ImageScores, anomalous: Labels) -> float | None:
    """Area under the ROC curve; ties count one half."""
    if not defined(anomalous):
        return None
    good = np.sort(scores[~anomalous])
    bad = scores[anomalous]
    # Twice the Mann-Whitney statistic is an integer, so this is the correctly rounded quotient.
    twice_u = int(good.searchsorted(bad, "left").sum() + good.searchsorted(bad, "right").sum())
    return twice_u / (2 * good.size * bad.size)


def ap(scores: ImageScores, anomalous: Labels) -> float | None:
    """Average precision over distinct thresholds."""
    if not defined(anomalous):
        return None
    true_positives, flagged = _counts_by_threshold(scores, anomalous)
    steps = np.diff(true_positives, prepend=0)
    return float(np.sum(steps * (true_positives / flagged)) / true_positives[-1])


def f1max(scores: ImageScores, anomalous: Labels) -> float | None:
    """Largest F1 over distinct thresholds."""
    if not defined(anomalous):
        return None
    true_positives, flagged = _counts_by_threshold(scores, anomalous)
    return float(np.max(2 * true_positives / (flagged + true_positives[-1])))


AUROC = Metric("AUROC", "area under the ROC curve of image scores", "image", auroc)
SAMPLE_AUROC = Metric(
    "Sample AUROC",
    "area under the ROC curve of products, each scored by the highest of its views",
    "sample",
    auroc,
    paper=Citation(
        "Wang, Zhu, Gao, Gan, Zhang, Gu, Qian, Chen, Ma",
        "Real-IAD: A Real-World Multi-View Dataset for Benchmarking Versatile Industrial Anomaly Detection",
        "CVPR 2024",
    ),
)
AP = Metric("AP", "average precision of image scores", "image", ap)
F1_MAX = Metric(
    "F1-max",
    "largest F1 over thresholds on image scores; of subset `all`: pooled, as in VAND",
    "image",
    f1max,
)


def defined(anomalous: Labels) -> bool:
    """Whether both classes are there; every image metric is None otherwise."""
    return bool(anomalous.any() and not anomalous.all())


def checked_scores(
    scores: ArrayLike, anomalous: ArrayLike, names: Sequence[str] | None = None
) -> tuple[ImageScores, Labels]:
    """Both arrays as float64 and bool (n,), or an error that names the image at fault.

    Raises:
        DataError: wrong shapes, or a score that is NaN or infinite.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(anomalous)
    if values.ndim != 1 or values.shape != truth.shape:
        raise DataError(f"image scores {values.shape} and labels {truth.shape} must both be (n,)")
    if not np.isin(truth, (0, 1)).all():
        raise DataError("labels of images must be False/True or 0/1")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        name = names[bad[0]] if names else f"image {bad[0]}"
        raise DataError(f"{name}: image score is {values[bad[0]]}; scores must be finite")
    return values, truth.astype(bool)


def _counts_by_threshold(
    scores: ImageScores, anomalous: Labels
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(#anomalous >= t, #all >= t) for every distinct score t, from high to low."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    true_positives = np.cumsum(anomalous[order], dtype=np.int64)
    flagged = np.arange(1, scores.size + 1, dtype=np.int64)
    return true_positives[last_of_tie], flagged[last_of_tie]
