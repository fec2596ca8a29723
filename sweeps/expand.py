"""From a sweep file to its trials: pure, complete, every axis that cannot matter collapsed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, final

from harness.config import MethodConfig, SweepConfig
from harness.data import Split
from harness.data.fewshot import draw
from harness.errors import ConfigError, HarnessError
from harness.method import Asset, Card, Resources, Task
from harness.params import resolve
from harness.source import Source, Splits
from harness.trial import Trial
from methods import METHODS
from sweeps.axes import Axes
from sweeps.problems import combinations

DEMO = "demo"  # in place of a path: what ships with the project
Draw = Callable[[str, int | None, int], tuple[str, ...]]  # category, shots, split seed -> ids


@final
class Variant:
    """One method with one complete set of hyper-parameters.

    Attributes:
        assets: category -> the files whose content decides the numbers there; looked up once. Raises
            WeightsError or DataError if one is missing or unusable.
    """

    def __init__(self, entry: str, name: str, given: Mapping[str, Any], weights: str | None):
        owner = METHODS.load(name)
        self.entry, self.name = entry, name
        self.card: Card = owner.card
        self.params = resolve(owner, _with_weights(owner, given, weights))
        # workers stand in other folders
        self.params |= {k: _absolute(self.params.get(k)) for k in self.card.paths if k in self.params}
        self.ignored = self.card.ignores(self.params)
        # a card may name what its class cannot do
        self.together = self.card.together(self.params) if hasattr(owner, "fit_together") else None
        # hashing a gigabyte of weights once, not once per shot and seed
        self.assets = cache(self._assets)

    def _assets(self, category: str) -> tuple[Asset, ...]:
        return tuple(self.card.assets(self.params, category))


def expand(config: SweepConfig) -> list[tuple[Trial, Resources]]:
    """Every distinct trial of a sweep with what it may use, in order of category, method, shots, seed.

    Raises:
        ConfigError: all that is wrong with data, support sets or assets, one line each.
    """
    problems: list[str] = []
    source = Source.of(config.dataset)
    categories = _categories(config, source)
    splits = _readable(source, categories, problems)
    variants = list(_variants(config, categories, problems))
    draws = _draws(config, splits)
    trials: dict[str, tuple[Trial, Resources]] = {}
    for category in splits:
        for variant, axes, resources in (each for each in variants if category in each[1].categories):
            for trial in _trials(axes, splits[category], variant, draws, problems):
                # the first wins: entries may overlap, and ignored axes give one trial many times
                trials.setdefault(trial.id, (trial, resources))
    if problems:
        # one missing file is met by every shot and seed, and said once
        raise ConfigError(list(dict.fromkeys(problems)))
    return list(trials.values())


def _categories(config: SweepConfig, source: Source) -> list[str]:
    if config.categories != "all":
        return list(dict.fromkeys(config.categories))
    try:
        return source.categories()
    except HarnessError as error:
        raise ConfigError(f"dataset.root: {error}") from error


def _readable(source: Source, categories: list[str], problems: list[str]) -> dict[str, Split]:
    splits, found = Splits(source), {}
    for category in categories:
        try:
            found[category] = splits.get(category)
        except HarnessError as error:
            problems.append(str(error))
    return found


def _variants(
    config: SweepConfig, categories: list[str], problems: list[str]
) -> Iterator[tuple[Variant, Axes, Resources]]:
    for i, entry in enumerate(config.methods):
        place = f"methods.{i} ({entry.name})"
        try:
            axes = Axes.of(entry, config, categories)
        except ConfigError as error:
            problems += [f"{place}.{line}" for line in error.problems]
            continue
        for given in combinations(entry.params, entry.grid, entry.zip):
            try:
                variant = Variant(place, entry.name, given, config.weights)
                yield variant, axes, _resources(entry, variant.card.resources)
            except HarnessError as error:
                problems.append(f"{place}: {error}")


def _resources(entry: MethodConfig, default: Resources) -> Resources:
    given = {k: v for k, v in entry.resources.model_dump().items() if v is not None}
    return Resources(**(asdict(default) | given))


def _with_weights(owner: type, given: Mapping[str, Any], weights: str | None) -> dict[str, Any]:
    """The sweep's weights where the method takes weights and its entry names none."""
    takes = "weights" in getattr(owner, "__dataclass_fields__", {})
    return ({"weights": weights} if weights is not None and takes else {}) | dict(given)


def _absolute(value: Any) -> Any:
    """A path that exists from here, as workers elsewhere will need it; a folder called demo is not meant."""
    if isinstance(value, str) and value not in ("", DEMO) and (path := Path(value).expanduser()).exists():
        return str(path.absolute())
    return value


def _draws(config: SweepConfig, splits: Mapping[str, Split]) -> Draw:
    @cache
    def ids(category: str, shots: int | None, seed: int) -> tuple[str, ...]:
        rule, manifest = config.support.rule, config.support.manifest
        split = splits[category]
        where = {"dataset": split.dataset, "category": split.category}
        return tuple(s.id for s in draw(split.train, shots, seed, rule, manifest, **where))

    return ids


def _trials(axes: Axes, split: Split, variant: Variant, ids: Draw, problems: list[str]) -> Iterator[Trial]:
    for shots in [0] if "shots" in variant.ignored else axes.shots:
        for seed in axes.seeds:
            try:
                # 0 stands for any number: the method does not look at shots
                support = ids(split.category, shots, seed) if shots != 0 else ()
            except HarnessError as error:
                problems.append(str(error))
                continue
            try:
                yield _trial(split, variant, shots, seed, support)
            except HarnessError as error:  # weights, prompts or labels that cannot be used
                problems.append(f"{variant.entry}: {error}")
                return


def _trial(split: Split, variant: Variant, shots: int | None, seed: int, support: tuple[str, ...]) -> Trial:
    task = Task(
        split.dataset, split.category, shots, len(support), len(split.validation), bool(split.part_masks)
    )
    # with all images, or any, there is nothing to draw: one trial for all seeds of the split
    drawn = shots not in (None, 0) and "split_seed" not in variant.ignored
    reason = variant.card.unmet(variant.params, task)
    # a method that declines needs no weights either
    assets = variant.assets(split.category) if reason is None else ()
    return Trial(
        method=variant.name,
        method_version=variant.card.version,
        params=variant.params,
        dataset=split.dataset,
        category=split.category,
        fingerprint=split.fingerprint,
        shots=shots,
        support=support,
        split_seed=seed if drawn else None,
        run_seed=None if "run_seed" in variant.ignored else seed,
        assets=assets,
        paths=variant.card.paths,
        marks=tuple(dict.fromkeys((*split.marks, *(m for asset in assets for m in asset.marks)))),
        reason=reason,
        together=variant.together,
    )
