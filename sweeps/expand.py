"""From a sweep file to its trials: pure, complete, every axis that cannot matter collapsed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from harness.config import MethodConfig, Problems, SweepConfig, configs_of, placed
from harness.data import Split, image_size
from harness.datasets import DATASETS
from harness.errors import ConfigError, DataError, HarnessError
from harness.method import Asset, Card, Read, Resources, Size, Task
from harness.metrics.defined import undefined
from harness.source import Source, Splits
from harness.trial import Trial
from methods import METHODS
from sweeps.axes import Axes
from sweeps.combine import completed
from sweeps.draws import Draw, draws, manifest_of
from sweeps.labels import Labels
from sweeps.locations import NAMED
from sweeps.problems import parts_of

MOST_SAID = 1000  # problems after which no more trials are tried


@final
class Variant:
    """One method with one complete set of hyper-parameters."""

    def __init__(self, entry: str, name: str, params: dict[str, Any]):
        owner = METHODS.load(name)
        self.entry, self.name = entry, name
        self.card: Card = owner.card
        # workers stand in other folders
        self.params = params | {k: _absolute(params.get(k)) for k in self.card.paths if k in params}
        self.ignored = self.card.ignores(self.params)
        # a card may name what its class cannot do
        self.together = self.card.together(self.params) if hasattr(owner, "fit_together") else None
        # dictionaries, and no `functools.cache`: there are 100,000 variants
        self._assets: dict[str, tuple[Asset, ...]] = {}
        self._sizes: dict[tuple[int, int], tuple[Size, ...]] = {}
        self._reads: dict[tuple[int, int], tuple[Read, ...]] = {}

    def assets(self, category: str) -> tuple[Asset, ...]:
        """The files whose content decides the numbers in a category.

        Raises:
            WeightsError, DataError: one is missing or unusable.
        """
        if category not in self._assets:  # hashing a gigabyte of weights once, not once per shot and seed
            self._assets[category] = tuple(self.card.assets(self.params, category))
        return self._assets[category]

    def sizes(self, native: tuple[int, int]) -> tuple[Size, ...]:
        """What the method will ask of images of a native size (height, width)."""
        if native not in self._sizes:
            self._sizes[native] = tuple(self.card.sizes(self.params, native))
        return self._sizes[native]

    def reads(self, native: tuple[int, int]) -> tuple[Read, ...]:
        """What the method will read of the passes of images of a native size (height, width)."""
        if native not in self._reads:
            self._reads[native] = tuple(self.card.reads(self.params, native))
        return self._reads[native]


@final
@dataclass(frozen=True)
class Expansion:
    """A sweep before it is planned.

    Attributes:
        trials: every distinct one with what it may use, in order of category, method, shots, seed.
        notes: what it is measured under, and which metrics will have no value and why, a sentence each.
    """

    trials: Sequence[tuple[Trial, Resources]]
    notes: Sequence[str]


def expand(config: SweepConfig, file: Path | str = "sweep file") -> list[tuple[Trial, Resources]]:
    """The trials of `expanded`."""
    return list(expanded(config, file).trials)


def expanded(config: SweepConfig, file: Path | str = "sweep file") -> Expansion:
    """The trials of a sweep, and what can be said of them before they run.

    Args:
        config: the sweep.
        file: what it was read from, for messages.

    Raises:
        ConfigError: all that is wrong with data, support sets or assets, one line each: file, key, sentence.
    """
    problems: Problems = []
    source = Source.of(config.dataset)
    data = _Data(source, Splits(source), {})
    trials: dict[str, tuple[Trial, Resources]] = {}
    labels = Labels(config)
    for label, part in configs_of(config):
        mine: dict[str, tuple[Trial, Resources]] = {}
        for trial, resources in _of_one(part, data, problems):
            # the first wins: entries may overlap, and ignored axes give one trial many times
            mine.setdefault(trial.id, (trial, resources))
        labels.asks(label, [trial for trial, _ in mine.values()])
        trials |= {trial_id: pair for trial_id, pair in mine.items() if trial_id not in trials}
    if problems:
        # one missing file is met by every shot and seed, and said once
        raise ConfigError(placed(file, dict.fromkeys(problems)))
    found = [(labels.on(trial), resources) for trial, resources in trials.values()]
    return Expansion(found, [*labels.told(), *_notes(data.read, config.metrics)])


@final
@dataclass(frozen=True)
class _Data:
    """The data set of a sweep, each category read once for all of its protocols.

    Attributes:
        source, splits: the data set.
        read: the categories that could be read so far.
    """

    source: Source
    splits: Splits
    read: dict[str, Split]


def _of_one(config: SweepConfig, data: _Data, problems: Problems) -> Iterator[tuple[Trial, Resources]]:
    """The trials of a sweep under one protocol, some of them more than once."""
    before = len(problems)
    categories = _categories(config, data.source, problems)
    variants = list(_variants(config, categories, problems))
    problems += _too_many(config, variants) + _refused_draw(config)
    manifest = manifest_of(config, problems)
    broken = len(problems) > before
    splits = _readable(data, categories, problems)
    ids = draws(config, splits, manifest)
    for category in () if broken else splits:
        for variant, axes, resources in (each for each in variants if category in each[1].categories):
            for trial in _trials(axes, splits[category], variant, ids, problems, config.validation != "none"):
                yield trial, resources


def _notes(splits: Mapping[str, Split], metrics: Sequence[str]) -> list[str]:
    places: dict[str, list[str]] = {}
    for category, split in splits.items():
        labels, masks = [s.label for s in split.test], any(s.masks for s in split.test)
        views = any(s.view_of for s in split.test)
        for reason in undefined(labels, masks, metrics, bool(split.validation), views):
            places.setdefault(reason, []).append(category)
    return [f"{', '.join(categories)}: {reason}" for reason, categories in places.items()]


def _categories(config: SweepConfig, source: Source, problems: Problems) -> list[str]:
    if isinstance(config.categories, list):
        return list(dict.fromkeys(config.categories))
    try:
        return source.categories(config.categories)
    except HarnessError as error:
        problems.append(("categories" if config.categories != "all" else "dataset.root", str(error)))
        return []


def _too_many(config: SweepConfig, variants: Sequence[tuple[Variant, Axes, Resources]]) -> Problems:
    """More trials than are meant; counted before the first is built."""
    number = sum(axes.size(variant.ignored) for variant, axes, _ in variants)
    if number <= config.max_trials:
        return []
    return [
        ("max_trials", f"{number:,} trials are more than {config.max_trials:,}; raise it if they are meant")
    ]


def _refused_draw(config: SweepConfig) -> Problems:
    """A draw that the data set's record speaks against; no number of shots makes it a fair one."""
    rule = config.support.rule
    why = DATASETS.load(config.dataset.name).refused_draws.get(rule)
    return [("support.rule", f"{rule} is refused for {config.dataset.name}: {why}")] if why else []


