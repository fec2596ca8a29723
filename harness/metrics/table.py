"""What a metric is, and the table of all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, final

from harness.errors import ConfigError, nearest


@final
@dataclass(frozen=True)
class Metric:
    """One entry of the table.

    Attributes:
        kind: "image": `function(scores, anomalous)` of float64 (n,) and bool (n,);
            "pixel": `function(evidence, limit)` of `harness.metrics.evidence.Evidence`.
            Both return a fraction, or None where it is not defined.
        function: "module:attribute", imported when used.
        summary: one line for people.
        targets: what a pixel metric looks for: "regions" (saturated), "components" or "pixels".
        limits: limits of the false-positive rate, one row each; empty for metrics without.
        version: raised whenever the numbers change; written beside every value.
        higher_is_better: direction, for tables.
    """

    kind: Literal["image", "pixel"]
    function: str
    summary: str
    targets: str = ""
    limits: tuple[float, ...] = ()
    version: int = 1
    higher_is_better: bool = True

    def load(self) -> Callable[..., float | None]:
        """The function itself."""
        module, _, attribute = self.function.partition(":")
        return getattr(import_module(module), attribute)


_HERE = "harness.metrics"
_SPRO_LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)
_PRO_LIMITS = (0.05, 0.3, 1.0)

METRICS: dict[str, Metric] = {
    "auroc": Metric("image", f"{_HERE}.image:auroc", "area under the ROC curve of image scores"),
    "ap": Metric("image", f"{_HERE}.image:ap", "average precision of image scores"),
    "f1max": Metric("image", f"{_HERE}.image:f1max", "largest F1 over thresholds on image scores"),
    "pixel_auroc": Metric(
        "pixel", f"{_HERE}.pixel:pixel_auroc_at", "area under the ROC curve of pixels", "pixels"
    ),
    "pixel_ap": Metric("pixel", f"{_HERE}.pixel:pixel_ap_at", "average precision of pixels", "pixels"),
    "aupro": Metric("pixel", f"{_HERE}.spro:aupro_at", "area under PRO", "components", _PRO_LIMITS),
    "auspro": Metric("pixel", f"{_HERE}.spro:auspro_at", "area under saturated PRO", "regions", _SPRO_LIMITS),
}


def metric(name: str) -> Metric:
    """The entry of a metric.

    Raises:
        ConfigError: unknown name.
    """
    if name not in METRICS:
        allowed = ", ".join(METRICS)
        raise ConfigError(f"unknown metric {name!r}{nearest(name, METRICS)}; known: {allowed}")
    return METRICS[name]
