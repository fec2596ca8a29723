"""The metrics: one table, a record (`harness.metrics.record.Metric`) beside each function.

Packages may add theirs through the entry-point group `ladder.metrics`.
"""

from collections.abc import Mapping
from typing import Any

from harness.metrics.record import Metric
from harness.metrics.scale import Scale
from harness.registry import Registry

METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "auroc": "harness.metrics.image:AUROC",
        "ap": "harness.metrics.image:AP",
        "f1max": "harness.metrics.image:F1_MAX",
        "sample_auroc": "harness.metrics.image:SAMPLE_AUROC",
        "pixel_auroc": "harness.metrics.pixel:PIXEL_AUROC",
        "pixel_ap": "harness.metrics.pixel:PIXEL_AP",
        "aupro": "harness.metrics.spro:AU_PRO",
        "auspro": "harness.metrics.spro:AU_SPRO",
        "seg_f1": "harness.metrics.segmentation:SEG_F1",
    },
    group="ladder.metrics",
    of=Metric,
)


def scale_of(name: str, recorded: Mapping[str, Any]) -> Scale:
    """How values of a run's metric are printed and compared, whatever is installed here.

    Of metrics that ship with Ladder the record says it; of all others only what the run itself has kept:
    their packages may have gone or changed since, and readers of results do not run the code of others.

    Args:
        name: of the metric.
        recorded: name -> what the run says of it (`harness.results.Run.scales`).
    """
    return METRICS.load(name).scale if name in METRICS.own else Scale.recorded(name, recorded.get(name))
