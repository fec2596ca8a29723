"""What a metric is: a function, and everything that has to be known of its values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final, get_args

from harness.citation import Citation
from harness.errors import ConfigError
from harness.metrics.scale import PERCENT, Scale
from harness.metrics.threshold import Cut

Kind = Literal["image", "sample", "pixel"]
Targets = Literal["", "regions", "components", "pixels"]


@final
@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        title: name as printed.
        summary: one line for people.
        kind: "image": `function(scores, anomalous)` of float64 (n,) and bool (n,);
            "sample": the same of products that several images show, each scored by the highest of them
            (`harness.metrics.products`); None where images are no views of products;
            "pixel": `function(evidence, limit)` of `harness.metrics.evidence.Evidence`, or, with a `cut`,
            `function(tally)` of `harness.metrics.segmentation.Tally`.
        function: returns a finite number, or None where it is not defined.
        unit: "%" of a fraction in [0, 1]; of any other number its unit ("s", "px"), "" for none.
        decimals: digits behind the point in tables; those of a fraction are of the percentage.
        higher_is_better: direction, for everything that compares.
        targets: what a pixel metric looks for: "regions" (saturated), "components" or "pixels".
        limits: limits of the false-positive rate in (0, 1], one row each; empty for metrics without.
        cut: the rule that fixes one threshold for all pixels on maps of validation images. A sweep that asks
            for such a metric has its methods score these images, too.
        version: raised whenever the numbers change; written beside every value.
        paper: where it is defined.

    Raises:
        ConfigError: a field has a value that is not allowed.
    """

    title: str
    summary: str
    kind: Kind
    function: Callable[..., float | None]
    unit: str = PERCENT
    decimals: int = 1
    higher_is_better: bool = True
    targets: Targets = ""
    limits: tuple[float, ...] = ()
    cut: Cut | None = None
    version: int = 1
    paper: Citation | None = None

    def __post_init__(self) -> None:
        wrong = [sentence for holds, sentence in _rules(self) if not holds]
        if wrong:
            raise ConfigError(f"metric {self.title!r}: {'; '.join(wrong)}")

    @property
    def scale(self) -> Scale:
        """How its values are printed and compared."""
        return Scale(self.title, self.unit, self.decimals, self.higher_is_better)


def _rules(metric: Metric) -> list[tuple[bool, str]]:
    kinds, targets = get_args(Kind), get_args(Targets)[1:]
    pixel = metric.kind == "pixel"
    return [
        (bool(metric.title), "title is empty"),
        (metric.kind in kinds, f"kind is {metric.kind!r}, allowed: {', '.join(kinds)}"),
        (callable(metric.function), f"function is {metric.function!r}, which cannot be called"),
        (metric.decimals >= 0, f"decimals is {metric.decimals}, allowed: 0, 1, …"),
        (metric.version >= 1, f"version is {metric.version}, the first is 1"),
        (not pixel or metric.targets in targets, f"targets of a pixel metric: {', '.join(targets)}"),
        (pixel or not (metric.targets or metric.limits), "targets and limits belong to pixel metrics"),
        (pixel or metric.cut is None, "cut belongs to pixel metrics"),
        (not (metric.cut and metric.limits), "a metric has a cut or limits"),
        (all(0 < limit <= 1 for limit in metric.limits), f"limits {metric.limits} must be in (0, 1]"),
    ]
