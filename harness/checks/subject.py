"""What the checks look at: a method class with its parameters."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, final

from harness.checks.plates import plates
from harness.data import ImageSet
from harness.method import Context, Scores
from harness.params import resolve


class CheckFailed(AssertionError):
    """A method does not do what it has to."""


def require(condition: object, reason: str) -> None:
    """Raise CheckFailed with `reason` unless `condition` holds."""
    if not condition:
        raise CheckFailed(reason)


@final
class Subject:
    """A method class with its parameters; what several checks look at is computed once."""

    def __init__(self, cls: Any, given: Mapping[str, Any]):
        self.cls, self.given = cls, given

    @cached_property
    def params(self) -> dict[str, Any]:
        """Complete hyper-parameters."""
        return resolve(self.cls, self.given)

    def fitted(self, train: ImageSet | None = None, run_seed: int = 0) -> Any:
        """A newly fitted method."""
        # without a store: what is computed must not hide behind what was kept
        return self.cls(Context(run_seed=run_seed), **self.params).fit(plates().fit_data(train))

    @cached_property
    def method(self) -> Any:
        """A fitted method that the checks share."""
        return self.fitted()

    @cached_property
    def scores(self) -> Scores:
        """Its scores of the test images."""
        return self.method.score(plates().test)
