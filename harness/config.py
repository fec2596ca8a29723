"""The sweep file: its fields, how it is read, and everything that can be wrong with it at once.

Relative paths in a sweep file are relative to the working directory, as on the command line, and are
made absolute here: workers run elsewhere.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    model_validator,
)

from harness.cache import cache_root
from harness.document import read
from harness.environment import resolved
from harness.errors import ConfigError, nearest
from harness.overrides import Kinds, Problems, apply
from harness.params import LARGEST, Problem, validate
from harness.places import AbsolutePath
from harness.protocols.parts import parts_of, several
from harness.protocols.preset import KEYS
from harness.sections import InputConfig, Name, NumberConfig, Protocol, Strict, SupportConfig, WhyConfig

Check = Callable[[Mapping[str, Any]], Problems]
AUTO = "auto"
GRAIN = 1e-4  # of a core or a GPU; Ray refuses less, and only where a trial is about to start


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _shareable(gpus: float) -> float:
    if 0 < gpus < GRAIN:
        raise ValueError(f"is 0 or at least {GRAIN:g}: Ray reserves nothing smaller")
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(
            f"above 1, GPUs are whole ones: {int(gpus)} or {int(gpus) + 1}; one card can be shared"
        )
    return gpus


def _measured(gpus: Any) -> Any:
    if isinstance(gpus, str) and gpus != AUTO:
        raise ValueError(f"must be a number of GPUs, or {AUTO}{nearest(gpus, [AUTO])}")
    return None if gpus == AUTO else gpus


Shot = Annotated[int, Field(gt=0, le=2**31 - 1)] | Literal["full"]
Shots = Annotated[
    list[Shot], BeforeValidator(_listed, json_schema_input_type=Shot | list[Shot]), Field(min_length=1)
]
Seed = Annotated[int, Field(ge=0, le=LARGEST)]
Seeds = PositiveInt | Annotated[list[Seed], Field(min_length=1)]
Gpus = Annotated[float, Field(ge=0, le=1024)]
Text = Annotated[str, Field(min_length=1)]


class DatasetConfig(BaseModel):
    """Which images. Further keys are options of that data set (`harness.list datasets NAME`)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="a data set of `harness.list datasets`")
    root: AbsolutePath = Field(description="folder that holds the category folders")

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the data set itself."""
        return dict(self.model_extra or {})


class ResourcesConfig(Strict):
    """What one trial may use; unset values are the method's own."""

    gpus: Annotated[
        Annotated[Gpus, AfterValidator(_shareable)] | None,
        BeforeValidator(_measured, json_schema_input_type=Gpus | Literal["auto"] | None),
    ] = Field(
        default=None,
        description="GPUs per trial; auto (the default): what such trials are seen to need; a number is kept "
        "to: fractions share one card, above 1 they are whole, 0 is the CPU",
    )
    most_per_card: Annotated[int, Field(gt=0, le=1000)] | None = Field(
        default=None, description="at most so many trials of this method on one card, where gpus is auto"
    )
    cpus: float | None = Field(default=None, ge=GRAIN, le=4096, description="CPU cores per trial")
    timeout_minutes: float | None = Field(
        default=None, ge=0.001, le=1e6, description="then a trial becomes a `timeout` row"
    )
    stack: Annotated[int, Field(gt=0, le=10_000)] | None = Field(
        default=None, description="at most so many trials are trained as one, where the method can; 1 = never"
    )


class MethodConfig(Strict):
    """One contestant with its parameters."""

    name: str = Field(description="a method of `harness.list methods`")
    categories: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="only these of the sweep's categories; default all of them"
    )
    shots: Shots | None = Field(default=None, description="only these of the sweep's shots")
    seeds: Seeds | None = Field(default=None, description="only these of the sweep's seeds")
    params: dict[str, Any] = Field(default_factory=dict, description="fixed hyper-parameters")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict, description="hyper-parameters of which every combination is run"
    )
    zip: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict, description="hyper-parameters that change together"
    )
    resources: ResourcesConfig = ResourcesConfig()


class CacheConfig(Strict):
    """Where arrays that trials share are kept."""

    folder: AbsolutePath | None = Field(default=None, description="default: $LADDER_CACHE or ~/.cache/ladder")
    limit_gib: float = Field(
        default=50.0, gt=0, le=1e6, description="size above which the least recently used are removed"
    )
    enabled: bool = True

    @property
    def path(self) -> Path | None:
        """The folder, or None where nothing is to be kept."""
        return (self.folder or cache_root() / "artifacts") if self.enabled else None


