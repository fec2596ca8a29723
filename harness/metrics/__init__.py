"""Metrics of anomaly detection and localisation: exact, integer-counted, and the same for any order.

    image_metrics(scores, anomalous)           AUROC, AP, F1-max of image scores
    auspro(maps, regions, labels)              AU-sPRO of MVTec LOCO AD
    aupro(maps, masks)                         AU-PRO
    trial_metrics(names, samples, ...)         all of them, on all subsets of one trial
    AnomalousScores, PixelCounts               the streaming, mergeable form of the pixel metrics

`METRICS` is the table of all of them; adding one is a function with its record (`Metric`) and a line there.
"""

from harness.metrics.evidence import AnomalousScores, Evidence, PixelCounts, two_passes
from harness.metrics.image import image_metrics
from harness.metrics.inputs import LIMITS, PRO_LIMITS
from harness.metrics.products import ScoredSample
from harness.metrics.record import Metric
from harness.metrics.regions import Region
from harness.metrics.scale import Scale
from harness.metrics.spro import aupro, auspro
from harness.metrics.table import METRICS, scale_of
from harness.metrics.threshold import Moments, moments
from harness.metrics.trial import CONDITION, MetricValue, subsets, trial_metrics
from harness.metrics.upsample import UPSAMPLING, upsample

__all__ = [
    "CONDITION",
    "LIMITS",
    "METRICS",
    "PRO_LIMITS",
    "UPSAMPLING",
    "AnomalousScores",
    "Evidence",
    "Metric",
    "MetricValue",
    "Moments",
    "PixelCounts",
    "Region",
    "Scale",
    "ScoredSample",
    "aupro",
    "auspro",
    "image_metrics",
    "moments",
    "scale_of",
    "subsets",
    "trial_metrics",
    "two_passes",
    "upsample",
]