def _readable(data: _Data, categories: list[str], problems: Problems) -> dict[str, Split]:
    found = {}
    for category in categories:
        try:
            found[category] = data.splits.get(category)
        except DataError as error:
            problems += [("dataset.root", f"{category}: {problem}") for problem in error.problems]
        except HarnessError as error:
            problems.append(("dataset.root", f"{category}: {error}"))
    data.read.update(found)
    return found


def _variants(
    config: SweepConfig, categories: list[str], problems: Problems
) -> Iterator[tuple[Variant, Axes, Resources]]:
    for i, entry in enumerate(config.methods):
        place = f"methods.{i} ({entry.name})"
        try:
            axes = Axes.of(entry, config, categories)
        except ConfigError as error:
            problems += [("", f"methods.{i}.{line}") for line in error.problems]
            continue
        try:
            owner = METHODS.load(entry.name)
            parts = parts_of(owner, entry.model_dump(), config.weights, config.input.image_size)
            assert parts is not None  # the schema has passed
            resources = _resources(entry, owner.card.resources)
            for params in completed(owner, parts):
                yield Variant(place, entry.name, params), axes, resources
        except HarnessError as error:
            problems.append((place, str(error)))


def _resources(entry: MethodConfig, default: Resources) -> Resources:
    given = {k: v for k, v in entry.resources.model_dump().items() if v is not None}
    # a number that somebody wrote down is kept to; a card's is a first guess
    return Resources(**(asdict(default) | given | {"auto": default.auto and "gpus" not in given}))


def _absolute(value: Any) -> Any:
    """A path that exists from here, as workers elsewhere will need it; a folder called demo is not meant."""
    if isinstance(value, str) and value not in ("", *NAMED) and (path := Path(value).expanduser()).exists():
        return str(path.absolute())
    return value


def _trials(
    axes: Axes, split: Split, variant: Variant, ids: Draw, problems: Problems, validation: bool
) -> Iterator[Trial]:
    for shots, seed in axes.pairs(variant.ignored):
        if len(problems) > MOST_SAID:
            return
        try:
            # 0 stands for any number: the method does not look at shots
            support = ids(split.category, shots, seed) if shots != 0 else ()
        except HarnessError as error:
            problems.append(("", str(error)))
            continue
        try:
            yield _trial(split, variant, (shots, seed), support, validation)
        except HarnessError as error:  # weights, prompts or labels that cannot be used
            problems.append((variant.entry, str(error)))
            return


def _trial(
    split: Split, variant: Variant, pair: tuple[int | None, int], support: tuple[str, ...], validation: bool
) -> Trial:
    (shots, seed), chosen, masks = pair, frozenset(support), bool(split.part_masks)
    train = tuple(sample for sample in split.train if sample.id in chosen)
    n = len(support), len(split.validation) if validation else 0
    task = Task(split.dataset, split.category, shots, *n, masks, train)
    # with all images, or any, there is nothing to draw: one trial for all seeds of the split
    drawn = shots not in (None, 0) and "split_seed" not in variant.ignored
    reason = variant.card.unmet(variant.params, task)
    # a method that declines needs no weights either
    assets = variant.assets(split.category) if reason is None else ()
    native = image_size(split.train[0].path) if reason is None and split.train else None
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
        sizes=variant.sizes(native) if native else (),
        reads=variant.reads(native) if native else (),
        images=len(split.test),
        # with and without them is the same to a method that never looks at them
        validation=validation or not variant.card.validation,
        later=variant.card.later,
    )
