"""The sweep file: its fields, how it is read, and everything that can be wrong with it at once.

Relative paths in a sweep file are relative to the working directory, as on the command line, and are
made absolute here: workers run elsewhere.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt

from harness.cache import cache_root
from harness.errors import ConfigError, nearest
from harness.params import Problem, validate

Problems = list[tuple[str, str]]  # (key path, sentence)
Check = Callable[[Mapping[str, Any]], Problems]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _absolute(value: Any) -> Any:
    return Path(value).expanduser().absolute() if isinstance(value, str) and value else value


AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]
Shot = PositiveInt | Literal["full"]
Shots = Annotated[
    list[Shot], BeforeValidator(_listed, json_schema_input_type=Shot | list[Shot]), Field(min_length=1)
]
Seeds = PositiveInt | Annotated[list[NonNegativeInt], Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetConfig(BaseModel):
    """Which images. Further keys are options of that data set (`harness.list datasets NAME`)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="a data set of `harness.list datasets`")
    root: AbsolutePath = Field(description="folder that holds the category folders")

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the data set itself."""
        return dict(self.model_extra or {})


class SupportConfig(_Strict):
    """How the k support images are drawn from the training images."""

    rule: Literal["nested", "per_subtype", "vand2025", "first_k", "block", "manifest"] = "nested"
    manifest: AbsolutePath | None = Field(default=None, description="file of `rule: manifest`")


class ResourcesConfig(_Strict):
    """What one trial may use; unset values are the method's own."""

    gpus: float | None = Field(default=None, ge=0, description="GPUs per trial; fractions share one")
    cpus: float | None = Field(default=None, gt=0, description="CPU cores per trial")
    timeout_minutes: float | None = Field(
        default=None, gt=0, description="then a trial becomes a `timeout` row"
    )
    stack: PositiveInt | None = Field(
        default=None, description="at most so many trials are trained as one, where the method can; 1 = never"
    )


class MethodConfig(_Strict):
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


class CacheConfig(_Strict):
    """Where arrays that trials share are kept."""

    folder: AbsolutePath | None = Field(default=None, description="default: $LADDER_CACHE or ~/.cache/ladder")
    limit_gib: float = Field(
        default=50.0, gt=0, description="size above which the least recently used are removed"
    )
    enabled: bool = True

    @property
    def path(self) -> Path | None:
        """The folder, or None where nothing is to be kept."""
        return (self.folder or cache_root() / "artifacts") if self.enabled else None


class SweepConfig(_Strict):
    """One sweep: what is crossed with what, on which data, and where results go."""

    name: Name
    dataset: DatasetConfig
    categories: Literal["all"] | list[str] = "all"
    shots: Shots = Field(default=["full"], description="support set sizes; `full` = all training images")
    seeds: Seeds = Field(
        default=1, description="a number (0, 1, … n-1) or a list; seeds both the draw and the method"
    )
    support: SupportConfig = SupportConfig()
    weights: str | None = Field(
        default=None, description="for every method that takes weights and names none"
    )
    methods: Annotated[list[MethodConfig], Field(min_length=1)]
    metrics: list[str] = ["auroc", "ap", "f1max"]
    keep_maps: bool = Field(default=False, description="keep anomaly maps (float16), for `harness.rescore`")
    out: AbsolutePath | None = Field(default=None, description="run directory; default runs/<name>")
    cache: CacheConfig = CacheConfig()
    unit_trials: PositiveInt | None = Field(default=None, description="at most so many trials per work unit")

    @property
    def run_directory(self) -> Path:
        """Where the results go."""
        return self.out or Path("runs", self.name).absolute()

    @property
    def seed_list(self) -> list[int]:
        """The seeds, in order, without repetition."""
        return listed_seeds(self.seeds)

    @property
    def shot_list(self) -> list[int | None]:
        """Numbers of shots; None for all training images."""
        return listed_shots(self.shots)


def listed_seeds(given: int | Sequence[int]) -> list[int]:
    """The seeds that a number or a list stands for, in order, without repetition."""
    return list(range(given)) if isinstance(given, int) else list(dict.fromkeys(given))


def listed_shots(given: Sequence[int | str]) -> list[int | None]:
    """Numbers of shots, in order, without repetition; None for all training images."""
    return [None if s == "full" else int(s) for s in dict.fromkeys(given)]


def load(path: Path, overrides: Sequence[str] = (), checks: Sequence[Check] = ()) -> SweepConfig:
    """Read a sweep file.

    Args:
        path: a YAML file.
        overrides: `key=value` words; keys are dotted paths, list entries go by index or by their name.
        checks: further checks of the raw mapping, whose problems are reported together with ours.

    Raises:
        ConfigError: everything wrong with it, one line each: file, key, value, what is allowed.
    """
    problems: Problems = []
    raw = _read_yaml(path)
    problems += [p for word in overrides for p in _override(raw, word)]
    raw = _resolve_env(raw, "", problems)
    config = None
    try:
        config = validate(SweepConfig, raw)
    except Problem as error:
        problems += error.lines
    problems += [p for check in checks for p in check(raw)]
    if problems or not isinstance(config, SweepConfig):
        raise ConfigError([f"{path}: {key}: {text}" if key else f"{path}: {text}" for key, text in problems])
    return config


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice instead of keeping the last."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    pairs = [(loader.construct_object(k), k) for k, _ in node.value]
    seen: set[Any] = set()
    for key, where in pairs:
        if key in seen:
            line = where.start_mark.line + 1
            raise yaml.YAMLError(f"key {key!r} is given twice (line {line})")
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        siblings = [str(p) for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise ConfigError(f"{path}: {error.strerror}{nearest(str(path), siblings)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a sweep file is a mapping of keys, this is a {type(raw).__name__}")
    return raw


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _resolve_env(value: Any, key: str, problems: Problems) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every string below `value`."""
    if isinstance(value, dict):
        return {k: _resolve_env(v, f"{key}.{k}".strip("."), problems) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve_env(v, f"{key}.{i}", problems) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name, default in _VARIABLE.findall(value):
        if not os.environ.get(name) and not default:
            problems.append((key, f"environment variable {name} is {_unset(name)}"))
    return _VARIABLE.sub(lambda m: os.environ.get(m[1]) or m[2] or m[0], value)


def _unset(name: str) -> str:
    return "empty" if name in os.environ else f"not set{nearest(name, os.environ)}"


def _override(raw: dict[str, Any], word: str) -> Problems:
    """Apply one `key=value`; what it puts in is validated with the rest."""
    key, sign, text = word.partition("=")
    if not sign or not key:
        return [("", f"{word!r} on the command line is not key=value")]
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return [(key, f"{text!r} on the command line is not valid YAML")]
    *steps, last = key.split(".")
    here: Any = raw
    for step in steps:
        here = here.setdefault(step, {}) if isinstance(here, dict) else _entry(here, step)
    if isinstance(here, dict):
        here[last] = value
        return []
    if isinstance(here, list) and last.isdigit() and int(last) < len(here):
        here[int(last)] = value
        return []
    return [(key, "no such place in the sweep file to override")]


def _entry(here: Any, step: str) -> Any:
    """The entry of a list by index or by its `name`."""
    if not isinstance(here, list):
        return None
    if step.isdigit() and int(step) < len(here):
        return here[int(step)]
    return next((e for e in here if isinstance(e, dict) and e.get("name") == step), None)


def json_schema() -> str:
    """JSON Schema of the sweep file, for editors."""
    return json.dumps(SweepConfig.model_json_schema(), indent=2) + "\n"
