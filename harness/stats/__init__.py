"""How sure a number is: spread over seeds, bootstrap over images, and tests between methods.

    spread, t_interval           mean and standard deviation over seeds; ddof is stated
    interval, paired_interval    bootstrap over the images of one category, for any metric
    delong                       two AUROCs on the same images
    wilcoxon, holm               two methods over categories; a family of such tests

What is a sample decides everything: images within a category, categories within a data set. Seeds are nested
in images, so seed x image is never a set of independent samples, and cells of one category are not either.
Needs NumPy and SciPy, neither torch nor Ray.
"""

from harness.stats.bootstrap import Bootstrap, Interval, interval, paired_interval
from harness.stats.delong import DeLong, delong
from harness.stats.families import Wilcoxon, holm, wilcoxon
from harness.stats.spread import Spread, spread, t_interval

__all__ = [
    "Bootstrap",
    "DeLong",
    "Interval",
    "Spread",
    "Wilcoxon",
    "delong",
    "holm",
    "interval",
    "paired_interval",
    "spread",
    "t_interval",
    "wilcoxon",
]
