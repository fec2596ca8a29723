"""The support sets of a sweep: each drawn once, whichever methods see it."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from harness.config import Problems, SweepConfig
from harness.data import Split
from harness.data.fewshot import How, draw
from harness.document import read
from harness.errors import ConfigError, HarnessError

MANIFEST_BYTES = 1 << 19  # some 50,000 file names
Draw = Callable[[str, int | None, int], tuple[str, ...]]  # category, shots, split seed -> ids
# Rule of a draw -> the key that its errors are about.
_DRAWN = {"manifest": "support.manifest", "per_subtype": "support"}


def draws(config: SweepConfig, splits: Mapping[str, Split], manifest: Mapping[str, Any] | None) -> Draw:
    """What draws by the rule of a sweep.

    Args:
        config: the sweep.
        splits: its categories.
        manifest: of `manifest_of`.

    Returns:
        (category, shots, split seed) -> ids; raises ConfigError where the rule cannot be followed.
    """
    given, rule = config.support, config.support.rule
    how = How(manifest, given.offset, given.before, given.indices)

    @cache
    def ids(category: str, shots: int | None, seed: int) -> tuple[str, ...]:
        split = splits[category]
        where = {"dataset": split.dataset, "category": split.category}
        try:
            return tuple(s.id for s in draw(split.train, shots, seed, rule, how=how, **where))
        except HarnessError as error:
            raise ConfigError(f"{_DRAWN.get(rule, 'shots')}: {error}") from None

    return ids


def manifest_of(config: SweepConfig, problems: Problems) -> Mapping[str, Any] | None:
    """The content of a support manifest, read once; file names like 037 are texts."""
    if config.support.rule != "manifest" or config.support.manifest is None:
        return None
    try:
        content = read(config.support.manifest, texts=True, limit=MANIFEST_BYTES)
    except ConfigError as error:
        problems += [("support.manifest", problem) for problem in error.problems]
        return {}
    if not isinstance(content, dict):
        text = f"{config.support.manifest}: must map categories to lists of file names"
        problems.append(("support.manifest", text))
        return {}
    return content
