"""The battery: what every method has to satisfy, whoever wrote it.

    for check in check_method(MyMethod, **params):
        check.run()                             # raises CheckFailed with the reason

A class may carry `check_params`, small hyper-parameters with which the battery stays quick. The images
are those of `harness.checks.plates`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from harness.checks import declared, scored, shown
from harness.checks.subject import CheckFailed, Subject

__all__ = ["CHECKS", "Check", "CheckFailed", "check_method"]

CHECKS: Mapping[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        declared.card_complete,
        declared.readme_exists,
        declared.defaults_immutable,
        declared.import_is_light,
        declared.params_survive_json,
        declared.repr_shows_params,
        declared.needs_are_stated,
        scored.fit_returns_itself,
        scored.scores_well_formed,
        scored.maps_well_formed,
        scored.same_seed_same_scores,
        scored.ignored_seed_is_ignored,
        scored.images_scored_alone,
        scored.order_is_irrelevant,
        scored.scoring_leaves_no_trace,
        scored.store_changes_nothing,
        scored.sizes_are_named,
        scored.reads_are_named,
        scored.inputs_untouched,
        scored.global_rng_untouched,
        scored.one_training_image,
        scored.pickles_after_fit,
        scored.better_than_chance,
        shown.views_well_formed,
        shown.segments_well_formed,
    )
}


@final
@dataclass(frozen=True)
class Check:
    """One named property.

    Attributes:
        name: in snake_case.
        run: raises CheckFailed if the property does not hold.
    """

    name: str
    run: Callable[[], None]


def check_method(cls: type, **params: Any) -> Iterator[Check]:
    """The checks that apply to a method class.

    Args:
        cls: the class.
        params: hyper-parameters, added to the class's `check_params`.
    """
    subject = Subject(cls, dict(getattr(cls, "check_params", {})) | params)
    for name in CHECKS:
        yield Check(name, lambda name=name: CHECKS[name](subject))
