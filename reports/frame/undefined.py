"""Why some values are missing although their trials are ok: told once, from the numbers of images."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from harness.metrics.table import METRICS

NAMED = 6  # categories in a sentence
WHAT = {"all": "anomalous", "logical": "logical", "structural": "structural"}  # subset -> its images


def undefined_notes(metrics: pd.DataFrame) -> list[str]:
    """One sentence per data set and reason.

    Args:
        metrics: of ok trials, with `dataset` and `category`.
    """
    empty = metrics[metrics["value"].isna() & metrics["subset"].isin(list(WHAT))]
    found: dict[tuple[str, str, str], tuple[dict[str, None], dict[str, None]]] = {}
    columns = ["dataset", "category", "subset", "metric", "n_normal", "n_anomalous"]
    for row in empty[columns].drop_duplicates().to_dict("records"):
        reason, of = _reason(row)
        if reason:
            categories, names = found.setdefault((str(row["dataset"]), reason, of), ({}, {}))
            categories[str(row["category"])] = names[str(row["metric"])] = None
    return [_sentence(*key, *map(list, pair)) for key, pair in found.items()]


def _reason(row: Mapping[Hashable, Any]) -> tuple[str, str]:
    """What is missing among the test images, and which figures that leaves out; "" if it is not images."""
    if row["n_normal"] == row["n_anomalous"] == 0 and _of_products(str(row["metric"])):
        return "images that are no views of products", ""
    if row["n_normal"] == row["n_anomalous"] == 0 and row["subset"] == "all":
        return "test images without labels", ""
    if row["n_normal"] == 0:
        return "no good test image", ""
    if row["n_anomalous"] == 0:
        subset = str(row["subset"])
        of = "" if subset == "all" else f" of {subset} anomalies, nor a mean of logical and structural"
        return f"no {WHAT[subset]} test image", of
    return "", ""


def _of_products(metric: str) -> bool:
    """Whether it counts products, of which there may be none; known of our own metrics alone."""
    return metric in METRICS.own and METRICS.load(metric).kind == "sample"


def _sentence(dataset: str, reason: str, of: str, categories: Sequence[str], names: Sequence[str]) -> str:
    more = f" and {len(categories) - NAMED} more" if len(categories) > NAMED else ""
    where = ", ".join(categories[:NAMED]) + more
    return f"{dataset}: {reason} in {where}, hence (–) no {', '.join(names)}{of}."
