"""Sections of the sweep file that say what a number is measured under."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from harness.errors import nearest
from harness.places import AbsolutePath
from harness.protocols import names, unknown
from harness.protocols.why import FACTORS

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


def _protocol(name: str) -> str:
    if name not in names():
        raise ValueError(unknown(name))
    return name


def _factor(word: str) -> str:
    if word not in FACTORS:
        raise ValueError(f"unknown factor {word[:80]!r}{nearest(word, FACTORS)}; known: {', '.join(FACTORS)}")
    return word


def _pair(values: list[Any]) -> list[Any]:
    if len(values) != 2:
        raise ValueError(f"must be [before, after], not {len(values)} values")
    return values


Protocol = Annotated[str, AfterValidator(_protocol)]


class Strict(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SupportConfig(Strict):
    """How the k support images are drawn from the training images."""

    rule: Literal[
        "nested",
        "per_subtype",
        "vand2025",
        "first_k",
        "block",
        "shuffle",
        "sample",
        "indices",
        "manifest",
    ] = "nested"
    manifest: AbsolutePath | None = Field(default=None, description="file of `rule: manifest`")
    offset: NonNegativeInt = Field(default=0, description="images that `rule: first_k` passes over")
    before: dict[str, PositiveInt] = Field(
        default_factory=dict, description="of `rule: shuffle`: training images of the categories of that run"
    )
    indices: dict[str, dict[str, list[NonNegativeInt]]] = Field(
        default_factory=dict,
        description="of `rule: indices`: category (or *) -> shots -> places in path order",
    )

    @model_validator(mode="after")
    def _of_its_rule(self) -> Self:
        """What another rule draws from would be ignored without a word."""
        of = {"manifest": "manifest", "offset": "first_k", "before": "shuffle", "indices": "indices"}
        for key, rule in of.items():
            if getattr(self, key) and self.rule != rule:
                raise ValueError(f"{key} belongs to `rule: {rule}`, not to {self.rule}")
        return self


class InputConfig(Strict):
    """What every method is given, where it does not say otherwise."""

    image_size: Annotated[int, Field(gt=0, le=8192)] | None = Field(
        default=None, description="for every method that takes an image_size and names none"
    )


class NumberConfig(Strict):
    """What becomes of a sweep's metrics in one number, for tables that compare protocols."""

    metric: str = Field(default="auroc", description="one of the sweep's; with its limit: auspro@0.05")
    subset: Literal["all", "logical", "structural", "mean"] = Field(
        default="all", description="`all` pools both kinds of anomalies, `mean` is that of the two"
    )
    curve: Literal["aufc"] | None = Field(
        default=None, description="the protocol's own number is an area over the shots"
    )


class FactorConfig(Strict):
    """A factor of `why` that neither protocol fixes: hyper-parameters of a method."""

    name: Name
    method: str = Field(description="an entry of `methods`")
    change: dict[str, Annotated[list[Any], AfterValidator(_pair)]] = Field(
        min_length=1, description="hyper-parameter -> [before, after]"
    )


class WhyConfig(Strict):
    """From one protocol to another, one factor at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    from_: Protocol = Field(alias="from")
    to: Protocol
    factors: Annotated[list[Annotated[str, AfterValidator(_factor)] | FactorConfig], Field(min_length=1)] = (
        Field(description="in this order: " + ", ".join(FACTORS) + ", or hyper-parameters of a method")
    )
    alone: bool = Field(default=True, description="also each factor alone, for the order matters")