class SweepConfig(Strict):
    """One sweep: what is crossed with what, on which data, and where results go."""

    name: Name
    dataset: DatasetConfig
    protocol: Protocol | None = Field(
        default=None, description="of `harness.list protocols`: what is not given here is the protocol's"
    )
    protocols: Annotated[list[Protocol], Field(min_length=1)] | None = Field(
        default=None, description="several of them; trials that they have in common run once"
    )
    why: WhyConfig | None = Field(default=None, description="what moves the number between two of them")
    categories: Literal["all", "objects", "subcategories"] | Annotated[list[str], Field(min_length=1)] = (
        Field(
            default="all",
            description="`objects` are folders, `subcategories` their types where a manifest has them, "
            "`all` is what the data set means: on MVTec LOCO AD sub-categories as soon as there is one",
        )
    )
    shots: Shots = Field(default=["full"], description="support set sizes; `full` = all training images")
    seeds: Seeds = Field(
        default=1, description="a number (0, 1, … n-1) or a list; seeds both the draw and the method"
    )
    support: SupportConfig = SupportConfig()
    validation: Literal["official", "none"] = Field(
        default="official", description="`none` keeps validation images from methods that would use them"
    )
    input: InputConfig = InputConfig()
    number: NumberConfig = NumberConfig()
    weights: Text | None = Field(
        default=None, description="for every method that takes weights and names none"
    )
    methods: Annotated[list[MethodConfig], Field(min_length=1)]
    metrics: list[str] = Field(default=["auroc", "ap", "f1max"])
    keep_maps: bool = Field(default=False, description="keep anomaly maps (float16), for `harness.rescore`")
    keep_checkpoints: bool = Field(
        default=False, description="leave training states in scratch/ after a trial is ok"
    )
    out: AbsolutePath | None = Field(default=None, description="run directory; default runs/<name>")
    cache: CacheConfig = CacheConfig()
    unit_trials: Annotated[int, Field(gt=0, le=1_000_000)] | None = Field(
        default=None, description="at most so many trials per work unit"
    )
    max_trials: Annotated[int, Field(gt=0, le=1_000_000)] = Field(
        default=100_000, description="more are refused before they are built; raise it where they are meant"
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        given = [key for key in ("protocol", "protocols", "why") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given; one of them says what is run")
        known = [entry.name for entry in self.methods]
        for factor in self.why.factors if self.why else ():
            if not isinstance(factor, str) and factor.method not in known:
                said = f"factor {factor.name!r} changes {factor.method[:80]!r}, which this sweep does not run"
                raise ValueError(said + nearest(factor.method, known))
        return self

    def record(self) -> dict[str, Any]:
        """The sweep file in full, as plain data; without keys that a protocol is left to say."""
        raw = self.model_dump(mode="json", by_alias=True)
        own = set(KEYS) - self.model_fields_set if self.protocol or several(raw) else set()
        return {key: value for key, value in raw.items() if key not in own}

    @property
    def run_directory(self) -> Path:
        """Where the results go."""
        return self.out or Path("runs", self.name).absolute()

    @property
    def seed_list(self) -> Sequence[int]:
        """The seeds, in order, without repetition."""
        return listed_seeds(self.seeds)

    @property
    def shot_list(self) -> list[int | None]:
        """Numbers of shots; None for all training images."""
        return listed_shots(self.shots)


def listed_seeds(given: int | Sequence[int]) -> Sequence[int]:
    """The seeds that a number or a list stands for, in order, without repetition."""
    return range(given) if isinstance(given, int) else list(dict.fromkeys(given))


def listed_shots(given: Sequence[int | str]) -> list[int | None]:
    """Numbers of shots, in order, without repetition; None for all training images."""
    return [None if s == "full" else int(s) for s in dict.fromkeys(given)]


def _closed(raw: Mapping[str, Any], steps: Sequence[str]) -> None:
    del raw, steps


def load(
    path: Path, overrides: Sequence[str] = (), checks: Sequence[Check] = (), kinds: Kinds = _closed
) -> SweepConfig:
    """Read a sweep file.

    Args:
        path: a YAML file.
        overrides: `key=value` words; keys are dotted paths, list entries go by index or by their name.
        checks: further checks of the raw mapping, whose problems are reported together with ours.
        kinds: the models of what a sweep file leaves open (see `harness.overrides.apply`).

    Raises:
        ConfigError: everything wrong with it, one line each: file, key, value, what is allowed.
    """
    raw = read(path)
    if not isinstance(raw, dict):
        what = "empty" if raw is None else f"a {type(raw).__name__}"
        raise ConfigError(f"{path}: a sweep file is a mapping of keys, this is {what}")
    problems = [p for word in overrides for p in apply(raw, word, SweepConfig, kinds)]
    raw = resolved(raw, "", problems)
    config = _valid(raw, problems)
    whole = [raw] if config is None else [part.raw for part in parts_of(raw)]
    for one in whole if config is not None and whole != [raw] else ():
        _valid(one, problems)
    problems += [p for one in whole for check in checks for p in check(one)]
    if problems or config is None:
        raise ConfigError(placed(path, dict.fromkeys(problems)))
    # of several, each says its own axes; what is measured is the same for all
    return _valid({**raw, "metrics": whole[0]["metrics"]} if several(raw) else whole[0], []) or config


def _valid(raw: Mapping[str, Any], problems: Problems) -> SweepConfig | None:
    """A sweep file as it is meant, or None and what is wrong with it."""
    try:
        config = validate(SweepConfig, raw)
    except Problem as error:
        problems += error.lines
        return None
    return config if isinstance(config, SweepConfig) else None


def configs_of(config: SweepConfig) -> list[tuple[str, SweepConfig]]:
    """One configuration for every protocol of a sweep, with its label; the sweep itself where it has none."""
    if not (config.protocol or config.protocols or config.why):
        return [("", config)]
    found = [(part.label, _valid(part.raw, [])) for part in parts_of(config.record())]
    return [(label, one) for label, one in found if one is not None]


def placed(path: Path | str, problems: Iterable[tuple[str, str]]) -> list[str]:
    """Problems as lines that name the file and the key; one line each, whatever is quoted in them."""
    lines = (f"{path}: {key}: {text}" if key else f"{path}: {text}" for key, text in problems)
    return [" ".join(line.splitlines()) for line in lines]


def json_schema() -> str:
    """JSON Schema of the sweep file, for editors."""
    return json.dumps(SweepConfig.model_json_schema(), indent=2) + "\n"
