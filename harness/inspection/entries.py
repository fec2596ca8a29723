"""What is known of a method, a data set, a metric, a protocol, as JSON-able values."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.citation import Citation
from harness.datasets import DATASETS
from harness.inspection.describe import parameters_of
from harness.method import Card
from harness.metrics import METRICS
from harness.protocols import preset
from harness.protocols.filling import words
from harness.registry import Registry


def method_entry(methods: Registry[Any], name: str) -> dict[str, Any]:
    """What a method declares of itself.

    Raises:
        ConfigError: unknown name.
    """
    owner = methods.load(name)
    readme = Path(sys.modules[owner.__module__].__file__ or "").with_name("README.md")
    return {
        "name": name,
        **declared(owner.card),
        "card": str(readme) if readme.is_file() else "",
        "resources": asdict(owner.card.resources),
        "parameters": [asdict(p) for p in parameters_of(owner)],
    }


def declared(card: Card) -> dict[str, Any]:
    """What a card says in words; a run keeps it for its reports."""
    return {
        "title": card.title,
        "summary": card.summary,
        "version": card.version,
        "training": training(card),
        "uses": sorted(card.uses),
        **_paper(card.paper),
        "further": [f"{what}: {paper}" for what, paper in card.further],
        "licence": card.licence,
        "weights_licence": card.weights_licence,
        "extra": card.extra,
    }


def training(card: Card) -> str:
    """Whether a method learns weights, in a word; nothing where its card does not say."""
    return {True: "trained", False: "training-free"}.get(card.trained, "")  # pyright: ignore[reportArgumentType, reportCallIssue]


def _paper(paper: Citation | None) -> dict[str, str]:
    return {"paper": str(paper or ""), "url": paper.url if paper else ""}


def dataset_entry(name: str) -> dict[str, Any]:
    """What is known of a data set.

    Raises:
        ConfigError: unknown name.
    """
    dataset = DATASETS.load(name)
    plain = ("title", "summary", "defects", "licence", "citation", "url", "archive", "sha256")
    return {
        "name": name,
        **{key: getattr(dataset, key) for key in plain},
        "archives": [f"{name} {sha256}" for name, sha256 in dataset.archives.items()],
        "totals": dict(dataset.totals) or "",
        "draws refused": [f"{rule}: {why}" for rule, why in dataset.refused_draws.items()],
        "counts": dataset.counts,
        "layout": dataset.layout,
        "parameters": [asdict(p) for p in parameters_of(dataset.Options)],
    }


def metric_entry(name: str) -> dict[str, Any]:
    """What is known of a metric.

    Raises:
        ConfigError: unknown name.
    """
    found = METRICS.load(name)
    plain = ("title", "summary", "kind", "unit", "decimals", "higher_is_better", "targets", "version")
    values = {key: getattr(found, key) for key in plain}
    more = {"limits": list(found.limits), "threshold": found.cut.words if found.cut else ""}
    return {"name": name, **values, **more, **_paper(found.paper)}


def protocol_entry(name: str) -> dict[str, Any]:
    """What a protocol fixes, where its source says so, and what is taken where it does not.

    Raises:
        ConfigError: unknown name.
    """
    found = preset(name)
    keys = ("categories", "shots", "seeds", "support", "validation", "input", "number", "metrics")
    return {
        "name": name,
        "title": found.title,
        "sources": list(found.sources),
        "dataset": list(found.dataset),
        **{key: words(key, found.keys.get(key)) for key in keys},
        "params": {method: dict(params) for method, params in found.params.items()},
        "names": {dataset: list(categories) for dataset, categories in found.names.items()},
        "said": dict(found.said),
        "unknown": dict(found.unknown),
    }
