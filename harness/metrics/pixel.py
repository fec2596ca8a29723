"""Pixel AUROC and pixel AP: every pixel of the chosen images is one sample."""

import numpy as np

from harness.metrics.evidence import Evidence
from harness.metrics.record import Metric


def pixel_auroc_at(evidence: Evidence, limit: None = None) -> float | None:
    """AUROC of anomalous against anomaly-free pixels, ties one half, correctly rounded.

    None without anomalous or without normal pixels.
    """
    del limit
    normals, places = evidence.normals, evidence.places("pixels")
    n_anomalous = sum(at.size for at in places)
    if n_anomalous == 0 or normals.n == 0:
        return None
    doubled = normals.below.astype(np.int64) + normals.up_to
    # Python integers: the sum over 1e9 pixels of counts near 1e9 does not fit 64 bits.
    twice_u = sum(int(doubled[at].sum()) for at in places)
    return twice_u / (2 * n_anomalous * normals.n)


def pixel_ap_at(evidence: Evidence, limit: None = None) -> float | None:
    """Average precision of anomalous pixels over distinct thresholds (as scikit-learn defines it).

    None without anomalous or without normal pixels.
    """
    del limit
    normals, places = evidence.normals, evidence.places("pixels")
    n_anomalous = sum(at.size for at in places)
    if n_anomalous == 0 or normals.n == 0:
        return None
    new = np.zeros(evidence.thresholds.size, np.int64)
    for at in places:
        new += np.bincount(at, minlength=new.size)
    # From the highest threshold down; thresholds that only normal pixels have add no recall.
    new, false_positives = new[::-1], normals.n - normals.below[::-1].astype(np.int64)
    true_positives = np.cumsum(new)
    flagged = np.maximum(true_positives + false_positives, 1)
    return float(np.sum(new * (true_positives / flagged)) / n_anomalous)


PIXEL_AUROC = Metric(
    "Pixel AUROC", "area under the ROC curve of pixels", "pixel", pixel_auroc_at, targets="pixels"
)
PIXEL_AP = Metric("Pixel AP", "average precision of pixels", "pixel", pixel_ap_at, targets="pixels")
