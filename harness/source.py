"""Where the images of a sweep come from, in a form that travels to workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from pydantic import ValidationError

from harness.config import DatasetConfig
from harness.data import Split
from harness.datasets import DATASETS
from harness.errors import DataError
from harness.params import instance, resolve


@final
@dataclass(frozen=True)
class Source:
    """A data set at a place, with its options; plain data, so it can be sent anywhere."""

    name: str
    root: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(config: DatasetConfig) -> "Source":
        """The source that a valid configuration names."""
        complete = resolve(DATASETS.load(config.name).Options, config.options)
        return Source(config.name, config.root, complete)

    def categories(self, which: str = "all") -> list[str]:
        """What a word for categories means here.

        Args:
            which: "all", "objects" (the folders) or "subcategories" (their product types; a folder without
                any stands for itself).

        Raises:
            DataError: there are none, or sub-categories are asked for and no manifest names one.
        """
        names = _dataset(self).names(self.root, self._options())
        if which == "all":
            return list(names.every)
        if which == "objects":
            return list(names.whole)
        types = {c: [name for name in names.known if name.startswith(f"{c}/")] for c in names.whole}
        if not any(types.values()):
            command = (
                f"python -m harness.data subtypes {self.root} --category C --out {self.root}/subtypes.json"
            )
            raise DataError(
                f"{self.root}: nothing says which images are of which sub-category; {command} does"
            )
        return [name for c, found in types.items() for name in found or [c]]

    def split(self, category: str) -> Split:
        """One category, checked.

        Raises:
            DataError: everything that is wrong with it.
        """
        return _dataset(self).read(self.root, category, self._options())

    def _options(self) -> Any:
        return instance(_dataset(self).Options, self.options)


def recorded_split(config: Mapping[str, Any], category: str, fingerprint: str) -> Split:
    """The category that a run has seen.

    Args:
        config: what the run was configured with (`sweep.json`).
        category: its name.
        fingerprint: of its images, as recorded with the trials.

    Raises:
        DataError: the data set is not where the run found it, or its images are others.
    """
    source = recorded_source(config)
    split = source.split(category)
    if split.fingerprint != fingerprint:
        raise DataError(f"the images below {source.root} are not those that the run saw")
    return split


def recorded_source(config: Mapping[str, Any]) -> Source:
    """Where a run had its images from (`sweep.json`).

    Raises:
        DataError: it does not say so, or they are not there.
    """
    try:
        dataset = DatasetConfig.model_validate(config.get("dataset"))
    except ValidationError as error:
        count = error.error_count()
        raise DataError(f"the run does not say where its data set is ({count} errors)") from None
    if not dataset.root.is_dir():
        raise DataError(f"the data set is not at {dataset.root}")
    return Source.of(dataset)


def _dataset(source: Source) -> Any:
    return DATASETS.load(source.name)


class Splits:
    """The splits of a source, each read once per process."""

    def __init__(self, source: Source):
        self.get = lru_cache(maxsize=None)(source.split)
