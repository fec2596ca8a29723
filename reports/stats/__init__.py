"""How sure a number is: spread over seeds, bootstrap over images, and tests between methods.

    spread, t_interval           mean and standard deviation over seeds; ddof is stated
    interval, paired_interval    bootstrap over the images of one category, for any metric
    weighted_interval            the same for statistics that take all resamples at once
    delong                       two AUROCs on the same images
    score_table, paired_seeds    the score table as arrays over the same images; which trials belong together
    paired_auroc                 two methods with all their seeds on the same images
    ResampledImages, difference  the same for many methods, whose images are drawn once
    wilcoxon                     two methods over categories
    holm, family                 p-values of tests that are looked at together

What is a sample decides everything: images within a category, categories within a data set. Seeds are nested
in images, so seed x image is never a set of independent samples, and cells of one category are not either.
Needs NumPy and SciPy, neither torch nor Ray.
"""

from harness.metrics.bootstrap import (
    Bootstrap,
    Interval,
    interval,
    paired_interval,
    strata,
    weighted_interval,
)
from harness.metrics.weighted import WEIGHTED, weighted
from reports.stats.delong import DeLong, delong
from reports.stats.families import Wilcoxon, holm, wilcoxon
from reports.stats.paired import (
    Area,
    Difference,
    ResampledImages,
    difference,
    family,
    mean_area,
    paired_auroc,
)
from reports.stats.score_table import ScoreTable, paired_seeds, score_table
from reports.stats.spread import Spread, spread, t_interval

__all__ = [
    "WEIGHTED",
    "Area",
    "Bootstrap",
    "DeLong",
    "Difference",
    "Interval",
    "ResampledImages",
    "ScoreTable",
    "Spread",
    "Wilcoxon",
    "delong",
    "difference",
    "family",
    "holm",
    "interval",
    "mean_area",
    "paired_auroc",
    "paired_interval",
    "paired_seeds",
    "score_table",
    "spread",
    "strata",
    "t_interval",
    "weighted",
    "weighted_interval",
    "wilcoxon",
]
